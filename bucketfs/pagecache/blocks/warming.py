"""Whole objects are brought to the disk cache, ahead of any reader.

Unlike in passing (`filling`), what is fetched here waits for the disk: nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio

from bucketfs.errors import ConfusedServer
from bucketfs.pagecache.blocks.blockfile import BLOCK_BYTES, block_of, file_bytes_of, new_buffer
from bucketfs.pagecache.blocks.folder import EVICTED_SHARE
from bucketfs.pagecache.blocks.recency import on_disk
from bucketfs.pagecache.blocks.source import BlockCache, is_cacheable
from bucketfs.pagecache.budget import Budget
from bucketfs.storage.interface import ObjectInfo, ObjectStore

STRETCH_BLOCKS = 32
"""The longest request. Large objects are fetched by several at once: one connection is slow."""


class DiskRefused(Exception):
    """The disk of the cache takes nothing now: full, or broken."""


@dataclass(slots=True)
class Progress:
    """How many bytes are on disk of what was asked for."""

    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks `first` to `stop` of a version: what one request may bring."""

    info: ObjectInfo
    first: int
    stop: int


def stretches(info: ObjectInfo) -> Iterator[Stretch]:
    """Yield the stretches that an object consists of; an empty one has none."""
    count = -(-info.size // BLOCK_BYTES)
    for first in range(0, count, STRETCH_BLOCKS):
        yield Stretch(info, first, min(first + STRETCH_BLOCKS, count))


class Warmer:
    """Brings objects to `cache`; any number at once, each takes a block's worth of `memory`."""

    def __init__(self, cache: BlockCache, store: ObjectStore, memory: Budget) -> None:
        self.store = store
        self.limit_bytes = cache.folder.limit_bytes
        self._cache = cache
        self._memory = memory

    @property
    def room_bytes(self) -> int:
        """How much disk can be filled before what came first makes place for what comes last."""
        return self.limit_bytes - 2 * self.limit_bytes // EVICTED_SHARE

    def disk_bytes(self, info: ObjectInfo) -> int:
        """Return how much disk an object takes."""
        whole, rest = divmod(info.size, BLOCK_BYTES)
        cost = whole * on_disk(file_bytes_of(BLOCK_BYTES))
        return cost + (on_disk(file_bytes_of(rest)) if rest else 0)

    def can_keep(self, info: ObjectInfo) -> bool:
        """Tell whether an object has a version that can be relied on."""
        return is_cacheable(info)

    async def warm(self, stretch: Stretch, progress: Progress) -> None:
        """Have all blocks of a stretch on disk; `progress` counts their bytes as they come.

        Raises: DiskRefused, StorageError (ObjectChanged: the object is not that version any more).
        """
        info, folder = stretch.info, self._cache.folder
        await trio.to_thread.run_sync(folder.wait_scanned)
        digest = self._cache.digest(info.key, info.version, info.size)
        first = stretch.first
        while first < stretch.stop:
            if folder.use(digest, first):
                progress.bytes += block_of(digest, first, info.size).length
                first += 1
                continue
            stop = first + 1
            while stop < stretch.stop and not folder.has(digest, stop):
                stop += 1
            await self._fetch(Stretch(info, first, stop), digest, progress)
            first = stop

    async def _fetch(self, stretch: Stretch, digest: bytes, progress: Progress) -> None:
        """Bring the blocks of a stretch, by one request."""
        info = stretch.info
        start, end = stretch.first * BLOCK_BYTES, min(stretch.stop * BLOCK_BYTES, info.size)
        await self._memory.take(BLOCK_BYTES)
        try:
            sink = _BlockSink(self._cache, stretch, digest, progress)
            await self.store.read_range(info.key, start, end - start, sink, info.version)
        finally:
            self._memory.give(BLOCK_BYTES)
        if sink.was_refused:
            raise DiskRefused("the disk of the cache takes nothing now (the log says why)")
        if sink.received < end - start:
            raise ConfusedServer("fewer bytes came than there are", key=info.key, operation="read")


class _BlockSink:
    """A sink that writes each full block to disk, in the thread that fills it."""

    def __init__(
        self, cache: BlockCache, stretch: Stretch, digest: bytes, progress: Progress
    ) -> None:
        self.received = 0
        self.was_refused = False
        self._cache = cache
        self._size = stretch.info.size
        self._digest = digest
        self._number = stretch.first
        self._stop = stretch.stop
        self._progress = progress
        self._block = new_buffer()
        self._filled = 0

    def room(self) -> memoryview:
        """Return what is still empty of the current block."""
        if self.was_refused or self._number >= self._stop:
            return memoryview(b"")
        length = block_of(self._digest, self._number, self._size).length
        return self._block[self._filled : length]

    def advance(self, count: int) -> None:
        """Count `count` more bytes, and write the block that is full by them."""
        self.received += count
        self._filled += count
        key = block_of(self._digest, self._number, self._size)
        if self._filled < key.length:
            return
        if not self._cache.folder.put(key, self._block):
            self.was_refused = True
            return
        self._progress.bytes += key.length
        self._number += 1
        self._filled = 0

    def reset(self) -> None:
        """Refuse: blocks were written already, and each read is pinned to a version."""
        raise RuntimeError("a read of one version cannot begin anew")
