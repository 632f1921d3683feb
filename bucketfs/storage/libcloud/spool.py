"""Bytes on their way, in nameless temporary files: nothing is left behind, however we end.

Drivers take a path or read an iterator once; a body that may have to be sent again, parts of an
upload, and objects of drivers without ranges therefore stand on the local disk for a while.
Everything here blocks and may be called in any thread.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from bucketfs.errors import ConfigurationError, QuotaExceeded
from bucketfs.storage.interface import Sink, Version

DEFAULT_FOLDER = "/var/tmp"
"""On a disk, where /tmp often is memory."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_COPY_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_KEPT_FILES = 8


class SpoolFile:
    """A temporary file. `path` names it for drivers as long as it is open."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as exc:
            message = f"no temporary file in {folder} ({exc.strerror}): set TMPDIR"
            raise ConfigurationError(message) from exc
        self.size = 0

    @property
    def path(self) -> str:
        """Return a path that opens the file from its start."""
        return f"/proc/self/fd/{self._file.fileno()}"

    def fill(self, pieces: Iterable[bytes | memoryview]) -> SpoolFile:
        """Add `pieces` to the end. Raises: QuotaExceeded (the local disk is full)."""
        for piece in pieces:
            view = memoryview(piece).cast("B")
            while view.nbytes:
                with _finding_room(self._folder):
                    count = self._file.write(view)
                self.size += count
                view = view[count:]
        return self

    def add(self, other: SpoolFile) -> None:
        """Add all of another file to the end. Raises: QuotaExceeded."""
        start = 0
        while start < other.size:
            with _finding_room(self._folder):
                count = os.sendfile(self._file.fileno(), other._file.fileno(), start, _COPY_BYTES)
            start += count
            self.size += count

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield all bytes from the start, `size` at a time."""
        for start in range(0, self.size, size):
            yield os.pread(self._file.fileno(), size, start)

    def content_md5(self) -> str:
        """Return the MD5 of all bytes, as the header Content-MD5 has it."""
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces(_READ_BYTES):
            digest.update(piece)
        return base64.b64encode(digest.digest()).decode("ascii")

    def pour(self, start: int, stop: int, sink: Sink) -> None:
        """Put bytes `start` to `stop` into `sink`, as far as it wants them."""
        while start < stop:
            room = sink.room()[: stop - start]
            if not room.nbytes:
                return
            count = os.preadv(self._file.fileno(), [room], start)
            sink.advance(count)
            start += count

    def close(self) -> None:
        """Drop the bytes; they are dropped as well with the last reference to the file."""
        self._file.close()


@contextmanager
def _finding_room(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        raise QuotaExceeded(f"no room in {folder} for bytes to be sent") from exc


class Spool:
    """Makes temporary files, and keeps the last few objects that had to be fetched whole."""

    def __init__(self, folder: str | None = None) -> None:
        has_default = os.access(DEFAULT_FOLDER, os.W_OK)
        self._folder = folder or (DEFAULT_FOLDER if has_default else tempfile.gettempdir())
        self._lock = threading.Lock()
        self._whole: OrderedDict[tuple[str, Version], Future[SpoolFile]] = OrderedDict()

    def file(self) -> SpoolFile:
        """Return a new empty file. Raises: ConfigurationError."""
        return SpoolFile(self._folder)

    def whole(self, key: str, version: Version, fetch: Callable[[], SpoolFile]) -> SpoolFile:
        """Return the bytes of one version of an object, by `fetch` unless they are here already.

        Threads that want the same wait for the one that fetches; where it fails, the next tries.
        """
        with self._lock:
            future = self._whole.get((key, version))
            is_ours = future is None
            if future is None:
                future = self._whole[key, version] = Future()
            self._whole.move_to_end((key, version))
            while len(self._whole) > _KEPT_FILES:
                self._whole.popitem(last=False)
        if not is_ours:
            has_failed = future.exception() is not None
            return self.whole(key, version, fetch) if has_failed else future.result()
        try:
            future.set_result(fetch())
        except BaseException as exc:
            with self._lock:
                if self._whole.get((key, version)) is future:
                    del self._whole[key, version]
            future.set_exception(exc)
            raise
        return future.result()

    def forget(self, key: str) -> None:
        """Drop what is kept of an object."""
        with self._lock:
            for place in [place for place in self._whole if place[0] == key]:
                del self._whole[place]
