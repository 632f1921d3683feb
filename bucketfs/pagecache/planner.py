"""How the bytes of a file get into the bucket, and where its parts begin. Pure.

A file of up to one part is one PUT. A larger one is a multipart upload on a fixed grid of parts:
the same grid while a file still streams (its final size unknown) and when all of it is planned at
once, so that streamed parts stay good. Parts of the grid that are wholly unchanged are copied on
the server where it can do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bucketfs.storage.interface import Capabilities

COPY_BYTES = 512 << 20
"""Neighbouring unchanged parts are copied together up to this size: S3 copies about 100-300 MB/s
per request, so a larger one would take seconds while others could run beside it."""

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

    def is_one_put(self, size: int, max_write: int) -> bool:
        """Tell whether a file of `size` bytes goes in one request, or can go in no other way."""
        return size <= min(self.first_bytes, max_write) or size > self._total

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


@dataclass(frozen=True, slots=True)
class UploadPart:
    """Bytes `start` to `stop` are sent as part `number`."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class CopyPart:
    """Bytes `start` to `stop` of the base become part `number`, on the server."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Put:
    """The whole file in one request."""

    size: int


@dataclass(frozen=True, slots=True)
class Multipart:
    """The parts of one multipart upload, ascending and gapless."""

    parts: Sequence[UploadPart | CopyPart]


def plan(
    size: int,
    unchanged: Iterable[tuple[int, int]],
    capabilities: Capabilities,
    grid: Grid,
) -> Put | Multipart:
    """Return how to save a file of `size` bytes.

    `unchanged` are the ranges (ascending, disjoint) that the base holds at the same offsets; pass
    none where the base cannot be copied from. The sent bytes never exceed `size`, and a part is
    copied only whole: no byte of a copied part is changed.
    """
    if grid.is_one_put(size, capabilities.max_write):
        return Put(size)
    cells = _cells(size, grid)
    copyable = _covered(cells, unchanged) if capabilities.part_copy else [False] * len(cells)
    largest = min(capabilities.max_part, max(COPY_BYTES, grid.first_bytes))
    parts: list[UploadPart | CopyPart] = []
    for (start, stop), is_copied in zip(cells, copyable, strict=True):
        last = parts[-1] if parts else None
        if is_copied and isinstance(last, CopyPart) and stop - last.start <= largest:
            parts[-1] = CopyPart(last.number, last.start, stop)
            continue
        kind = CopyPart if is_copied else UploadPart
        parts.append(kind(len(parts) + 1, start, stop))
    return Multipart(parts)


def _cells(size: int, grid: Grid) -> list[tuple[int, int]]:
    """Return the grid's spans that a file of `size` bytes fills."""
    starts = [grid.span(number)[0] for number in range(1, grid.count(size) + 1)]
    return list(pairwise([*starts, size]))


def _covered(cells: Sequence[tuple[int, int]], ranges: Iterable[tuple[int, int]]) -> list[bool]:
    """Tell for each cell whether one of the ranges (merged where they touch) holds all of it."""
    joined: list[tuple[int, int]] = []
    for start, stop in ranges:
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    covered = []
    at = 0
    for start, stop in cells:
        while at < len(joined) and joined[at][1] < stop:
            at += 1
        covered.append(at < len(joined) and joined[at][0] <= start and stop <= joined[at][1])
    return covered
