"""The memory budget of a mount: one number that reads, writes and kept pages share.

Readers (in worker threads and in trio), dirty pages and clean kept pages all count here, so that
many open files mean back-pressure and never more memory. Bytes are only counted, not allocated.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import trio

Reclaimer = Callable[[int], int]
"""Frees up to that many clean bytes (by `Budget.give`) and returns how many; never blocks."""

ASK_AGAIN_S = 1.0
"""How often a waiting task asks the reclaimers again: what is in use now may be idle by then."""

RECLAIM_PAUSE_S = 0.02
"""Least time between two reclaims that threads ask for: each goes through every open file."""


class _Waiter:
    """One task that waits in `Budget.take`."""

    __slots__ = ("count", "granted", "is_granted")

    def __init__(self, count: int) -> None:
        self.count = count
        self.is_granted = False
        self.granted = trio.Event()


class Budget:
    """Count bytes in use against a limit; any thread may take and give.

    Waiting tasks are served in the order in which they came, and before any `try_take`. A request
    larger than the whole limit is granted when nothing else is in use: late, but never never.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"a budget needs a positive limit, not {limit_bytes}")
        self.limit_bytes = limit_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()
        self._waiters: deque[_Waiter] = deque()
        self._reclaimers: list[Reclaimer] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._reclaim_after_s = 0.0

    @property
    def used_bytes(self) -> int:
        """How many bytes are taken; above the limit only by `overdraw` and oversize requests."""
        return self._used_bytes

    def try_take(self, count: int) -> bool:
        """Take `count` bytes if they are free and nobody waits; any thread, never blocks."""
        with self._lock:
            if self._waiters or not self._fits(count):
                return False
            self._used_bytes += count
            return True

    def overdraw(self, count: int) -> None:
        """Take `count` bytes even where the limit is passed; any thread.

        For the small minimum without which somebody could never go on: a reader's one request.
        """
        with self._lock:
            self._used_bytes += count

    def give(self, count: int) -> None:
        """Give `count` bytes back and serve those who wait; any thread, never blocks."""
        with self._lock:
            if count > self._used_bytes:
                raise ValueError(f"{count} bytes given back, but only {self._used_bytes} taken")
            self._used_bytes -= count
            served = self._serve()
        self._wake(served)

    async def take(self, count: int) -> None:
        """Take `count` bytes: free ones, else by the reclaimers, else wait until some are given.

        Not a checkpoint where they are there at once. Cancelled, it has taken nothing.
        """
        if self.try_take(count):
            return
        # ATOMIC: from asking the reclaimers to standing in the queue nothing else runs in trio.
        self._token = trio.lowlevel.current_trio_token()
        self.reclaim(count - max(0, self.limit_bytes - self._used_bytes))
        waiter = _Waiter(count)
        with self._lock:
            self._waiters.append(waiter)
            served = self._serve()
        self._wake(served)
        try:
            await self._wait_granted(waiter)
        except trio.Cancelled:
            self._leave(waiter)
            raise

    def add_reclaimer(self, reclaimer: Reclaimer) -> None:
        """Ask `reclaimer` for clean bytes whenever they are short; trio's thread only.

        They are asked in the order in which they were added.
        """
        self._reclaimers.append(reclaimer)

    def remove_reclaimer(self, reclaimer: Reclaimer) -> None:
        """Ask `reclaimer` no more; trio's thread only."""
        self._reclaimers.remove(reclaimer)

    def reclaim(self, count: int) -> int:
        """Free up to about `count` clean bytes now; return how many; trio's thread only."""
        freed = 0
        for reclaimer in tuple(self._reclaimers):
            if freed >= count:
                break
            freed += reclaimer(count - freed)
        return freed

    def reclaim_soon(self, count: int, token: trio.lowlevel.TrioToken) -> None:
        """Have `count` bytes reclaimed in trio's thread, soon; any thread, never blocks.

        Asked by many at once, only the first is heard for `RECLAIM_PAUSE_S`.
        """
        now_s = time.monotonic()
        with self._lock:
            if now_s < self._reclaim_after_s:
                return
            self._reclaim_after_s = now_s + RECLAIM_PAUSE_S
        token.run_sync_soon(self.reclaim, count)

    def became_clean(self) -> None:
        """Say that dirty bytes may be reclaimed now: for those who wait; trio's thread only."""
        with self._lock:
            wanted = sum(waiter.count for waiter in self._waiters)
        if wanted:
            self.reclaim(wanted - max(0, self.limit_bytes - self._used_bytes))

    async def _wait_granted(self, waiter: _Waiter) -> None:
        while not waiter.is_granted:
            with trio.move_on_after(ASK_AGAIN_S):
                await waiter.granted.wait()
            self.became_clean()

    def _fits(self, count: int) -> bool:
        return self._used_bytes + count <= self.limit_bytes or self._used_bytes == 0

    def _serve(self) -> list[_Waiter]:
        """Grant what fits, in order; the lock is held. The caller wakes those returned."""
        served = []
        while self._waiters and self._fits(self._waiters[0].count):
            waiter = self._waiters.popleft()
            self._used_bytes += waiter.count
            waiter.is_granted = True
            served.append(waiter)
        return served

    def _wake(self, served: list[_Waiter]) -> None:
        if served and self._token is not None:
            # From any thread, trio's too: an event may only be set in trio's own.
            self._token.run_sync_soon(_set_all, served)

    def _leave(self, waiter: _Waiter) -> None:
        """Undo a cancelled wait, whether or not it was granted meanwhile."""
        with self._lock:
            if waiter.is_granted:
                self._used_bytes -= waiter.count
            else:
                self._waiters.remove(waiter)
            served = self._serve()
        self._wake(served)


def _set_all(waiters: list[_Waiter]) -> None:
    for waiter in waiters:
        waiter.granted.set()
