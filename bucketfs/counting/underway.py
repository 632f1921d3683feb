"""Calls of the store that are under way: what each is about, since when, and for whom.

A call is what the layers above asked for; it may be several requests, one after the other: attempts
with pauses between. In trio's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause


class StoreCall:
    """One call. `attempt` counts from 1; `again_s`: when the next begins (monotonic clock)."""

    __slots__ = ("again_s", "attempt", "began_s", "cause", "key", "operation")

    def __init__(self, operation: str, key: str | None) -> None:
        self.operation = operation
        self.key = key
        self.cause: Cause = causes.current()
        self.began_s = time.monotonic()
        self.attempt = 1
        self.again_s: float | None = None


_current: ContextVar[StoreCall | None] = ContextVar("store_call", default=None)


class Underway:
    """All calls of one mount that are under way, in the order of their beginnings."""

    def __init__(self) -> None:
        self._calls: dict[StoreCall, None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[StoreCall]:
        return iter(list(self._calls))

    @contextmanager
    def calling(self, operation: str, key: str | None) -> Iterator[None]:
        """Note a call, which the block makes."""
        call = StoreCall(operation, key)
        self._calls[call] = None
        token = _current.set(call)
        try:
            yield
        finally:
            _current.reset(token)
            del self._calls[call]


@contextmanager
def pausing(pause_s: float) -> Iterator[None]:
    """Note that the call that goes on now waits in the block for its next attempt."""
    call = _current.get()
    if call is None:
        yield
        return
    call.again_s = time.monotonic() + pause_s
    try:
        yield
    finally:
        call.again_s = None
        call.attempt += 1


def about(calls: Iterable[StoreCall], cause: Cause, key: str | None) -> list[StoreCall]:
    """Return the calls that something waits for: its own, and those of others for its key.

    Many may wait for one call (a listing, a read ahead), which has the cause of the first of them.
    The key of the root is "".
    """
    return [call for call in calls if call.cause is cause or (key is not None and call.key == key)]
