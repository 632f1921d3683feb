"""The control socket of one mount: what it answers to commands."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from bucketfs import logs
from bucketfs.control.places import forget, note_path, socket_path
from bucketfs.control.reports import Report
from bucketfs.errors import BucketfsError

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 0.25
_LONGEST_COMMAND_BYTES = 1 << 16
"""A path may have 4 KiB, each byte of which JSON may write as six."""
_FILES_AT_ONCE = 256
_NO_DISK_CACHE = "it has no disk cache: mount with -o read_cache=SIZE to have one"


class Warming(Protocol):
    """Files that are brought to the disk cache; `fuse.warming.WarmUp` is one."""

    async def run(self) -> None:
        """Fetch all of them; cancelled, what came stays."""

    def report(self) -> Report:
        """Return how far it is."""

    def failures(self) -> Sequence[Report]:
        """Return what failed so far."""


Answer = Callable[[Mapping[str, Any]], Awaitable[Report]]
"""Answers a question, which may name details, from memory. Raises: BucketfsError."""


class Served(Protocol):
    """The mount, as its control socket sees it; `served.Mounted` is one."""

    @property
    def answers(self) -> Mapping[str, Answer]:
        """What answers questions that are one object, by their names."""

    def report(self, path: Sequence[str] = ()) -> Report:
        """Return one report; what is left is counted at and below a path (its names)."""

    def pending(self) -> Sequence[Report]:
        """Return what is not in the bucket, one object a file."""

    async def save(self, path: Sequence[str] = ()) -> Sequence[Report]:
        """Save what is at and below a path; return what could not be saved."""

    def warming(self, paths: Sequence[Sequence[str]]) -> Warming | None:
        """Return a warm-up of what is at and below paths; None: there is no disk cache."""

    def ending(self) -> AbstractContextManager[None]:
        """Let no changes in for the time of the block."""

    def hurry(self, is_hurried: bool) -> None:
        """Try nothing again at the end of the mount, or do."""


class _Saving:
    """Something that is being saved, and what of it failed once it is done."""

    def __init__(self) -> None:
        self.failed: list[Report] = []
        self.done = trio.Event()


class ControlServer:
    """Answers on the control socket of one mount."""

    def __init__(self, mountpoint: Path, served: Served, cache_folder: Path) -> None:
        self._mountpoint = mountpoint
        self._path = socket_path(mountpoint)
        self._note = note_path(mountpoint)
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
        forget(self._mountpoint)
        await listener.bind(os.fspath(self._path))
        self._path.chmod(0o600)
        listener.listen(16)
        note = {
            "cache_folder": os.fspath(self._cache_folder),
            "pid": os.getpid(),
            "log": logs.state().get("path"),
        }
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
            command, path = str(asked.get("command")), [str(name) for name in asked.get("path", ())]
            paths = [[str(name) for name in each] for each in asked.get("paths", ())]
        except (ValueError, AttributeError, TypeError):
            asked, command, path, paths = {}, "", [], []
        if command == "status":
            await _send(stream, self._served.report())
        elif command in self._served.answers:
            await _send(stream, await self._answered(command, asked))
        elif command == "pending":
            await self._send_pending(stream)
        elif command == "sync":
            await self._send_sync(stream, path)
        elif command == "drain":
            await self._send_drain(stream, bool(asked.get("is_last")))
        elif command == "warmup":
            await self._send_warmup(stream, paths)
        elif command == "watch":
            await self._send_watch(stream)
        else:
            await _send(stream, {"error": "unknown command"})

    async def _answered(self, question: str, details: Mapping[str, Any]) -> Report:
        try:
            return await self._served.answers[question](details)
        except BucketfsError as exc:
            return {"error": str(exc)}

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

    async def _send_warmup(self, stream: trio.SocketStream, paths: Sequence[Sequence[str]]) -> None:
        """Warm up, telling how far it is; it ends when the client goes away."""
        warming = self._served.warming(paths)
        if warming is None:
            await _send(stream, {"error": _NO_DISK_CACHE})
            return
        done = trio.Event()

        async def run() -> None:
            await warming.run()
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            nursery.start_soon(_cancel_when_left, stream, nursery.cancel_scope)
            with contextlib.suppress(trio.BrokenResourceError):
                while not done.is_set():
                    await _send(stream, warming.report())
                    with trio.move_on_after(REPORT_INTERVAL_S):
                        await done.wait()
                failed = [dict(failure) for failure in warming.failures()]
                await _send(stream, {**warming.report(), "failed": failed})
            nursery.cancel_scope.cancel()

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


async def _cancel_when_left(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.receive_some()  # nothing comes: until the client goes away
    scope.cancel()


async def _send(stream: trio.SocketStream, message: Report) -> None:
    dumps = partial(json.dumps, separators=(",", ":"))
    await stream.send_all(dumps(dict(message)).encode() + b"\n")
