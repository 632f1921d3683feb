"""A histogram of durations: fixed in size, logarithmic, good for quantiles. Pure.

Eight buckets to a doubling from 1 microsecond to about 4.8 hours: a quantile is at most 4.5 %
from the exact one (the value of nearest rank), the maximum is exact.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

PER_DOUBLING = 8
LEAST_S = 1e-6
_DOUBLINGS = 34
BOUNDS_S = tuple(LEAST_S * 2 ** (n / PER_DOUBLING) for n in range(_DOUBLINGS * PER_DOUBLING + 1))
MOST_RATIO = 2 ** (1 / (2 * PER_DOUBLING))
"""How many times a quantile may be larger or smaller than the exact one, from LEAST_S on."""

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Histogram:
    """Durations in seconds."""

    __slots__ = ("_counts", "longest_s", "total_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.longest_s = 0.0
        self.total_s = 0.0

    @classmethod
    def between(cls, before: Mapping[str, Any], after: Mapping[str, Any]) -> Histogram:
        """Return what came between two `details` of one histogram; `before` {}: since its begin.

        The longest of them is exact where it is the longest of all; else at most 9 % too long.
        """
        found = cls()
        former = before.get("counts", {})
        for index, count in after["counts"].items():
            found._counts[int(index)] = count - former.get(index, 0)
        found.total_s = after["total"] - before.get("total", 0.0)
        found.longest_s = after["max"]
        if before and before["max"] == after["max"]:
            last = max((n for n, count in enumerate(found._counts) if count), default=None)
            bound_s = 0.0 if last is None else (*BOUNDS_S, after["max"])[last]
            found.longest_s = min(after["max"], bound_s)
        return found

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return all of them as one."""
        found = cls()
        for each in histograms:
            found._counts = [a + b for a, b in zip(found._counts, each._counts, strict=True)]
            found.total_s += each.total_s
            found.longest_s = max(found.longest_s, each.longest_s)
        return found

    def details(self) -> dict[str, Any]:
        """Return all of it: how many in each bucket that is not empty (by its number as text)."""
        counts = {str(number): count for number, count in enumerate(self._counts) if count}
        return {"counts": counts, "total": self.total_s, "max": self.longest_s}

    def at_most(self, seconds: float) -> int:
        """Return how many are not longer, within the width of a bucket."""
        return sum(self._counts[: bisect_right(BOUNDS_S, seconds)])

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._counts)

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_right(BOUNDS_S, seconds)] += 1
        self.total_s += seconds
        if seconds > self.longest_s:
            self.longest_s = seconds

    def quantile(self, share: float) -> float:
        """Return what `share` (0 to 1) of the durations do not exceed; 0.0 where there are none.

        What is shorter than LEAST_S is told as LEAST_S.
        """
        running = list(accumulate(self._counts))
        if not running[-1]:
            return 0.0
        index = bisect_left(running, max(1, math.ceil(share * running[-1])))
        if index == len(BOUNDS_S):
            return self.longest_s
        middle_s = math.sqrt(BOUNDS_S[index - 1] * BOUNDS_S[index]) if index else LEAST_S
        return min(self.longest_s, middle_s)

    def report(self) -> dict[str, float]:
        """Return the quantiles that people ask for, the maximum and the sum, in seconds."""
        found = {name: self.quantile(share) for name, share in QUANTILES.items()}
        found["max"] = self.longest_s
        found["total"] = self.total_s
        return {name: round(value, 7) for name, value in found.items()}
