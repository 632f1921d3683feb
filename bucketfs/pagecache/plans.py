"""Plans: how a file may get into the bucket, and what that costs. Pure values.

`planner` makes them, `sending` carries them out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

REQUEST_BYTES = 1 << 20
"""What one more request is worth at most: 20 ms are a usual answer, and at 50 MB/s carry so much.
Where parts are made small it is an eighth of one."""

COPIED_PER_SENT = 16
"""So many bytes copied on the server are worth one that passes the wire: they cost a person
nothing, and the server only time, in which other parts go on."""


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
class Cost:
    """What a plan costs if nothing has to be tried again.

    `bytes_down` are those of the base that are sent again and are nowhere here. Of a multipart
    upload `requests` has its begin, its parts and its commit; fetches count as one a part, though a
    long one may take more.
    """

    bytes_up: int = 0
    bytes_copied: int = 0
    bytes_down: int = 0
    requests: int = 1

    def price(self, request_bytes: int = REQUEST_BYTES) -> float:
        """Return the one number by which plans are compared: bytes on the wire.

        A request counts as `request_bytes`, copied bytes as a sixteenth of sent ones.
        """
        wire = self.bytes_up + self.bytes_down + self.requests * request_bytes
        return wire + self.bytes_copied / COPIED_PER_SENT


_NO_COST = Cost()


@dataclass(frozen=True, slots=True)
class Put:
    """The whole file in one request."""

    size: int
    cost: Cost = field(default=_NO_COST, compare=False)


@dataclass(frozen=True, slots=True)
class Append:
    """Bytes from `position` to `size` are added to an object that is `position` long."""

    position: int
    size: int
    cost: Cost = field(default=_NO_COST, compare=False)


@dataclass(frozen=True, slots=True)
class Multipart:
    """The parts of one multipart upload, ascending and gapless."""

    parts: Sequence[UploadPart | CopyPart]
    cost: Cost = field(default=_NO_COST, compare=False)


class Spans:
    """Ascending ranges of offsets below `size`, joined where they touch."""

    def __init__(self, ranges: Iterable[tuple[int, int]], size: int) -> None:
        joined: list[tuple[int, int]] = []
        for start, end in ranges:
            stop = min(end, size)
            if start >= stop:
                continue
            if joined and joined[-1][1] >= start:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((start, stop))
        self._size = size
        self._ranges = joined
        self._starts = [start for start, _ in joined]
        self._before = [0, *accumulate(stop - start for start, stop in joined)]

    def __bool__(self) -> bool:
        """Tell whether there is any offset in it."""
        return bool(self._ranges)

    def overlap(self, start: int, stop: int) -> int:
        """Return how many offsets of `start` to `stop` are in it."""
        return self._below(stop) - self._below(start)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges that are not in it, ascending."""
        at = 0
        for start, stop in self._ranges:
            if at < start:
                yield at, start
            at = stop
        if at < self._size:
            yield at, self._size

    def _below(self, offset: int) -> int:
        index = bisect_right(self._starts, offset)
        if not index:
            return 0
        start, stop = self._ranges[index - 1]
        return self._before[index - 1] + min(offset, stop) - start
