"""How many requests at once help: more, as long as each takes no longer for it.

A cloud answers 64 requests in the time of one; a server that has enough to do with 16 answers all
of them later. TCP Vegas finds its window in the same way: by the round trip time, before anything
is refused.
"""

from __future__ import annotations

from types import TracebackType

import trio

_SMOOTHING = 1 / 16
_STEP = 0.5
"""What one answer adds or takes."""

_FIRST_STEP = 1.0
"""What one adds while more have always helped: twice as many each round trip, as TCP begins."""

_IDLE = 1.5
"""Round trips may be so many times the shortest while more are tried."""

_BUSY = 2.5
"""Round trips so many times the shortest: fewer at once take as long for all."""

_FORGETTING = 1.0002
"""How the shortest is forgotten, in case the way has become longer."""


class Pace:
    """Places for requests that nobody waits for yet: from `least` to `most` of them at a time.

    `async with pace:` around each request.
    """

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._width = float(least)
        self._places = trio.CapacityLimiter(least)
        self._step = _FIRST_STEP
        self._shortest_s = float("inf")
        self._usual_s: float | None = None
        self._begun_s: dict[trio.lowlevel.Task, float] = {}

    @property
    def width(self) -> int:
        """How many requests may be under way at present."""
        return int(self._width)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        self._begun_s[trio.lowlevel.current_task()] = trio.current_time()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        took_s = trio.current_time() - self._begun_s.pop(trio.lowlevel.current_task())
        self._places.release()
        if exc is None:
            self._learn(took_s)

    def _learn(self, took_s: float) -> None:
        self._shortest_s = min(self._shortest_s * _FORGETTING, took_s)
        usual_s = took_s if self._usual_s is None else self._usual_s
        self._usual_s = usual_s = usual_s + (took_s - usual_s) * _SMOOTHING
        if usual_s <= self._shortest_s * _IDLE:
            self._width = min(self._width + self._step, self._most)
        elif usual_s >= self._shortest_s * _BUSY:
            self._step = _STEP
            self._width = max(self._width - _STEP, self._least)
        if self._places.total_tokens != int(self._width):
            self._places.total_tokens = int(self._width)
