"""CRC32 of what is sent and received. BOS compares it before it stores anything."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import anycrc

from bucketfs.errors import ConfusedServer, Transient
from bucketfs.storage.bos.headers import crc32_of, is_md5
from bucketfs.storage.interface import Body, Sink

MD5_BYTES = 64 << 10
"""Up to this size the answer's ETag is compared too, which costs 0.1 ms."""


class SummedBody:
    """The bytes of an object, or of a part of one, that go with their CRC32."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._body.size

    @property
    def is_at_hand(self) -> bool:
        """Whether the bytes are in memory."""
        return getattr(self._body, "is_at_hand", False)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield them."""
        return iter(self._body)

    @cached_property
    def crc32(self) -> int:
        """The CRC32 (IEEE), about 4 GB/s and without the GIL; first asked in a worker thread."""
        value = 0
        for piece in self._body:
            value = zlib.crc32(piece, value)
        return value

    def check_stored(self, headers: Mapping[str, str]) -> None:
        """Raise Transient unless the server stored these bytes, as far as its answer says.

        Sending them again replaces what is wrong.
        """
        stored = crc32_of(headers)
        if stored is not None and stored != self.crc32:
            raise Transient("the server stored other bytes (CRC32)")

    def check_tag(self, tag: str) -> None:
        """Do the same by an ETag, if it is an MD5 and there are few bytes."""
        if self.size <= MD5_BYTES and is_md5(tag):
            digest = hashlib.md5(b"".join(self), usedforsecurity=False)
            if digest.hexdigest() != tag:
                raise Transient("the server stored other bytes (MD5)")


def combined_crc32(parts: Iterable[tuple[int, int]]) -> int:
    """Return the CRC32 of parts in a row, each given by its CRC32 and its size in bytes."""
    model = anycrc.Model("CRC32")
    value = 0
    for crc, size in parts:
        value = model.combine(value, crc, size)
    return value


class CheckedSink:
    """A sink that knows the CRC32 of what went through it."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._room = memoryview(b"")
        self._crc = 0
        self.taken = 0

    def room(self) -> memoryview:
        """Return the inner sink's room."""
        self._room = self._inner.room()
        return self._room

    def advance(self, count: int) -> None:
        """Count the bytes in."""
        self._crc = zlib.crc32(self._room[:count], self._crc)
        self.taken += count
        self._inner.advance(count)

    def check(self, expected: int, key: str) -> None:
        """Raise ConfusedServer unless what came has the CRC32 `expected`.

        No Transient: the bytes are in the sink, and a read that goes on would not replace them.
        """
        if self._crc != expected:
            raise ConfusedServer(
                "other bytes came than the server has (CRC32)", key=key, operation="read"
            )
