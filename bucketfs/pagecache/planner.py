"""How the bytes of a file get into the bucket, where its parts begin, and what that costs. Pure.

A plan is the cheapest of what is possible: one PUT, one native append, all parts sent, or only the
parts around what changed, the rest copied on the server. A file that still streams (its final size
unknown) is sent on a fixed grid of parts, and so is one that is sent whole: streamed parts stay
good. An edit has parts of its own, as small as the store takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from bucketfs.errors import FileTooLarge, InvalidOperation
from bucketfs.pagecache.layout import Layout
from bucketfs.pagecache.plans import (
    REQUEST_BYTES,
    Append,
    CopyPart,
    Cost,
    Multipart,
    Put,
    Spans,
    UploadPart,
)
from bucketfs.storage.interface import Capabilities

LARGEST_BYTES = 5 << 40
"""The file size for which first parts are made larger than wanted, and no further: COS and BOS take
48 TiB, which only 10,000 parts of 5 GiB reach, and a small file would be one of these."""

STEPS = 10
"""Part sizes double so many times less one over the part numbers that a store allows."""


class Grid:
    """Where the parts of a multipart upload begin: part numbers from 1, no gaps, growing sizes.

    The first tenth of the part numbers has the plain part size, each further tenth twice the size
    of the one before: 10,000 parts of 8 MiB growing to 4 GiB hold 8 TiB, and files of up to 8 GiB
    never meet a larger part. `limit_bytes` is the largest file that the store can hold so.
    """

    def __init__(self, capabilities: Capabilities, part_size: int) -> None:
        self._max_part = max(1, capabilities.max_part)
        self._block = max(1, capabilities.max_parts // STEPS)
        unit = min(max(part_size, capabilities.min_part, 1), self._max_part)
        while True:
            self._blocks = self._laid_out(unit, capabilities.max_parts)
            total = self._blocks[-1][3]
            if total >= min(capabilities.max_object, LARGEST_BYTES) or unit == self._max_part:
                break
            unit = min(unit * 2, self._max_part)
        self.first_bytes = unit
        self._total = total
        self.limit_bytes = min(capabilities.max_object, max(total, capabilities.max_write))

    def _laid_out(self, unit: int, max_parts: int) -> list[tuple[int, int, int, int]]:
        """Return blocks of equal parts: (first number, part size, start, stop)."""
        blocks: list[tuple[int, int, int, int]] = []
        number, start, size = 1, 0, unit
        while number <= max_parts:
            count = min(self._block, max_parts - number + 1)
            if len(blocks) == STEPS - 1:
                count = max_parts - number + 1
            stop = start + count * size
            blocks.append((number, size, start, stop))
            number, start, size = number + count, stop, min(size * 2, self._max_part)
        return blocks

    def check_size(self, size: int) -> None:
        """Refuse what no file can be. Raises: FileTooLarge, InvalidOperation."""
        if size > self.limit_bytes:
            raise FileTooLarge(f"a file of {size} bytes; the store holds up to {self.limit_bytes}")
        if size < 0:
            raise InvalidOperation(f"a file of {size} bytes")

    def is_one_put(self, size: int, max_write: int) -> bool:
        """Tell whether a file of `size` bytes goes in one request, or can go in no other way."""
        return size <= min(self.first_bytes, max_write) or not self.holds(size)

    def holds(self, size: int) -> bool:
        """Tell whether its parts are enough for a file of `size` bytes."""
        return size <= self._total

    def span(self, number: int) -> tuple[int, int]:
        """Return the offsets at which part `number` begins and ends."""
        for first, size, start, stop in self._blocks:
            begin = start + (number - first) * size
            if begin < stop:
                return begin, begin + size
        raise ValueError(f"no part {number} in this grid")

    def number_at(self, offset: int) -> int:
        """Return the number of the part that holds the byte at `offset`."""
        for first, size, start, stop in self._blocks:
            if offset < stop:
                return first + (offset - start) // size
        raise ValueError(f"no part at {offset} in this grid")

    def count(self, size: int) -> int:
        """Return how many parts a file of `size` bytes has."""
        return self.number_at(size - 1) if size else 0


def plan(
    size: int,
    unchanged: Iterable[tuple[int, int]],
    capabilities: Capabilities,
    grid: Grid,
    *,
    remote: Iterable[tuple[int, int]] | None = None,
    append_at: int | None = None,
    can_copy: bool = True,
) -> Put | Append | Multipart:
    """Return the cheapest way to save a file of `size` bytes, by `Cost.price`.

    `unchanged` are the ranges (ascending, disjoint) that the base holds at the same offsets, and
    `remote` those of them that are nowhere else (None: all). `append_at`: the object may grow
    natively from there on; nothing before it changed. `can_copy`: the base may be copied from.
    It never costs more than to send the file whole, and no changed byte lies in a copied part.
    """
    same = Spans(unchanged, size)
    away = same if remote is None else Spans(remote, size)
    request_bytes = worth_bytes(grid)
    ways: list[Put | Append | Multipart] = [_whole(size, away, capabilities, grid)]
    if (
        append_at is not None
        and capabilities.append
        and append_at < size <= capabilities.max_append
    ):
        ways.insert(0, Append(append_at, size, Cost(size - append_at)))
    if can_copy and capabilities.part_copy and same and grid.holds(size):
        parts = Layout(size, same, away, capabilities, grid.first_bytes, request_bytes).parts()
        if parts:
            ways.append(Multipart(parts, _cost(parts, away)))
    return min(ways, key=lambda way: way.cost.price(request_bytes))


def worth_bytes(grid: Grid) -> int:
    """Return what one more request is worth where parts are as large as this grid's."""
    return max(1, min(REQUEST_BYTES, grid.first_bytes // 8))


def _whole(size: int, away: Spans, capabilities: Capabilities, grid: Grid) -> Put | Multipart:
    """Send everything: one PUT, or all parts of the grid."""
    if grid.is_one_put(size, capabilities.max_write):
        down = away.overlap(0, size)
        return Put(size, Cost(size, 0, down, 1 + (down > 0)))
    starts = [grid.span(number)[0] for number in range(1, grid.count(size) + 1)]
    spans = enumerate(pairwise([*starts, size]), 1)
    parts = [UploadPart(number, start, stop) for number, (start, stop) in spans]
    return Multipart(parts, _cost(parts, away))


def _cost(parts: Sequence[UploadPart | CopyPart], away: Spans) -> Cost:
    up = copied = down = fetches = 0
    for part in parts:
        if isinstance(part, CopyPart):
            copied += part.stop - part.start
            continue
        up += part.stop - part.start
        fetched = away.overlap(part.start, part.stop)
        down += fetched
        fetches += fetched > 0
    return Cost(up, copied, down, len(parts) + 2 + fetches)
