"""CRC-64 of ECMA-182 (CRC-64/XZ), which COS and BOS keep beside every object: pure.

The sum of two pieces in a row follows from the sums of both, so a whole object is compared without
reading its parts again.
"""

from __future__ import annotations

from collections.abc import Iterator

import anycrc

from bucketfs.storage.interface import Body
from bucketfs.transport.exchange import BodySink

_MODEL = anycrc.Model("CRC64-XZ")


def crc64(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """Return the sum of `data`, following what has the sum `before`."""
    found: int = _MODEL.calc(data, before)
    return found


def joined(first: int, second: int, second_bytes: int) -> int:
    """Return the sum of two pieces in a row, of which the second is `second_bytes` long."""
    found: int = _MODEL.combine(first, second, second_bytes)
    return found


class SummedBody:
    """A `Body` that knows the sum of what it last yielded; complete once it was iterated."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.crc = 0

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._body.size

    @property
    def is_at_hand(self) -> bool:
        """Whether the bytes are in memory."""
        return getattr(self._body, "is_at_hand", False)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, summing them from the start."""
        self.crc = 0
        for piece in self._body:
            self.crc = crc64(piece, self.crc)
            yield piece


class SummedSink:
    """A sink that sums what goes through it."""

    def __init__(self, sink: BodySink) -> None:
        self._sink = sink
        self._room = memoryview(b"")
        self.crc = 0
        self.received = 0

    def room(self) -> memoryview:
        """Return the inner sink's room."""
        self._room = self._sink.room()
        return self._room

    def advance(self, count: int) -> None:
        """Sum `count` bytes and hand them on."""
        self.crc = crc64(self._room[:count], self.crc)
        self.received += count
        self._sink.advance(count)
