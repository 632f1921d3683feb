"""Received bytes become blocks on disk, in passing: nobody who reads ever waits for that.

Pieces are copied into a few buffers, which count in the mount's memory; a thread writes the full
ones. Where buffers, memory or the disk cannot keep up, blocks are left out.
"""

from __future__ import annotations

import logging
import queue
import threading

from bucketfs.pagecache.blocks.blockfile import BLOCK_BYTES, BlockKey, block_of, new_buffer
from bucketfs.pagecache.blocks.folder import BlockFolder
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.extents import Ranges

log = logging.getLogger(__name__)

MOST_BUFFERS = 16
"""Blocks that are collected or wait to be written: two for each of eight parallel streams."""
KEPT_BUFFERS = 3
"""Free ones that are kept for the next: fresh memory costs as much as the copy."""
WORTHWHILE_BYTES = 256 << 10
"""What is received by shorter requests is not collected."""
MOST_WAITING_BYTES = 4 << 20
"""Small objects that wait to be written."""
CLOSING_S = 5.0


class _Partial:
    """A block that is being collected."""

    __slots__ = ("buffer", "here")

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.here = Ranges()


class Filling:
    """Collects blocks of all objects of a mount and writes them to `folder`. Any thread."""

    def __init__(self, folder: BlockFolder, memory: Budget) -> None:
        self._folder = folder
        self._memory = memory
        self._lock = threading.Lock()
        self._partial: dict[BlockKey, _Partial] = {}
        self._free: list[memoryview] = []
        self._buffers = 0
        self._waiting: set[BlockKey] = set()
        self._waiting_bytes = 0
        self._jobs: queue.SimpleQueue[tuple[BlockKey, memoryview | bytes] | None]
        self._jobs = queue.SimpleQueue()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="disk cache", daemon=True)
        self._thread.start()
        memory.add_reclaimer(self._reclaim)

    def add(self, digest: bytes, size: int, start: int, data: memoryview) -> None:
        """Take the bytes from `start` on of an object of `size` bytes; they are copied."""
        while data.nbytes:
            key = block_of(digest, start // BLOCK_BYTES, size)
            at = start % BLOCK_BYTES
            count = min(key.length - at, data.nbytes)
            if count <= 0:
                return
            self._add(key, at, data[:count])
            start, data = start + count, data[count:]

    def offer(self, key: BlockKey, data: bytes) -> None:
        """Take a block that somebody has in memory anyway; it is not copied."""
        with self._lock:
            is_full = self._waiting_bytes + len(data) > MOST_WAITING_BYTES
            if is_full or key in self._waiting or not self._is_wanted(key):
                return
            self._waiting.add(key)
            self._waiting_bytes += len(data)
        self._jobs.put((key, data))

    def close(self) -> None:
        """Write what is complete, for a moment at most, and stop. Blocks."""
        self._is_closing = True
        self._jobs.put(None)
        self._thread.join(CLOSING_S)
        self._memory.remove_reclaimer(self._reclaim)
        self._reclaim(MOST_BUFFERS * BLOCK_BYTES)

    def _add(self, key: BlockKey, at: int, data: memoryview) -> None:
        with self._lock:
            partial = self._partial.pop(key, None)
            if partial is None:
                if key in self._waiting or not self._is_wanted(key):
                    return
                buffer = self._buffer()
                if buffer is None:
                    return
                partial = _Partial(buffer)
            partial.buffer[at : at + data.nbytes] = data
            partial.here.add(at, at + data.nbytes)
            if partial.here.gaps(key.length):
                self._partial[key] = partial  # the last to be given up
                return
            self._waiting.add(key)
        self._jobs.put((key, partial.buffer))

    def _is_wanted(self, key: BlockKey) -> bool:
        folder = self._folder
        return (
            not self._is_closing and folder.may_write() and not folder.has(key.digest, key.number)
        )

    def _buffer(self) -> memoryview | None:
        """Return a free buffer, a new one, or that of the block that has waited longest."""
        if self._free:
            return self._free.pop()
        if self._buffers < MOST_BUFFERS and self._memory.try_take(BLOCK_BYTES):
            self._buffers += 1
            return new_buffer()
        if self._partial:
            return self._partial.pop(next(iter(self._partial))).buffer
        return None

    def _work(self) -> None:
        try:
            self._folder.scan()
        except Exception:
            log.exception("a bug in the disk cache")
        while (job := self._jobs.get()) is not None:
            key, data = job
            try:
                self._folder.put(key, memoryview(data))
            except Exception:
                log.exception("a bug in the disk cache")
            self._written(key, data)

    def _written(self, key: BlockKey, data: memoryview | bytes) -> None:
        with self._lock:
            self._waiting.discard(key)
            if isinstance(data, bytes):
                self._waiting_bytes -= len(data)
                return
            if len(self._free) < KEPT_BUFFERS:
                self._free.append(data)
                return
            self._buffers -= 1
        self._memory.give(BLOCK_BYTES)

    def _reclaim(self, count: int) -> int:
        """Give memory to those who need it, at the cost of blocks that are not complete."""
        with self._lock:
            freed = 0
            while freed < count and (self._free or self._partial):
                if self._free:
                    self._free.pop()
                else:
                    self._partial.pop(next(iter(self._partial)))
                self._buffers -= 1
                freed += BLOCK_BYTES
        self._memory.give(freed)
        return freed
