"""Buckets of any size that are computed: the key of a number, in the order of keys; pure.

Nothing is held: a listing looks its keys up by halving, so that a page costs its own entries and
twenty steps for each directory that it passes over.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

DEPTH = 6
LEAST_KEYS = 1000
ABOVE = "\U0010ffff"
"""Above every character of a computed key: a prefix + this ends its range."""


@dataclass(frozen=True)
class Page:
    """A page: objects by number and key, common prefixes, and where it goes on (or None)."""

    objects: list[tuple[int, str]]
    prefixes: list[str]
    next_marker: str | None


def widths(count: int) -> tuple[int, ...]:
    """Return how many names each level of a tree of DEPTH levels has, for `count` files in all.

    `count` is a power of ten, at least LEAST_KEYS: 10**6 is ten everywhere, smaller ones are
    thinner at the top. Raises: ValueError.
    """
    spread = {3: (2, 2, 2, 5, 5, 5), 4: (2, 5, 2, 5, 10, 10), 5: (2, 5, 10, 10, 10, 10)}
    power = len(str(count)) - 1
    if count != 10**power or power < 3:
        raise ValueError(f"a power of ten from {LEAST_KEYS} on, not {count}")
    return spread.get(power) or (10,) * (DEPTH - 1) + (10 ** (power - DEPTH + 1),)


class KeySpace(Sequence[str]):
    """The keys of one bucket, ascending: so many files in `flat/`, as many below `tree/`."""

    def __init__(self, files: int) -> None:
        self.files = files
        self._widths = widths(files)
        self._digits = len(str(files - 1))
        width = self._widths[-1]
        self._names = [f"f{digit:0{len(str(width - 1))}}.dat" for digit in range(width)]

    def __len__(self) -> int:
        return 2 * self.files

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[str]: ...

    def __getitem__(self, number: int | slice) -> str | Sequence[str]:
        """Return the key of `number`."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number < self.files:
            return f"flat/f{number:0{self._digits}}.dat"
        number -= self.files
        number, digit = divmod(number, self._widths[-1])
        path = self._names[digit]
        for width in reversed(self._widths[:-1]):
            number, digit = divmod(number, width)
            path = f"d{digit}/{path}"
        return f"tree/{path}"

    def find(self, key: str) -> int | None:
        """Return the number of `key`, None where there is no such object."""
        place = bisect_left(self, key)
        return place if place < len(self) and self[place] == key else None

    def page(self, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """Return what a listing has after the key or common prefix `after`."""
        place = max(bisect_left(self, prefix), bisect_right(self, after) if after else 0)
        if delimiter and after.endswith(delimiter) and len(after) > len(prefix):
            place = bisect_left(self, after + ABOVE)
        end = bisect_left(self, prefix + ABOVE)
        objects: list[tuple[int, str]] = []
        prefixes: list[str] = []
        last = ""
        while place < end:
            room = limit - len(objects) - len(prefixes)
            if room <= 0:
                return Page(objects, prefixes, last)
            last = self[place]
            cut = last.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                last = last[: cut + 1]
                prefixes.append(last)
                place = bisect_left(self, last + ABOVE)
            else:
                run = self._run(place, min(place + room, end))
                objects += run
                place, last = run[-1][0] + 1, run[-1][1]
        return Page(objects, prefixes, None)

    def _run(self, first: int, end: int) -> list[tuple[int, str]]:
        """Return the files from `first` on that are in its directory, up to `end`."""
        folder = self[first].rpartition("/")[0]
        if first < self.files:
            digits = self._digits
            return [
                (number, f"{folder}/f{number:0{digits}}.dat")
                for number in range(first, min(end, self.files))
            ]
        width = self._widths[-1]
        digit = (first - self.files) % width
        names = self._names[digit : digit + end - first]
        return [(first + place, f"{folder}/{name}") for place, name in enumerate(names)]
