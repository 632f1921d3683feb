"""Memory for bytes that come off the wire: taken from the budget, and used again.

A fresh bytearray is filled with zeros and touches new pages of the machine's memory, which costs
as much as receiving the bytes; so a stream goes round in the few chunks that it has.
"""

from __future__ import annotations

import threading

import trio

from bucketfs.pagecache.budget import Budget

KEPT_CHUNKS = 3
"""Free chunks that one reader keeps: what a stream in balance goes round in."""


class Buffers:
    """Hand out bytearrays that are counted in `budget`, and keep a few for the next; any thread.

    A buffer may be released while views of it are still being read: it is used again only when
    the last of them is gone, else left to the garbage collector.
    """

    def __init__(self, budget: Budget, chunk_bytes: int) -> None:
        self.budget = budget
        self.chunk_bytes = chunk_bytes
        self._free: list[bytearray] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def acquire(self, size: int) -> bytearray | None:
        """Return a buffer of `size` bytes (undefined content), None where the budget has none."""
        kept = self._take_kept() if size == self.chunk_bytes else None
        if kept is not None:
            return kept if _is_unused(kept) else bytearray(size)
        if not self.budget.try_take(size):
            return None
        return bytearray(size)

    def ask_for_memory(self, token: trio.lowlevel.TrioToken) -> None:
        """Have the memory of one chunk reclaimed soon, from whoever has it idle; any thread."""
        self.budget.reclaim_soon(self.chunk_bytes, token)

    def has_memory(self) -> bool:
        """Say whether a chunk could be had now."""
        free = self.budget.limit_bytes - self.budget.used_bytes
        return bool(self._free) or free >= self.chunk_bytes

    def overdraw(self, size: int) -> bytearray:
        """Return a buffer of `size` bytes whatever the budget says: a starving reader's minimum."""
        self.budget.overdraw(size)
        return bytearray(size)

    def release(self, buffer: bytearray) -> None:
        """Take a buffer back; views of it stay valid."""
        with self._lock:
            if (
                len(buffer) == self.chunk_bytes
                and not self._is_closed
                and len(self._free) < KEPT_CHUNKS
                and self.budget.used_bytes <= self.budget.limit_bytes
            ):
                self._free.append(buffer)
                return
        self.budget.give(len(buffer))

    def drain(self, count: int) -> int:
        """Give kept buffers back to the budget until `count` bytes are free; return how many."""
        freed = 0
        while freed < count and (buffer := self._take_kept()) is not None:
            self.budget.give(len(buffer))
            freed += len(buffer)
        return freed

    def close(self) -> None:
        """Keep nothing any more; buffers that are out may still be released."""
        with self._lock:
            self._is_closed = True
        while (buffer := self._take_kept()) is not None:
            self.budget.give(len(buffer))

    def _take_kept(self) -> bytearray | None:
        with self._lock:
            return self._free.pop() if self._free else None


def _is_unused(buffer: bytearray) -> bool:
    """Say whether no view of `buffer` exists: Python resizes a bytearray only then."""
    try:
        last = buffer.pop()
    except BufferError:
        return False
    buffer.append(last)
    return True
