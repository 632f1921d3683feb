"""Workers: threads for blocking calls, at half of the cost of `trio.to_thread`.

A small request costs a few hundred microseconds of CPU in all, of which a hop to a thread of trio's
and back is 75: it counts tokens, looks for the run it belongs to and names threads. Here a hop is
two queue operations and one wake-up, about 40 (measured on the machine of docs/performance.md).
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")


class _Job:
    """One call, and the task that waits for it."""

    __slots__ = ("_claims", "arguments", "call", "context", "task")

    def __init__(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.call = call
        self.arguments = arguments
        self.context = contextvars.copy_context()
        self.task = trio.lowlevel.current_task()
        self._claims = [None]

    def claim(self) -> bool:
        """Tell whether the caller is the first: one thread makes the call, or none does."""
        try:
            self._claims.pop()  # ATOMIC: in whichever thread
        except IndexError:
            return False
        return True


class Workers:
    """At most `most` threads, which carry calls out in the order in which they were asked for.

    Threads are started when they are needed and live until `close`. Used in one trio thread.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call in a thread and return what it returns, or raise what it raises.

        It sees the context variables of its caller.
        Cancelled before its turn came, it is not made; afterwards it is waited for.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(call, arguments)
        # ATOMIC: up to the wait.
        self._unfinished += 1
        if self._threads < min(self._unfinished, self._most):
            self._threads += 1
            token = trio.lowlevel.current_trio_token()
            name = f"{self._name} {self._threads}"
            threading.Thread(target=self._work, args=(token,), name=name, daemon=True).start()
        self._jobs.put(job)

        def abort(_: object) -> trio.lowlevel.Abort:
            is_left = job.claim()
            return trio.lowlevel.Abort.SUCCEEDED if is_left else trio.lowlevel.Abort.FAILED

        try:
            result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            self._unfinished -= 1
        return result

    def close(self) -> None:
        """Let the threads end once they have done what was asked of them."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.claim():
                continue
            result = outcome.capture(job.context.run, job.call, *job.arguments)
            try:
                token.run_sync_soon(trio.lowlevel.reschedule, job.task, result)
            except trio.RunFinishedError:
                return
            del job, result  # they may hold large buffers, and tracebacks
