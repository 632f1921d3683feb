"""Where written bytes may stand: the memory budget, the disk budget, and waiting for either.

Memory comes first. Written bytes may take most of it but not all, so that many idle dirty files
cannot starve the readers; beyond that they go to disk. When both are full a writer waits as long as
an upload is under way that will free something, and gets `NoSpace` only when nothing can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from bucketfs.errors import NoSpace
from bucketfs.pagecache.budget import Budget


class KeepsClean(Protocol):
    """Something that keeps clean bytes in memory only as long as nobody needs the memory."""

    def drop_clean(self) -> int:
        """Forget them; return how many bytes were given back to the budget."""


class Room:
    """The two budgets of written bytes, shared by all files of a mount.

    Used in trio's thread only. `disk_bytes` 0: nothing is ever spilled.
    """

    def __init__(self, memory: Budget, disk_bytes: int) -> None:
        self._memory = memory
        self._disk_limit = disk_bytes
        # A quarter is left to readers where bytes can go to disk instead.
        self._memory_limit = memory.limit_bytes * 3 // 4 if disk_bytes else memory.limit_bytes
        self._clean_limit = memory.limit_bytes // 4
        self._clean: dict[KeepsClean, int] = {}
        self._changed = trio.Event()
        self.memory_bytes = 0
        """Memory that written bytes hold, clean ones included."""
        self.disk_bytes = 0
        """Bytes in spill files."""
        self.uploads = 0
        """Saves and parts under way, which may free bytes when they end."""
        self.sent_bytes = 0
        """Bytes of parts that were sent so far: how far a large file is, which counts as unsaved
        until all of it is there."""
        self.is_being_relieved = False
        """Whether bytes that were sent are being moved to disk, which frees memory."""
        self.when_short: Callable[[], None] = _do_nothing
        """Called whenever bytes were taken and memory is short."""
        memory.add_reclaimer(self._reclaim)

    @property
    def is_short(self) -> bool:
        """Whether memory is more than half full, so that uploaded bytes had better go to disk."""
        return self.memory_bytes * 2 > self._memory_limit

    def close(self) -> None:
        """Take no more part in the memory budget."""
        self._memory.remove_reclaimer(self._reclaim)

    def try_memory(self, count: int) -> bool:
        """Take `count` bytes of memory if they are there, at the cost of clean bytes if need be."""
        if self.memory_bytes + count > self._memory_limit:
            self._reclaim(self.memory_bytes + count - self._memory_limit)
            if self.memory_bytes + count > self._memory_limit:
                return False
        if not self._memory.try_take(count):
            self._memory.reclaim(count)
            if not self._memory.try_take(count):
                return False
        self.memory_bytes += count
        if self.is_short:
            self.when_short()
        return True

    def give_memory(self, count: int) -> None:
        """Give memory back."""
        self.memory_bytes -= count
        self._memory.give(count)
        self._wake()

    def try_disk(self, count: int) -> bool:
        """Take `count` bytes of disk if they are there."""
        if self.disk_bytes + count > self._disk_limit:
            return False
        self.disk_bytes += count
        return True

    def adopt_disk(self, count: int) -> None:
        """Count bytes that are on disk already, even where that is more than the budget."""
        self.disk_bytes += count

    def give_disk(self, count: int) -> None:
        """Give disk back."""
        self.disk_bytes -= count
        self._wake()

    async def wait_for_space(self, count: int) -> None:
        """Return when it is worth asking again for `count` bytes.

        Raises: NoSpace, where no upload is under way and written bytes alone fill the budgets.
        """
        if self.uploads:
            await self._changed.wait()
            return
        if self.memory_bytes + count <= self._memory_limit:
            # Readers have the memory: they give it back without anybody's help.
            await self._memory.take(count)
            self._memory.give(count)
            return
        raise self._no_space()

    async def wait_for_disk(self) -> None:
        """Return when it is worth asking again for disk. Raises: NoSpace (no upload frees any)."""
        if not self.uploads:
            raise self._no_space()
        await self._changed.wait()

    def _no_space(self) -> NoSpace:
        return NoSpace(
            f"the budgets for written bytes are full ({self.memory_bytes} bytes of memory, "
            f"{self.disk_bytes} of disk): close or sync files, or mount with more memory= or disk="
        )

    async def wait_changed(self) -> None:
        """Return when some bytes were given back, or an upload or a relief has ended."""
        await self._changed.wait()

    def relieved(self) -> None:
        """Say that nothing more is being moved to disk."""
        self.is_being_relieved = False
        self._wake()

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Count one upload under way."""
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1
            self._wake()

    def keeps_clean(self, keeper: KeepsClean, count: int) -> None:
        """Note that `keeper` keeps `count` clean bytes (0: none any more).

        Where too many are kept in all, those who kept theirs longest lose them.
        """
        self._clean.pop(keeper, None)
        if count:
            self._clean[keeper] = count
            self._reclaim(sum(self._clean.values()) - self._clean_limit)
            self._memory.became_clean()

    def _reclaim(self, count: int) -> int:
        """Drop kept clean bytes, oldest first, until `count` bytes are free."""
        freed = 0
        while freed < count and self._clean:
            keeper = next(iter(self._clean))
            del self._clean[keeper]
            freed += keeper.drop_clean()
        return freed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _do_nothing() -> None:
    """Stand in for whoever wants to know that memory is short."""
