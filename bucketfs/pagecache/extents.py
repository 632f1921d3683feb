"""The map of a file: which bytes stand where. Pure: no bytes, no I/O, no waiting.

A file is a gapless row of extents from 0 to its size. Each says where its bytes are: in the base
(the version in the bucket that the content rests on), nowhere (a hole of zeros), in a piece of
memory, or in the spill file. What a streaming upload has sent already is not a state here: an
uploaded part is still dirty until the commit, so the uploader keeps that list itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from bucketfs.pagecache.pieces import Piece

END = 1 << 63
"""Past the end of any file."""


class Kind(IntEnum):
    """Where the bytes of an extent are."""

    BASE = 0
    """In the base, at the same offset."""
    ZERO = 1
    """Nowhere: a hole that reads as zeros and that the base does not have."""
    DIRTY = 2
    """In a piece of memory only."""
    SPILLED = 3
    """In the spill file only, at the same offset."""
    CLEAN = 4
    """In a piece of memory, and in the base too."""


class Extent(NamedTuple):
    """Bytes `start` to `stop` of a file.

    With a piece, byte `offset` of the file is byte `offset + shift` of the piece: cutting an extent
    changes only its ends.
    """

    start: int
    stop: int
    kind: Kind
    piece: Piece | None = None
    shift: int = 0

    @property
    def length(self) -> int:
        """How many bytes it covers."""
        return self.stop - self.start

    @property
    def is_changed(self) -> bool:
        """Whether these bytes differ, or may differ, from the base's."""
        return self.kind is not Kind.BASE and self.kind is not Kind.CLEAN

    def view(self) -> memoryview:
        """Return the bytes of a `DIRTY` or `CLEAN` extent, without a copy."""
        assert self.piece is not None
        return self.piece.view(self.start + self.shift, self.stop + self.shift)

    def clipped(self, start: int, stop: int) -> Extent:
        """Return the part of it that lies between `start` and `stop`."""
        if start <= self.start and self.stop <= stop:
            return self
        return self._replace(start=max(start, self.start), stop=min(stop, self.stop))

    def continues(self, before: Extent) -> bool:
        """Tell whether it and the extent `before` it are one."""
        return (
            self.start == before.stop
            and self.kind is before.kind
            and self.piece is before.piece
            and self.shift == before.shift
        )


class Extents:
    """The gapless row of a file's extents, ascending, neighbours merged.

    Not safe for concurrent use; no method waits. Methods that put other bytes somewhere return the
    extents that were there, so that the caller can give back what they held.
    """

    def __init__(self, size: int = 0) -> None:
        self._extents = [Extent(0, size, Kind.BASE)] if size else []
        self._starts = [0] if size else []
        self._size = size

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self._size

    @property
    def is_all_base(self) -> bool:
        """Whether every byte of a file that is not empty is the base's."""
        return len(self._extents) == 1 and self._extents[0].kind is Kind.BASE

    def __iter__(self) -> Iterator[Extent]:
        """Iterate over all extents in order."""
        return iter(self._extents)

    def copy(self, start: int = 0, stop: int | None = None) -> Extents:
        """Return a map of `start` to `stop` only, which later changes of this one do not reach."""
        other = Extents()
        other._size = self._size if stop is None else min(stop, self._size)
        other._extents = self.slices(start, other._size)
        other._starts = [extent.start for extent in other._extents]
        return other

    def slices(self, start: int, stop: int) -> list[Extent]:
        """Return the extents between `start` and `stop` (clipped to the size), cut at both ends."""
        stop = min(stop, self._size)
        if start >= stop:
            return []
        first = bisect_right(self._starts, start) - 1
        last = bisect_left(self._starts, stop)
        found = self._extents[first:last]
        found[0] = found[0].clipped(start, stop)
        found[-1] = found[-1].clipped(start, stop)
        return found

    def put(
        self, start: int, stop: int, kind: Kind, piece: Piece | None = None, shift: int = 0
    ) -> list[Extent]:
        """Say where bytes `start` to `stop` are now; the file grows as needed, with a hole before.

        Returns what was there before.
        """
        if start >= stop:
            return []
        if start > self._size:
            self._push(Extent(self._size, start, Kind.ZERO))
        new = Extent(start, stop, kind, piece, shift)
        if start == self._size:
            self._push(new)
            return []
        removed = self.slices(start, stop)
        self._splice(start, stop, new)
        return removed

    def truncate(self, size: int) -> list[Extent]:
        """Make the file `size` bytes long; what is new reads as zeros. Returns what was cut off."""
        if size >= self._size:
            if size > self._size:
                self._push(Extent(self._size, size, Kind.ZERO))
            return []
        removed = self.slices(size, self._size)
        keep = bisect_left(self._starts, size)
        del self._extents[keep:], self._starts[keep:]
        if keep:
            self._extents[-1] = self._extents[-1].clipped(0, size)
        self._size = size
        return removed

    def _push(self, new: Extent) -> None:
        """Add an extent at the end."""
        if self._extents and new.continues(self._extents[-1]):
            self._extents[-1] = self._extents[-1]._replace(stop=new.stop)
        else:
            self._extents.append(new)
            self._starts.append(new.start)
        self._size = new.stop

    def _splice(self, start: int, stop: int, new: Extent) -> None:
        """Put `new` over everything between `start` and `stop`, merged with its neighbours."""
        first = bisect_right(self._starts, start) - 1
        last = bisect_left(self._starts, stop)
        row = [new]
        if self._extents[first].start < start:
            row.insert(0, self._extents[first].clipped(0, start))
        elif first:
            first -= 1
            row.insert(0, self._extents[first])
        if self._extents[last - 1].stop > stop:
            row.append(self._extents[last - 1].clipped(stop, self._size))
        elif last < len(self._extents):
            row.append(self._extents[last])
            last += 1
        row = merged(row)
        self._extents[first:last] = row
        self._starts[first:last] = [extent.start for extent in row]
        self._size = max(self._size, stop)


def held(extents: Iterable[Extent]) -> dict[str, int]:
    """Return how many bytes of a file are in memory, and how many in its spill file."""
    kinds = dict.fromkeys(Kind, 0)
    for extent in extents:
        kinds[extent.kind] += extent.length
    memory_bytes = kinds[Kind.DIRTY] + kinds[Kind.CLEAN]
    return {"memory_bytes": memory_bytes, "spilled_bytes": kinds[Kind.SPILLED]}


def merged(row: Iterable[Extent]) -> list[Extent]:
    """Return the extents of `row` (ascending, gapless), neighbours joined where they are one."""
    joined: list[Extent] = []
    for extent in row:
        if joined and extent.continues(joined[-1]):
            joined[-1] = joined[-1]._replace(stop=extent.stop)
        else:
            joined.append(extent)
    return joined


class Ranges:
    """A set of byte offsets, kept as ascending, disjoint ranges."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        """Tell whether there is any offset in it."""
        return bool(self._ranges)

    def add(self, start: int, stop: int) -> None:
        """Add `start` to `stop`."""
        if start >= stop:
            return
        if self._ranges and self._ranges[-1][0] <= start <= self._ranges[-1][1]:
            # A sequential writer only ever grows the last range.
            self._ranges[-1] = (self._ranges[-1][0], max(stop, self._ranges[-1][1]))
            return
        kept = []
        for low, high in self._ranges:
            if high < start or low > stop:
                kept.append((low, high))
            else:
                start, stop = min(low, start), max(high, stop)
        kept.append((start, stop))
        self._ranges = sorted(kept)

    def overlaps(self, start: int, stop: int) -> bool:
        """Tell whether any offset of `start` to `stop` is in it."""
        return start < stop and any(low < stop and start < high for low, high in self._ranges)

    def gaps(self, stop: int) -> list[tuple[int, int]]:
        """Return the ranges between 0 and `stop` that are not in it, ascending."""
        found = []
        at = 0
        for low, high in self._ranges:
            if low >= stop:
                break
            if low > at:
                found.append((at, low))
            at = max(at, high)
        if at < stop:
            found.append((at, stop))
        return found
