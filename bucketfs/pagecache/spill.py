"""The spill file of one file's content: written bytes for which memory was too short.

One sparse file in the cache folder, made at the first spill; a byte of the content lies at its own
offset, so that what a crash leaves is a readable (if partial) image of the file. All methods block:
they are called in worker threads only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bucketfs.errors import BucketfsError, CacheDirectoryError, NoSpace
from bucketfs.pagecache.direct import BLOCK_BYTES, LEAST_BYTES, DirectFile, Stages

MAX_VECTORS = 512
"""Buffers given to one pwritev; the kernel's own limit (IOV_MAX) is 1024."""

_NOT_DIRECT = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpillFile:
    """Bytes at their own offsets in a file of `folder`, which exists only while it is needed.

    Each time that it is made it gets a new name, of `new_name`: a record of the journal that names
    an earlier one never finds other bytes there.
    """

    def __init__(self, folder: Path, new_name: Callable[[], str], stages: Stages) -> None:
        self._folder = folder
        self._new_name = new_name
        self._name = ""
        self._stages = stages
        self._descriptor: int | None = None
        self._direct: DirectFile | None = None
        self._has_direct = True

    @property
    def path(self) -> Path:
        """Where it is; before the first `write` or `adopt`, and after `discard`, it is nowhere."""
        return self._folder / self._name

    @property
    def is_there(self) -> bool:
        """Whether there is a file to discard; asked by whoever keeps others from writing to it."""
        return self._descriptor is not None

    def write(self, offset: int, buffers: Sequence[bytes | memoryview]) -> None:
        """Write `buffers` one after the other from `offset`.

        Raises: NoSpace (the disk is full), CacheDirectoryError (any other failure of the disk).
        """
        try:
            descriptor = self._opened()
            views = [memoryview(buffer) for buffer in buffers]
            done = self._write_direct(offset, views)
            views = _after(views, done)
            offset += done
            for first in range(0, len(views), MAX_VECTORS):
                offset = _write_all(descriptor, offset, views[first : first + MAX_VECTORS])
        except OSError as exc:
            raise self._translated(exc, "write") from exc

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`. Raises: CacheDirectoryError."""
        try:
            if self._descriptor is None:
                raise OSError(errno.ENOENT, "nothing was written to it")
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise OSError(errno.EIO, "the file is shorter than what was written to it")
                data += more
        except OSError as exc:
            raise self._translated(exc, "read") from exc
        return data

    def sync(self) -> None:
        """Have everything written so far on the disk itself. Raises: CacheDirectoryError."""
        if self._descriptor is None:
            return
        try:
            os.fdatasync(self._descriptor)
            _sync_folder(self._folder)
        except OSError as exc:
            raise self._translated(exc, "sync") from exc

    def adopt(self, name: str, least_bytes: int) -> None:
        """Take over the file that an earlier mount left. Raises: CacheDirectoryError (none is
        there, or one that is shorter)."""
        self._name = name
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            if os.fstat(descriptor).st_size < least_bytes:
                os.close(descriptor)
                raise OSError(errno.EIO, f"it is shorter than {least_bytes} bytes")
            self._descriptor = descriptor
        except OSError as exc:
            raise self._translated(exc, "take over") from exc

    def discard(self) -> None:
        """Remove the file and free its space; it is made anew by a later `write`."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        direct, self._direct = self._direct, None
        try:
            self.path.unlink(missing_ok=True)
            os.close(descriptor)
            if direct is not None:
                direct.close()
        except OSError as exc:
            raise self._translated(exc, "remove") from exc

    def _opened(self) -> int:
        if self._descriptor is None:
            self._name = self._new_name()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor

    def _write_direct(self, offset: int, views: Sequence[memoryview]) -> int:
        """Write what is large and lies at whole blocks past the page cache; return how much."""
        size = sum(view.nbytes for view in views)
        if not self._has_direct or size < LEAST_BYTES or offset % BLOCK_BYTES:
            return 0
        try:
            if self._direct is None:
                self._direct = DirectFile(self.path, self._stages)
            return self._direct.write(offset, views)
        except OSError as exc:
            if exc.errno not in _NOT_DIRECT:
                raise
            # A file system or disk that does not do this; what was written is written again.
            self._has_direct = False
            return 0

    def _translated(self, exc: OSError, verb: str) -> BucketfsError:
        message = f"cannot {verb} the spill file {self.path}: {exc.strerror}"
        if exc.errno in _FULL:
            return NoSpace(f"{message}; free space there or name another cache_dir")
        return CacheDirectoryError(f"{message}; check the disk of cache_dir")


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: a file that no name leads to is lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _after(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return what is left of `views` without their first `count` bytes."""
    left = list(views)
    while left and count >= left[0].nbytes:
        count -= left.pop(0).nbytes
    if left and count:
        left[0] = left[0][count:]
    return left


def _write_all(descriptor: int, offset: int, views: Sequence[memoryview]) -> int:
    """Write all of `views` at `offset`, however often it takes; return the offset after them."""
    left = list(views)
    while left:
        count = os.pwritev(descriptor, left, offset)
        offset += count
        left = _after(left, count)
    return offset
