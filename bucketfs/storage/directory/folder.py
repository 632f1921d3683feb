"""The bucket's folder on the disk: reaching files in it, locks, drafts.

Every step of a path is opened below the one before, without following symbolic links, so nothing
in the folder can lead out of it. All of it blocks: it is called in worker threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from bucketfs.storage.directory.layout import PRIVATE
from bucketfs.storage.key_order import key_bytes

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: opening a fifo that lies in the folder must not wait for its writer."""

LOCKS = 64
"""Lock files that all keys share; two keys meet in one rarely, which costs only a short wait."""

COPY_BYTES = 1 << 30
ABANDONED_S = 24 * 3600
"""Drafts that nobody wrote to for so long are of a process that died."""


class Draft:
    """A file that is being written, invisible until it is moved to its place."""

    def __init__(self, fd: int, place: int, name: str, is_durable: bool) -> None:
        self.fd = fd
        self.is_moved = False
        self._place = place
        self._name = name
        self._is_durable = is_durable

    def copy(self, source: int, start: int, length: int) -> None:
        """Add `length` bytes of the open file `source`, inside the kernel where it can."""
        while length:
            try:
                done = os.copy_file_range(source, self.fd, min(length, COPY_BYTES), start)
            except OSError as exc:
                if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                piece = os.pread(source, min(length, 1 << 20), start)
                write_all(self.fd, piece)
                done = len(piece)
            if not done:
                raise OSError(errno.EIO, "the source became shorter while it was copied")
            start += done
            length -= done

    def sync(self) -> None:
        """Wait until the bytes are on the disk."""
        if self._is_durable:
            os.fsync(self.fd)

    def move_to(self, place: int, name: str) -> None:
        """Give it its name in the open directory `place`, replacing what was there."""
        os.rename(self._name, name, src_dir_fd=self._place, dst_dir_fd=place)
        self.is_moved = True


class Folder:
    """An open bucket folder. Methods may run in any threads at the same time.

    `is_durable` False leaves it to the kernel when bytes reach the disk.
    """

    def __init__(self, root: int, *, is_durable: bool) -> None:
        self.root = root
        self.is_durable = is_durable
        self._last_ns = 0
        self._clock = threading.Lock()

    @contextmanager
    def directory(self, names: Sequence[str]) -> Iterator[int]:
        """Open the directory at `names`. Raises: OSError (see `failures.NOT_THERE`)."""
        fd = os.dup(self.root)
        try:
            for name in names:
                fd = _step(fd, name)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def private(self, name: str) -> Iterator[int]:
        """Open the store's own directory `name`, making it where it is missing."""
        fd = self._open_private(name)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Make a new file; it is removed at the end if it was not moved to its place."""
        with self.private("drafts") as place:
            name = os.urandom(12).hex()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(name, flags, 0o666, dir_fd=place)
            draft = Draft(fd, place, name, self.is_durable)
            try:
                yield draft
            finally:
                os.close(fd)
                if not draft.is_moved:
                    os.unlink(name, dir_fd=place)

    @contextmanager
    def locked(self, *keys: str) -> Iterator[None]:
        """Hold the locks of `keys` against other threads and other processes.

        INVARIANT: a thread holds the locks of one call only, taken in ascending order.
        """
        with self.private("locks") as place:
            held: list[int] = []
            try:
                for number in sorted({zlib.crc32(key_bytes(key)) % LOCKS for key in keys}):
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                    held.append(os.open(f"{number:02}", flags, 0o666, dir_fd=place))
                    fcntl.flock(held[-1], fcntl.LOCK_EX)
                yield
            finally:
                for fd in held:
                    os.close(fd)

    def stamp(self, fd: int) -> os.stat_result:
        """Set the file's mtime to a time that no other change has, and return its new status.

        The kernel's own clock ticks every few ms, and inode numbers are used again at once: two
        versions could look alike.
        """
        with self._clock:
            now_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
        os.utime(fd, ns=(now_ns, now_ns))
        return os.fstat(fd)

    def sync_directory(self, fd: int) -> None:
        """Wait until the names in the open directory are on the disk."""
        if self.is_durable:
            os.fsync(fd)

    def remove_abandoned(self) -> None:
        """Remove the drafts that processes left which died a day ago or longer."""
        with suppress(FileNotFoundError), self.directory((PRIVATE, "drafts")) as place:
            if os.access(".", os.W_OK, dir_fd=place):
                _remove_older(place, os.listdir(place), time.time() - ABANDONED_S)

    def _open_private(self, name: str) -> int:
        with suppress(FileNotFoundError), self.directory((PRIVATE, name)) as fd:
            return os.dup(fd)
        with suppress(FileExistsError):
            os.mkdir(PRIVATE, dir_fd=self.root)
        with self.directory((PRIVATE,)) as above:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
            return os.open(name, DIRECTORY, dir_fd=above)


def write_all(fd: int, piece: bytes | memoryview) -> None:
    """Write all of `piece` at the file's position."""
    view = memoryview(piece).cast("B")
    while view:
        view = view[os.write(fd, view) :]


def _step(fd: int, name: str) -> int:
    """Open `name` in the directory `fd` and close `fd`; on failure `fd` stays open."""
    below = os.open(name, DIRECTORY, dir_fd=fd)
    os.close(fd)
    return below


def _remove_older(place: int, names: Iterable[str], before_s: float) -> None:
    for name in names:
        # Another mount may clean the same folder at this moment.
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=place, follow_symlinks=False).st_mtime < before_s:
                os.unlink(name, dir_fd=place)
