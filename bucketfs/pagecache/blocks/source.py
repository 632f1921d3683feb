"""What a reader asks instead of the store: the disk first, then the store for what is not there.

A block is looked for under the version that the reader is pinned to, so what comes from disk is of
that version, as is what the store sends with `If-Match`: never mixed bytes. An open file whose
object was replaced may go on from disk; the first byte that is not there is refused by the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from bucketfs.pagecache.blocks.blockfile import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    DamagedBlock,
    OpenBlock,
    block_of,
    digest_of,
)
from bucketfs.pagecache.blocks.filling import WORTHWHILE_BYTES, Filling
from bucketfs.pagecache.blocks.folder import BlockFolder
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.streams import Stream
from bucketfs.storage.headers import has_etag
from bucketfs.storage.interface import ObjectInfo, ObjectStore, Sink, Version
from bucketfs.workers import Workers

_BLOCKS_AT_ONCE = 4096
"""So many blocks are looked for before others get their turn."""
EXPECTED_BLOCKS = 8
"""How far the disk reads ahead of what is given to a sequential reader."""


class Source(Protocol):
    """Where the bytes of one version come from; an `ObjectStore` is one."""

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> object:
        """Put bytes `start` to `start + length` into `sink`; as `ObjectStore.read_range`."""


@dataclass(slots=True)
class Counts:
    """How often the disk was of use."""

    hits: int = 0
    """Reads that the disk answered whole."""
    misses: int = 0
    """Reads that needed the store."""
    hit_bytes: int = 0


class BlockCache:
    """The disk cache of a mount: blocks of objects in the bucket `identity`, in `path`.

    Making one blocks for a moment; what is in `path` is found out in the background.
    """

    def __init__(
        self, path: Path, limit_bytes: int, identity: str, memory: Budget, *, concurrency: int
    ) -> None:
        self.folder = BlockFolder(path, limit_bytes)
        self.filling = Filling(self.folder, memory)
        self.workers = Workers(concurrency, "disk cache")
        self.counts = Counts()
        self._identity = identity

    def source(self, store: ObjectStore, info: ObjectInfo) -> Source:
        """Return where a reader of `info` gets its bytes; the store where it cannot be cached."""
        return CachedSource(self, store, info.size) if is_cacheable(info) else store

    def digest(self, key: str, version: Version, size: int) -> bytes:
        """Return the name of a version of an object."""
        return digest_of(self._identity, key, version, size)

    def keep_whole(self, info: ObjectInfo, data: bytes) -> None:
        """Keep an object of which somebody has all bytes, if it is small."""
        if is_cacheable(info) and len(data) <= BLOCK_BYTES:
            digest = self.digest(info.key, info.version, info.size)
            self.filling.offer(block_of(digest, 0, info.size), data)

    async def held_bytes(self, info: ObjectInfo) -> int:
        """Return how much of a version is on disk, as far as its folder was looked through."""
        if not is_cacheable(info):
            return 0
        digest, held = self.digest(info.key, info.version, info.size), 0
        for number in range(-(-info.size // BLOCK_BYTES)):
            if number % _BLOCKS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self.folder.has(digest, number):
                held += min(BLOCK_BYTES, info.size - number * BLOCK_BYTES)
        return held

    def statistics(self) -> dict[str, int]:
        """Return what it holds, and of what use it was."""
        return {
            "cached_bytes": self.folder.held_bytes,
            "cached_blocks": len(self.folder),
            "cache_hits": self.counts.hits,
            "cache_misses": self.counts.misses,
            "cache_hit_bytes": self.counts.hit_bytes,
            "cache_evicted_blocks": self.folder.evicted,
            "cache_damaged_blocks": self.folder.damaged,
        }

    def close(self) -> None:
        """Write what is complete and stop. Blocks for a moment."""
        self.workers.close()
        self.filling.close()


def is_cacheable(info: ObjectInfo) -> bool:
    """Tell whether equal versions of `info`'s key surely mean equal bytes, for ever.

    A stand-in made of date and size does not: two writes within a second may look the same.
    """
    return info.size > 0 and bool(info.version) and has_etag(info.version)


class CachedSource:
    """The bytes of one object of `size` bytes, from disk where they are there."""

    def __init__(self, cache: BlockCache, store: ObjectStore, size: int) -> None:
        self._cache = cache
        self._store = store
        self._size = size

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> None:
        """Put bytes `start + sink.received` to `start + length` into `sink`.

        Raises: as `ObjectStore.read_range`.
        """
        assert if_version is not None, "blocks belong to a version"
        cache = self._cache
        digest = cache.digest(key, if_version, self._size)
        position, end = start + sink.received, min(start + length, self._size)
        # A short request is a random reader's: it will never complete a block of a long object.
        filling = cache.filling if end - position >= min(self._size, WORTHWHILE_BYTES) else None
        is_whole = True
        while position < end:
            if self._may_be_here(digest, position):
                before = position
                _note_origin(sink, is_from_disk=True)
                position, is_enough = await cache.workers.run(
                    self._serve, digest, position, end, sink
                )
                cache.counts.hit_bytes += position - before
                if is_enough:
                    break
            if position < end:
                is_whole = False
                _note_origin(sink, is_from_disk=False)
                stop = self._next_here(digest, position, end)
                tee = _Tee(sink, filling, digest, self._size, position)
                await self._store.read_range(key, position, stop - position, tee, if_version)
                position += tee.received
                if position < stop:
                    break
        cache.counts.hits += is_whole
        cache.counts.misses += not is_whole

    def _may_be_here(self, digest: bytes, position: int) -> bool:
        folder = self._cache.folder
        return not folder.is_scanned or folder.has(digest, position // BLOCK_BYTES)

    def _next_here(self, digest: bytes, position: int, end: int) -> int:
        """Return where the request to the store ends: at the next block that is on disk."""
        number = position // BLOCK_BYTES + 1
        while number * BLOCK_BYTES < end:
            if self._cache.folder.has(digest, number):
                return number * BLOCK_BYTES
            number += 1
        return end

    def _serve(self, digest: bytes, position: int, end: int, sink: Sink) -> tuple[int, bool]:
        """Give what is on disk from `position` on; return how far, and whether that is enough.

        Blocks: for threads.
        """
        expected = position // BLOCK_BYTES
        while position < end:
            key = block_of(digest, position // BLOCK_BYTES, self._size)
            stop = min(key.number + EXPECTED_BLOCKS, -(-end // BLOCK_BYTES))
            while expected < stop and end - position > BLOCK_BYTES:
                self._cache.folder.expect(block_of(digest, expected, self._size))
                expected += 1
            block = self._cache.folder.open(key)
            if block is None:
                return position, False
            base = key.number * BLOCK_BYTES
            serving = _Serving(block, position - base, min(end - base, key.length), sink)
            with block:
                try:
                    serving.run()
                except (DamagedBlock, OSError) as exc:
                    self._cache.folder.failed(key, exc)
                    return base + serving.position, False
            position = base + serving.position
            if serving.is_enough:
                return position, True
        return position, True


def _note_origin(sink: Sink, *, is_from_disk: bool) -> None:
    """Tell a stream for what its readers wait now."""
    if isinstance(sink, Stream):
        sink.is_from_disk = is_from_disk


class _Serving:
    """Bytes `position` to `stop` of one block on their way to a sink."""

    def __init__(self, block: OpenBlock, position: int, stop: int, sink: Sink) -> None:
        self.position = position
        self.is_enough = False
        self._block = block
        self._stop = stop
        self._sink = sink
        if stop - position < WORTHWHILE_BYTES:
            block.expect_random()

    def run(self) -> None:
        """Give all of them, or until the sink has enough. Raises: DamagedBlock, OSError."""
        while self.position < self._stop:
            room = self._sink.room()[: self._stop - self.position]
            if not room.nbytes:
                self.is_enough = True
                return
            whole = self._whole_bytes(room.nbytes)
            if whole:
                # What is not proved is not shown: `advance` comes after.
                self._block.read_into(self.position, room[:whole])
                self._sink.advance(whole)
                self.position += whole
            else:
                self._give_chunk(room)

    def _whole_bytes(self, room_bytes: int) -> int:
        """Return how much can be read where it belongs: whole chunks, or up to the block's end."""
        if self.position % CHUNK_BYTES:
            return 0
        if self.position + room_bytes == self._block.key.length:
            return room_bytes
        return room_bytes - room_bytes % CHUNK_BYTES

    def _give_chunk(self, room: memoryview) -> None:
        """Prove the chunk that `position` lies in, and give what is wanted of it."""
        base = self.position - self.position % CHUNK_BYTES
        chunk = memoryview(bytearray(min(CHUNK_BYTES, self._block.key.length - base)))
        self._block.read_into(base, chunk)
        stop = min(base + chunk.nbytes, self._stop)
        while True:
            count = min(room.nbytes, stop - self.position)
            at = self.position - base
            room[:count] = chunk[at : at + count]
            self._sink.advance(count)
            self.position += count
            if self.position >= stop:
                return
            room = self._sink.room()
            if not room.nbytes:
                self.is_enough = True
                self._stop = self.position
                return


class _Tee:
    """A sink that shows `filling` what goes through it; None: it only counts."""

    def __init__(
        self, sink: Sink, filling: Filling | None, digest: bytes, size: int, start: int
    ) -> None:
        self.received = 0
        self._sink = sink
        self._filling = filling
        self._digest = digest
        self._size = size
        self._start = start
        self._room = memoryview(b"")

    def room(self) -> memoryview:
        """Return where the next bytes go: the reader's own memory."""
        self._room = self._sink.room()
        return self._room

    def advance(self, count: int) -> None:
        """Copy `count` bytes for the disk, and hand them on."""
        if self._filling is not None:
            # Before they are handed on: then the memory may be used for something else.
            at = self._start + self.received
            self._filling.add(self._digest, self._size, at, self._room[:count])
        self._room = memoryview(b"")
        self.received += count
        self._sink.advance(count)

    def reset(self) -> None:
        """Begin anew, where the reader can."""
        self._sink.reset()
        self.received = 0
