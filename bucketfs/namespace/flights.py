"""Requests that several tasks wait for: asked once, answered to all.

A request runs in a task of its own, so that a waiter that is cancelled takes nothing from the
others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

import trio

from bucketfs.counting import causes
from bucketfs.errors import BucketfsError, Transient

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Flight:
    __slots__ = ("error", "has_landed", "landing", "value")

    def __init__(self) -> None:
        self.landing = trio.Event()
        self.has_landed = False
        self.value: Any = None
        self.error: Exception | None = None


class Flights:
    """Requests under way, by what they ask. They run in `nursery` and end with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[Hashable, _Flight] = {}

    def is_under_way(self, topic: Hashable) -> bool:
        """Whether a request of that topic is under way."""
        return topic in self._flights

    async def join(self, topic: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of the request under way on `topic`; without one, begin it by `ask`.

        Topics are equal only where the answers' types are. Cancelling a waiter leaves the request.
        Raises: what `ask` raises; Transient when the mount is being closed; CallerRefused.
        """
        flight = self._flights.get(topic)
        if flight is None:
            # Here, not in the flight: others may join it, who are not refused.
            causes.check_may_ask()
            flight = self._begin(topic, ask)
        causes.note_wait()
        await flight.landing.wait()
        if flight.error is not None:
            raise flight.error
        if not flight.has_landed:
            raise Transient("the request was given up: the mount is being closed", sent=False)
        return cast(T, flight.value)

    def launch(self, topic: Hashable, ask: Callable[[], Awaitable[object]]) -> None:
        """Begin a request that nobody waits for yet, if none is under way on `topic`."""
        if topic not in self._flights and causes.may_ask():
            self._begin(topic, ask)

    def _begin(self, topic: Hashable, ask: Callable[[], Awaitable[object]]) -> _Flight:
        flight = self._flights[topic] = _Flight()
        self._nursery.start_soon(self._fly, topic, flight, ask)
        return flight

    async def _fly(
        self, topic: Hashable, flight: _Flight, ask: Callable[[], Awaitable[object]]
    ) -> None:
        try:
            flight.value = await ask()
            flight.has_landed = True
        except Exception as error:  # every waiter gets it
            flight.error = error
            if not isinstance(error, BucketfsError):
                _log.exception("a shared request failed on a bug: %r", topic)
            elif not flight.landing.statistics().tasks_waiting:
                _log.debug("a request that nobody waits for failed: %r: %s", topic, error)
        finally:
            # ATOMIC: whoever joins from here on begins a new request.
            del self._flights[topic]
            flight.landing.set()
