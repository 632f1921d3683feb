"""The folder of cached blocks: finds, proves, writes and evicts them. Any thread; blocks.

Several processes may use one folder without harm: a block appears whole, by a rename, and proves
itself when it is read; what another process has removed is a miss. Each then counts only what it
knows of, so that together they may hold more than the limit.
A disk that is full or fails turns the cache off for a while, and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bucketfs.pagecache.blocks import blockfile
from bucketfs.pagecache.blocks.blockfile import BlockKey, DamagedBlock, OpenBlock
from bucketfs.pagecache.blocks.recency import Held, Recency, on_disk

log = logging.getLogger(__name__)

PAUSE_S = 60.0
"""How long nothing is asked of a disk that failed."""
EVICTED_SHARE = 32
"""What is evicted at once: this part of the limit."""
TOUCH_AFTER_S = 600.0
"""A block's time of use on disk is renewed when it is older."""
MOST_RESERVE_BYTES = 1 << 30
RESERVE_SHARE = 20
"""A 20th of the disk, at most 1 GiB, is left free for everybody else."""
LOOK_BYTES = 32 << 20
"""So much is written until the free disk is looked at again."""

_numbers = itertools.count(1)


class BlockFolder:
    """The blocks in `path`, at most `limit_bytes` of disk in all.

    `scan` has to run once, before anything is kept; reading works from the start.
    `free_bytes` tells how much disk others may still use beyond what should be left free.
    """

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        *,
        free_bytes: Callable[[Path], int] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self.evicted = 0
        self.damaged = 0
        self._temporary = path / "tmp"
        self._free_bytes = free_bytes or _free_bytes
        self._clock_s = clock_s
        self._recency = Recency()
        self._lock = threading.Lock()
        self._reserved_bytes = 0
        self._scanned = threading.Event()
        self._off_until_s = {"read": 0.0, "write": 0.0}
        self._is_warned = False
        self._unseen_bytes = LOOK_BYTES

    @property
    def is_scanned(self) -> bool:
        """Whether it is known what there is."""
        return self._scanned.is_set()

    @property
    def held_bytes(self) -> int:
        """How much disk the known blocks take."""
        return self._recency.held_bytes

    def __len__(self) -> int:
        """Return how many blocks are known."""
        return len(self._recency)

    def has(self, digest: bytes, number: int) -> bool:
        """Tell whether a block is known: in memory, without asking the disk."""
        return blockfile.short_name_of(digest, number) in self._recency

    def use(self, digest: bytes, number: int) -> bool:
        """Tell whether a block is known, which counts as a use of it."""
        short_name = blockfile.short_name_of(digest, number)
        with self._lock:
            self._recency.touch(short_name)
            return short_name in self._recency

    def may_write(self) -> bool:
        """Tell whether it is worth making a block: the disk is not known to be full or broken."""
        return self._clock_s() >= self._off_until_s["write"]

    def scan(self) -> None:
        """Find out what is there, throw away what a killed process left, and obey the limit."""
        try:
            self._scan()
        finally:
            self._scanned.set()

    def _scan(self) -> None:
        try:
            self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._temporary.iterdir():
                left.unlink(missing_ok=True)
            found = sorted(_files_of(self.path))
        except OSError as exc:
            self._turn_off("write", exc)
            found = []
        with self._lock:
            for _, short_name, held in found:
                if short_name not in self._recency:
                    self._recency.add(short_name, held)
            surplus = self._recency.held_bytes - self.limit_bytes
        if surplus > 0:
            self._evict(surplus)

    def wait_scanned(self) -> None:
        """Wait for `scan`, in a thread of the caller's."""
        self._scanned.wait()

    def open(self, key: BlockKey) -> OpenBlock | None:
        """Return a block, with its trailer proved, or None. The caller closes it."""
        if self._clock_s() < self._off_until_s["read"]:
            return None
        try:
            block = OpenBlock.open(self.path / key.name, key)
            self._used(block)
        except FileNotFoundError:
            with self._lock:
                self._recency.remove(key.short_name)
            return None
        except (DamagedBlock, OSError) as exc:
            self.failed(key, exc)
            return None
        return block

    def expect(self, key: BlockKey) -> None:
        """Have the kernel begin to read a block from disk that is wanted soon."""
        if key.short_name in self._recency:
            with contextlib.suppress(OSError):
                blockfile.expect(self.path / key.name)

    def failed(self, key: BlockKey, exc: DamagedBlock | OSError) -> None:
        """Drop a block that proved to be none, or leave a disk in peace that fails."""
        if isinstance(exc, OSError):
            self._turn_off("read", exc)
            return
        with self._lock:
            self._recency.remove(key.short_name)
            self.damaged += 1
            is_first = self.damaged == 1
        level = logging.WARNING if is_first else logging.DEBUG
        path = self.path / key.name
        log.log(level, "the cached block %s is damaged and fetched anew: %s", path, exc)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def put(self, key: BlockKey, data: memoryview) -> bool:
        """Keep a block, with which `data` begins; return whether it is here now.

        What the disk does is never an error.
        """
        if not self.is_scanned or not self.may_write():
            return False
        count = on_disk(blockfile.file_bytes_of(key.length))
        with self._lock:
            if key.short_name in self._recency:
                return True
            self._reserved_bytes += count
            surplus = self._recency.held_bytes + self._reserved_bytes - self.limit_bytes
        try:
            if surplus > 0:
                self._evict(surplus + self.limit_bytes // EVICTED_SHARE)
            if not self._leaves_enough(count):
                return False
            self._write(key, data)
            with self._lock:
                self._recency.add(key.short_name, Held(key.digest[16:], count))
        except FileNotFoundError:
            return False  # another process has cleaned up: its folder as well as ours
        except OSError as exc:
            self._turn_off("write", exc)
            return False
        finally:
            with self._lock:
                self._reserved_bytes -= count
        self._is_warned = False
        return True

    def _write(self, key: BlockKey, data: memoryview) -> None:
        target = self.path / key.name
        temporary = self._temporary / f"{os.getpid()}-{next(_numbers)}-{time.time_ns():x}"
        try:
            blockfile.write(temporary, key, data)
            try:
                temporary.rename(target)
            except FileNotFoundError:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                temporary.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _used(self, block: OpenBlock) -> None:
        with self._lock:
            self._recency.touch(block.key.short_name)
        if time.time() - block.used_s > TOUCH_AFTER_S:
            with contextlib.suppress(OSError):  # a disk that cannot be written can be read
                block.note_use()

    def _leaves_enough(self, count: int) -> bool:
        """Tell whether a block may be written; make place for others where the disk is short."""
        with self._lock:
            self._unseen_bytes += count
            if self._unseen_bytes < LOOK_BYTES:
                return True
            self._unseen_bytes = 0
        short = count - self._free_bytes(self.path)
        if short <= 0:
            return True
        self._evict(max(short, self.limit_bytes // EVICTED_SHARE))
        if self._free_bytes(self.path) >= count:
            return True
        self._turn_off("write", "the disk is nearly full")
        return False

    def _evict(self, count: int) -> None:
        with self._lock:
            victims = self._recency.take_oldest(count)
            self.evicted += len(victims)
        for short_name, held in victims:
            with contextlib.suppress(OSError):
                (self.path / blockfile.file_of(short_name, held.digest_rest)).unlink()

    def _turn_off(self, what: str, reason: object) -> None:
        with self._lock:
            self._off_until_s[what] = self._clock_s() + PAUSE_S
            self._unseen_bytes = LOOK_BYTES
            level = logging.DEBUG if self._is_warned else logging.WARNING
            self._is_warned = True
        text = "the disk cache in %s is not used for %.0f s (%s): %s"
        log.log(level, text, self.path, PAUSE_S, what, reason)


def _files_of(path: Path) -> list[tuple[float, bytes, Held]]:
    """Return the blocks in a folder with the time of their last use."""
    found = []
    for folder in os.scandir(path):
        if len(folder.name) != 2 or not folder.is_dir(follow_symlinks=False):
            continue
        for file in os.scandir(folder.path):
            short_name = blockfile.parse_name(folder.name, file.name)
            if short_name is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = file.stat(follow_symlinks=False)
                rest = bytes.fromhex(file.name[32:64])
                found.append((status.st_mtime, short_name, Held(rest, on_disk(status.st_size))))
    return found


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    whole = status.f_blocks * status.f_frsize
    reserve = min(MOST_RESERVE_BYTES, whole // RESERVE_SHARE)
    return status.f_bavail * status.f_frsize - reserve
