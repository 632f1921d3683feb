"""Whole objects are brought to the disk cache, ahead of any reader.

Unlike in passing (`filling`), what is fetched here waits for the disk: nothing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from bucketfs.errors import ConfusedServer, StorageError
from bucketfs.pagecache.blocks.blockfile import BLOCK_BYTES, block_of
from bucketfs.pagecache.blocks.source import BlockCache, is_cacheable
from bucketfs.pagecache.budget import Budget
from bucketfs.storage.interface import ObjectInfo, ObjectStore

REQUEST_BYTES = 64 << 20
"""The longest request: a failure loses no more, and its blocks are kept one by one anyway."""


class NotCached(Exception):
    """An object was not brought to the disk cache; the message says why."""


@dataclass(slots=True)
class Progress:
    """How far a warming is."""

    files: int = 0
    bytes: int = 0


class Warmer:
    """Brings objects to `cache`; any number at once, each takes a block's worth of `memory`."""

    def __init__(self, cache: BlockCache, store: ObjectStore, memory: Budget) -> None:
        self._cache = cache
        self._store = store
        self._memory = memory

    async def warm(self, info: ObjectInfo, progress: Progress) -> None:
        """Have all blocks of a version on disk; `progress` counts its bytes as they come.

        Raises: NotCached, StorageError (ObjectChanged: it is not that version any more).
        """
        if not info.size:
            return
        if not is_cacheable(info):
            raise NotCached("the server gives it no version that could be relied on")
        await trio.to_thread.run_sync(self._cache.folder.wait_scanned)
        digest = self._cache.digest(info.key, info.version, info.size)
        number, count = 0, -(-info.size // BLOCK_BYTES)
        while number < count:
            if self._cache.folder.has(digest, number):
                progress.bytes += block_of(digest, number, info.size).length
                number += 1
                continue
            stop = number + 1
            while (
                stop < count
                and (stop - number) * BLOCK_BYTES < REQUEST_BYTES
                and not self._cache.folder.has(digest, stop)
            ):
                stop += 1
            await self._fetch(info, digest, number, stop, progress)
            number = stop

    async def _fetch(
        self, info: ObjectInfo, digest: bytes, number: int, stop: int, progress: Progress
    ) -> None:
        """Bring the blocks `number` to `stop`, by one request."""
        await self._memory.take(BLOCK_BYTES)
        try:
            sink = _BlockSink(self._cache, info, digest, number, stop, progress)
            start, end = number * BLOCK_BYTES, min(stop * BLOCK_BYTES, info.size)
            await self._store.read_range(info.key, start, end - start, sink, info.version)
        finally:
            self._memory.give(BLOCK_BYTES)
        if sink.was_refused:
            raise NotCached("the disk of the cache takes no more (the log says why)")
        if sink.received < end - start:
            raise ConfusedServer("fewer bytes came than there are", key=info.key, operation="read")


class _BlockSink:
    """A sink that writes each full block to disk, in the thread that fills it."""

    def __init__(
        self,
        cache: BlockCache,
        info: ObjectInfo,
        digest: bytes,
        number: int,
        stop: int,
        progress: Progress,
    ) -> None:
        self.received = 0
        self.was_refused = False
        self._cache = cache
        self._size = info.size
        self._digest = digest
        self._number = number
        self._stop = stop
        self._progress = progress
        self._block = memoryview(bytearray(min(BLOCK_BYTES, info.size)))
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
        if not self._cache.folder.put(key, [self._block[: key.length]]):
            self.was_refused = True
        self._progress.bytes += key.length
        self._number += 1
        self._filled = 0

    def reset(self) -> None:
        """Refuse: blocks were written already, and each read is pinned to a version."""
        raise RuntimeError("a read of one version cannot begin anew")


Failure = NotCached | StorageError
"""Why an object was not brought here."""
