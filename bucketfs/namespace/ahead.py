"""Walks through a directory in its order, and how far ahead of one to prove entries; pure.

`ls -l`, `find`, `rsync`, `cp -r` look up the entries of a directory one after the other in the
order of the listing. Each look-up of an unproved entry costs a request; once a walk is recognised
the next ones are proved in parallel while the program is busy with this one.
"""

from __future__ import annotations

_STREAK = 3
"""Look-ups in a row that make a walk."""

_TOLERANCE = 16
"""Positions that a look-up may be off the front of the walk: so many threads walk together."""

_FIRST_WINDOW = 8

_GROWTH = 4

_OPENS = 2
"""Files opened during a walk that make it one of readers."""

_FETCHES_IN_VAIN = 4
"""Files fetched by look-ups and not opened, after which look-ups fetch no more bytes."""


class Walk:
    """Look-ups in one directory as positions in its listing.

    The window grows each time half of it is used, so that a walk that ends soon costs little and a
    long one becomes fully parallel.
    """

    __slots__ = ("_end", "_fetched", "_front", "_opens", "_streak", "_window")

    def __init__(self) -> None:
        self._opens = 0
        self._fetched = 0
        self._front = -1
        self._streak = 0
        self._end = 0
        self._window = _FIRST_WINDOW

    @property
    def reads_files(self) -> bool:
        """Whether the program opens what it looks up, so that small files are worth fetching."""
        return self._opens >= _OPENS

    def opened(self) -> None:
        """Note that a file of this directory was opened."""
        self._opens += 1
        self._fetched = 0

    @property
    def may_fetch(self) -> bool:
        """Whether a look-up may fetch the bytes of a small file along with its attributes."""
        return self._fetched < _FETCHES_IN_VAIN

    def fetched(self) -> None:
        """Note that a look-up fetched bytes, which may be in vain."""
        self._fetched += 1

    def advance(self, position: int, max_window: int) -> range:
        """Note a look-up at `position`; return the positions to prove now, each once a walk."""
        step = position - self._front
        if self._front < 0 or abs(step) > _TOLERANCE:
            self._opens = 0
            self._restart(position)
            return range(0)
        if step > 0:
            self._streak += 1
            self._front = position
        if self._streak < _STREAK or self._end - 1 - self._front > self._window // 2:
            return range(0)
        if self._end > 0:
            self._window = min(self._window * _GROWTH, max_window)
        start = max(self._end, self._front + 1)
        self._end = self._front + 1 + self._window
        return range(start, self._end)

    def _restart(self, position: int) -> None:
        self._front = position
        self._streak = 1
        self._end = 0
        self._window = _FIRST_WINDOW
