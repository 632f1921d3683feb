"""Throttled: so many requests at once and no more, and fewer while the store asks for fewer.

Additive increase, multiplicative decrease, as TCP shares a line: half as many after the store said
"slow down", one more after as many successes as there are places.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from bucketfs.errors import Transient
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.interface import ObjectStore

T = TypeVar("T")

LOOKS = 16
"""HEADs at a time for each other request: a look costs a round trip and little else."""

MOST_LOOKS = 256
"""Each has a connection, and a process of an ordinary user may have 1024 files open."""

PAUSE_S = 1.0
"""Refusals within this time of a decrease are of requests that were sent before it."""


def looks_at_once(concurrency: int) -> int:
    """Return how many looks at objects there may be at a time, for so many other requests."""
    return max(concurrency, min(LOOKS * concurrency, MOST_LOOKS))


class Lane:
    """Places for requests, first come first served; from 1 to `most` of them at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._places = trio.CapacityLimiter(most)
        self._decreased_s = float("-inf")

    @property
    def width(self) -> int:
        """How many requests may be in flight at present."""
        return int(self._width)

    async def carry(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a place and make the call in it."""
        borrower = object()  # not the task: a call may be made inside another one
        try:
            # No checkpoint where there is a place: the request has enough of its own.
            self._places.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            await self._places.acquire_on_behalf_of(borrower)
        try:
            result = await call()
        except Transient as exc:
            if exc.throttled:
                self._decrease()
            raise
        else:
            self._set(min(float(self._most), self._width + 1 / self._width))
            return result
        finally:
            self._places.release_on_behalf_of(borrower)

    def _decrease(self) -> None:
        now_s = trio.current_time()
        if now_s - self._decreased_s >= PAUSE_S:
            self._decreased_s = now_s
            self._set(max(1.0, self._width / 2))

    def _set(self, width: float) -> None:
        self._width = width
        if self._places.total_tokens != int(width):
            self._places.total_tokens = int(width)


class Throttled(DecoratedStore):
    """An `ObjectStore` with at most `concurrency` reads and as many other requests in flight.

    Lanes of their own: a read may wait for room in its sink, and the writes that make room must not
    wait behind it. Looks at objects, which carry nothing, may be more (`looks_at_once`).
    """

    def __init__(self, inner: ObjectStore, concurrency: int) -> None:
        super().__init__(inner)
        self.reads = Lane(concurrency)
        self.looks = Lane(looks_at_once(concurrency))
        self.others = Lane(concurrency)
        self._lanes = {"read_range": self.reads, "stat": self.looks}

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call when its lane has a place."""
        return await self._lanes.get(operation, self.others).carry(call)
