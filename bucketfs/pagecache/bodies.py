"""What an upload sends: views of pieces, runs of zeros, and ranges of the spill file, unjoined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import trio

from bucketfs.pagecache.spill import SpillFile

BLOCK_BYTES = 1 << 20
"""Zeros and spilled bytes are handed out in blocks of this size, so a sparse or spilled file of
any size needs this much memory while it is sent."""

_ZEROS = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Hole:
    """So many zeros."""

    length: int


@dataclass(frozen=True, slots=True)
class Spilled:
    """A range of a spill file; it must not be written over while a body refers to it."""

    file: SpillFile
    start: int
    length: int


Source = memoryview | bytes | Hole | Spilled


def zeros(length: int) -> bytes | memoryview:
    """Return `length` zeros, shared where they are few."""
    return memoryview(_ZEROS)[:length] if length <= BLOCK_BYTES else bytes(length)


class SourcesBody:
    """A `Body` over sources in order. Iterated in a worker thread, again for a retry."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._size = sum(_length(source) for source in sources)

    @property
    def size(self) -> int:
        """How many bytes there are in all."""
        return self._size

    @property
    def is_at_hand(self) -> bool:
        """Whether they are in memory."""
        return not any(isinstance(source, Spilled) for source in self._sources)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield them in order. Raises: CacheDirectoryError (the spill file cannot be read)."""
        for source in self._sources:
            if isinstance(source, Hole):
                for done in range(0, source.length, BLOCK_BYTES):
                    yield zeros(min(BLOCK_BYTES, source.length - done))
            elif isinstance(source, Spilled):
                for done in range(0, source.length, BLOCK_BYTES):
                    count = min(BLOCK_BYTES, source.length - done)
                    yield source.file.read(source.start + done, count)
            else:
                yield source


async def md5_of(body: SourcesBody) -> bytes:
    """Return the MD5 of a body's bytes; reads them in a thread. Raises: CacheDirectoryError."""
    return await trio.to_thread.run_sync(_md5_of, body)


def _md5_of(body: SourcesBody) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in body:
        digest.update(piece)
    return digest.digest()


def _length(source: Source) -> int:
    return source.length if isinstance(source, Hole | Spilled) else len(source)
