"""The control socket of a mount: how commands ask it what is left, and have it saved.

The server runs in the mount process, the client in a person's command. Both find the socket from
the mount point alone: its name is a hash of the resolved path, in a folder that only this user can
enter; beside it stands a note of where the mount's cache folder is, which outlives a killed mount.
The protocol is one JSON object a line: the client sends `{"command": ...}` and the server answers
with one or more objects.

    status   one report
    pending  what is not in the bucket: objects with "files", the last one with "is_last"
    sync     saves what is at and below the names in "path": reports; the last one has "failed"
    drain    lets no changes in and saves everything: reports; the last one has "failed". Changes
             are let in again when the client goes away. "is_last": what failed is not tried again
             when the mount ends
    watch    reports until the mount process ends; the last one has "exit_status"

Reports have "dirty_files" and "dirty_bytes"; "failed" are objects with path, reason and is_kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from .errors import ConfigurationError

log = logging.getLogger(__name__)

Report = Mapping[str, Any]
"""What a mount says of itself: pid, url, mountpoint, dirty_files, dirty_bytes, in_flight, ..."""

REPORT_INTERVAL_S = 0.25
ANSWER_TIMEOUT_S = 30.0
"""A live mount sends a report far more often than this, whatever it is waiting for."""
QUICK_TIMEOUT_S = 5.0
"""For questions that need no request: a process that is alive answers them from memory."""
_LONGEST_COMMAND_BYTES = 1 << 16
"""A path may have 4 KiB, each byte of which JSON may write as six."""
_FILES_AT_ONCE = 256


class Served(Protocol):
    """The mount, as its control socket sees it; `mount.Mounted` is one."""

    def report(self, path: Sequence[str] = ()) -> Report:
        """Return one report; what is left is counted at and below a path (its names)."""

    def pending(self) -> Sequence[Report]:
        """Return what is not in the bucket, one object a file."""

    async def save(self, path: Sequence[str] = ()) -> Sequence[Report]:
        """Save what is at and below a path; return what could not be saved."""

    def ending(self) -> AbstractContextManager[None]:
        """Let no changes in for the time of the block."""

    def hurry(self, is_hurried: bool) -> None:
        """Try nothing again at the end of the mount, or do."""


def runtime_folder() -> Path:
    """Return the folder of this user's control sockets, making it (mode 0700) if needed.

    Raises: ConfigurationError where the folder is not ours alone.
    """
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime) / "bucketfs"
    elif os.geteuid() == 0:
        folder = Path("/run/bucketfs")
    else:
        folder = Path(f"/tmp/bucketfs-{os.geteuid()}")  # owner and mode are checked below
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as exc:
        raise ConfigurationError(f"cannot make the control folder {folder}: {exc}") from exc
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise ConfigurationError(f"{folder} is not a directory that only you can write to")
    return folder


def socket_path(mountpoint: Path) -> Path:
    """Return where the control socket of `mountpoint` (absolute, resolved) is or would be."""
    return runtime_folder() / f"{_digest(mountpoint)}.sock"


def cache_folder_of(mountpoint: Path) -> Path | None:
    """Return the cache folder of the mount that is, or died, at `mountpoint`; None: not known.

    A mount that ended with everything in the bucket leaves no trace.
    """
    try:
        note = json.loads(_note_path(mountpoint).read_text("utf-8"))
        return Path(note["cache_folder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        log.debug("the note of %s cannot be read: %s", mountpoint, exc)
        return None


def _note_path(mountpoint: Path) -> Path:
    return runtime_folder() / f"{_digest(mountpoint)}.json"


def _digest(mountpoint: Path) -> str:
    return hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]


class _Saving:
    """Something that is being saved, and what of it failed once it is done."""

    def __init__(self) -> None:
        self.failed: list[Report] = []
        self.done = trio.Event()


class ControlServer:
    """Answers on the control socket of one mount."""

    def __init__(self, mountpoint: Path, served: Served, cache_folder: Path) -> None:
        self._path = socket_path(mountpoint)
        self._note = _note_path(mountpoint)
        self._cache_folder = cache_folder
        self._served = served
        self._finished = trio.Event()
        self._exit_status: int | None = None
        self._watching = 0
        self._watchers_told = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; the socket's file goes away with it. Start it with `start()`."""
        listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A left-over socket of a dead mount; a live one would still hold its mount point.
        self._path.unlink(missing_ok=True)
        await listener.bind(os.fspath(self._path))
        self._path.chmod(0o600)
        listener.listen(16)
        note = {"cache_folder": os.fspath(self._cache_folder), "pid": os.getpid()}
        self._note.write_text(json.dumps(note), "utf-8")
        try:
            task_status.started()
            await trio.serve_listeners(self._answer, [trio.SocketListener(listener)])
        finally:
            self._path.unlink(missing_ok=True)
            if self._exit_status == 0:
                self._note.unlink(missing_ok=True)

    async def finish(self, exit_status: int) -> None:
        """Tell those who watch how the mount ended, and wait (shortly) until they know."""
        self._exit_status = exit_status
        self._finished.set()
        if self._watching:
            with trio.move_on_after(2):
                await self._watchers_told.wait()

    async def _answer(self, stream: trio.SocketStream) -> None:
        """Answer one client; one that goes away is no error."""
        try:
            line = b""
            while not line.endswith(b"\n"):
                piece = await stream.receive_some(_LONGEST_COMMAND_BYTES)
                line += piece
                if not piece or len(line) > _LONGEST_COMMAND_BYTES:
                    return
            await self._obey(line, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a client of the control socket went away")
        except Exception:
            # A bug here must not end the mount.
            log.exception("the control socket could not answer")

    async def _obey(self, line: bytes, stream: trio.SocketStream) -> None:
        try:
            asked = json.loads(line)
            command, path = asked.get("command"), [str(name) for name in asked.get("path", ())]
        except (ValueError, AttributeError, TypeError):
            asked, command, path = {}, None, []
        if command == "status":
            await _send(stream, self._served.report())
        elif command == "pending":
            await self._send_pending(stream)
        elif command == "sync":
            await self._send_sync(stream, path)
        elif command == "drain":
            await self._send_drain(stream, bool(asked.get("is_last")))
        elif command == "watch":
            await self._send_watch(stream)
        else:
            await _send(stream, {"error": "unknown command"})

    async def _send_pending(self, stream: trio.SocketStream) -> None:
        files = self._served.pending()
        for start in range(0, len(files), _FILES_AT_ONCE):
            some = [dict(file) for file in files[start : start + _FILES_AT_ONCE]]
            await _send(stream, {"files": some, "is_last": False})
        await _send(stream, {"files": [], "is_last": True})

    async def _send_sync(self, stream: trio.SocketStream, path: Sequence[str]) -> None:
        async with self._saving(path) as saving:
            await self._tell(stream, path, saving)

    async def _send_drain(self, stream: trio.SocketStream, is_last: bool) -> None:
        async with self._saving([]) as saving:
            with self._served.ending():
                await self._tell(stream, [], saving)
                if is_last:
                    self._served.hurry(True)
                try:
                    await stream.receive_some()  # nothing comes: until the client goes away
                finally:
                    if is_last:
                        self._served.hurry(False)

    @asynccontextmanager
    async def _saving(self, path: Sequence[str]) -> AsyncIterator[_Saving]:
        """Save what is at and below a path; it goes on when the client goes away."""
        saving = _Saving()

        async def save() -> None:
            saving.failed = [dict(failure) for failure in await self._served.save(path)]
            saving.done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(save)
            with contextlib.suppress(trio.BrokenResourceError):
                yield saving

    async def _tell(self, stream: trio.SocketStream, path: Sequence[str], saving: _Saving) -> None:
        """Send reports until the saving is done, and what failed."""
        while not saving.done.is_set():
            await _send(stream, self._served.report(path))
            with trio.move_on_after(REPORT_INTERVAL_S):
                await saving.done.wait()
        await _send(stream, {**self._served.report(path), "failed": saving.failed})

    async def _send_watch(self, stream: trio.SocketStream) -> None:
        self._watching += 1
        try:
            while not self._finished.is_set():
                await _send(stream, self._served.report())
                with trio.move_on_after(REPORT_INTERVAL_S):
                    await self._finished.wait()
            await _send(stream, {"exit_status": self._exit_status})
        finally:
            self._watching -= 1
            if not self._watching and self._finished.is_set():
                self._watchers_told.set()


class ControlClient:
    """Asks the mount process behind a mount point. Blocking; for commands, not for the mount."""

    def __init__(self, mountpoint: Path) -> None:
        self._path = socket_path(mountpoint)

    def is_alive(self) -> bool:
        """Return whether a mount process answers at all."""
        try:
            return bool(self.status())
        except (OSError, ConfigurationError):
            return False

    def status(self) -> Report:
        """Return one report. Raises: OSError where no mount process listens, or none answers."""
        return next(self._ask("status", timeout_s=QUICK_TIMEOUT_S))

    def pending(self) -> list[Report]:
        """Return what is not in the bucket, one object a file. Raises: OSError."""
        files: list[Report] = []
        for answer in self._ask("pending", timeout_s=QUICK_TIMEOUT_S):
            files += answer["files"]
            if answer["is_last"]:
                return files
        raise ConnectionResetError("the mount process ended while it was answering")

    def sync(self, path: Sequence[str] = ()) -> Iterator[Report]:
        """Have what is at and below a path saved; yield reports, the last with "failed".

        `path` are the names that lead there from the mount point. Raises: OSError.
        """
        return self._ask("sync", path=list(path))

    def drain(self, *, is_last: bool = False) -> Iterator[Report]:
        """Have everything saved; yield reports, one of them, after which none comes, with "failed".

        No changes are let in until the iterator is closed (or the mount ends). `is_last`: what
        failed is not tried again when the mount ends. Raises: OSError.
        """
        return self._ask("drain", is_last=is_last)

    def watch(self) -> Iterator[Report]:
        """Yield reports until the process ends, the last with "exit_status". Raises: OSError.

        The connection stands when this returns, so that no end is missed.
        """
        return self._ask("watch")

    def _ask(
        self, command: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: object
    ) -> Iterator[Report]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(self._path))
            asked = {"command": command, **arguments}
            connection.sendall(json.dumps(asked).encode() + b"\n")
        except OSError:
            connection.close()
            raise
        return _read_reports(connection)


def _read_reports(connection: socket.socket) -> Iterator[Report]:
    """Yield what the server says until it closes the connection."""
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            report = json.loads(line)
            if "error" in report:
                raise ConfigurationError(f"the mount process answers: {report['error']}")
            yield report


async def _send(stream: trio.SocketStream, message: Report) -> None:
    dumps = partial(json.dumps, separators=(",", ":"))
    await stream.send_all(dumps(dict(message)).encode() + b"\n")
