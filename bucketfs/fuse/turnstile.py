"""Who reads the kernel's next request: pyfuse3's waiting, at a fraction of its cost.

pyfuse3 lets its tasks take turns behind a `trio.Lock`, and each waits for its turn, then for the
descriptor, even where the next request is there already: several steps of trio's loop for each
request of the kernel. It looks its primitives up in a namespace that may be replaced (its own
asyncio mode does that); here is one that is trio's, but for these two.
"""

from __future__ import annotations

import select
from collections import deque
from types import SimpleNamespace

import pyfuse3
import trio

_MOST_IN_A_ROW = 16
"""Requests that are taken without letting other tasks run in between."""


class Turn:
    """A lock that costs nothing where it is free; who comes by may take it before who waits."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        while self._is_taken:
            task = trio.lowlevel.current_task()
            self._waiting.append(task)

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self._is_taken = False
        if self._waiting:
            # One that is cancelled at this moment takes its turn all the same, and passes it on.
            trio.lowlevel.reschedule(self._waiting.popleft())


class Readiness:
    """Waits for a descriptor; not at all, so many times in a row, where it is readable already."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._known: int | None = None
        self._in_a_row = 0

    async def wait(self, descriptor: int) -> None:
        """Return when `descriptor` is readable. Raises: trio.ClosedResourceError."""
        if self._known != descriptor:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._known = descriptor
        if self._in_a_row < _MOST_IN_A_ROW and self._poll.poll(0):
            self._in_a_row += 1
            return
        self._in_a_row = 0
        await trio.lowlevel.wait_readable(descriptor)


def install() -> None:
    """Have pyfuse3 wait in this way, from the next `pyfuse3.main` on."""
    names = {name: getattr(trio, name) for name in ("open_nursery", "ClosedResourceError")}
    kept = ("current_trio_token", "notify_closing", "current_task")
    lowlevel = {name: getattr(trio.lowlevel, name) for name in kept}
    vars(pyfuse3)["trio"] = SimpleNamespace(
        **names,
        Lock=Turn,
        lowlevel=SimpleNamespace(**lowlevel, wait_readable=Readiness().wait),
    )
