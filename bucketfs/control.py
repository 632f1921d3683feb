"""The control socket of a mount: how `bucketfs umount` asks it what is left and to save it.

The server runs in the mount process, the client in a person's command. Both find the socket from
the mount point alone: its name is a hash of the resolved path, in a folder that only this user can
enter. The protocol is one JSON object a line: the client sends `{"command": ...}` and the server
answers with one or more objects.

    status   one report
    drain    reports while everything is saved; the last one has "failed": [what and why, ...]
    watch    reports until the mount process ends; the last one has "exit_status": N
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from .errors import ConfigurationError

log = logging.getLogger(__name__)

Report = Mapping[str, Any]
"""What a mount says of itself: pid, url, mountpoint, dirty_files, dirty_bytes, in_flight, ..."""

REPORT_INTERVAL_S = 0.25
ANSWER_TIMEOUT_S = 30.0
"""A live mount sends a report far more often than this, whatever it is waiting for."""
_LONGEST_COMMAND_BYTES = 4096


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
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]
    return runtime_folder() / f"{digest}.sock"


class ControlServer:
    """Answers on the control socket of one mount.

    `report` is asked for each report, `drain` saves everything and returns what it could not save.
    """

    def __init__(
        self,
        mountpoint: Path,
        report: Callable[[], Report],
        drain: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._path = socket_path(mountpoint)
        self._report = report
        self._drain = drain
        self._finished = trio.Event()
        self._exit_status = 0
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
        try:
            task_status.started()
            await trio.serve_listeners(self._answer, [trio.SocketListener(listener)])
        finally:
            self._path.unlink(missing_ok=True)

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
            command = json.loads(line).get("command")
        except (ValueError, AttributeError):
            command = None
        if command == "status":
            await _send(stream, self._report())
        elif command == "drain":
            await self._send_drain(stream)
        elif command == "watch":
            await self._send_watch(stream)
        else:
            await _send(stream, {"error": "unknown command"})

    async def _send_drain(self, stream: trio.SocketStream) -> None:
        failed: list[str] = []
        done = trio.Event()

        async def drain() -> None:
            failed.extend(await self._drain())
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            while not done.is_set():
                # A client that went away must not stop the saving that it asked for.
                with contextlib.suppress(trio.BrokenResourceError):
                    await _send(stream, self._report())
                with trio.move_on_after(REPORT_INTERVAL_S):
                    await done.wait()
        await _send(stream, {**self._report(), "failed": failed})

    async def _send_watch(self, stream: trio.SocketStream) -> None:
        self._watching += 1
        try:
            while not self._finished.is_set():
                await _send(stream, self._report())
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
        """Return one report. Raises: OSError where no mount process listens."""
        return next(self._ask("status"))

    def drain(self) -> Iterator[Report]:
        """Have everything saved; yield reports, the last with "failed". Raises: OSError."""
        return self._ask("drain")

    def watch(self) -> Iterator[Report]:
        """Yield reports until the process ends, the last with "exit_status". Raises: OSError.

        The connection stands when this returns, so that no end is missed.
        """
        return self._ask("watch")

    def _ask(self, command: str) -> Iterator[Report]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(os.fspath(self._path))
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
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
