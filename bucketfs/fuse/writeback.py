"""Write-back: files that were closed are saved in the background, soon but not at once.

What is renamed or removed within the delay costs one request or none: a temporary file that takes
its real name is one PUT under that name.
"""

from __future__ import annotations

import logging

import trio

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause
from bucketfs.counting.programs import Programs
from bucketfs.errors import BucketfsError
from bucketfs.fuse.boundary import unwrapped
from bucketfs.fuse.durability import Durability
from bucketfs.namespace.nodes import Node

log = logging.getLogger(__name__)

DELAY_S = 0.1
"""How long a closed file waits for its rename or removal: programs do that at once."""
LEAST_AT_ONCE = 2
SMALL_BYTES = 64 << 10
"""Uploads up to this size tell the latency; larger ones mostly the bandwidth."""
SLOW_RATIO = 3.0
"""So many times the best latency means that requests only wait in a longer queue."""
FORGET = 1.002
"""The best latency seen grows by this with each upload, so that a change of the line is learned."""


class Width:
    """How many uploads run at once: more while they stay fast, fewer when they slow each other."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._width = float(min(4, most))
        self._best_s = float("inf")

    @property
    def now(self) -> int:
        """So many uploads may run."""
        return int(self._width)

    def done(self, seconds: float) -> None:
        """Learn from one small upload that succeeded."""
        self._best_s = min(self._best_s * FORGET, seconds)
        if seconds > self._best_s * SLOW_RATIO:
            self._width = max(LEAST_AT_ONCE, self._width - 1 / self._width)
        else:
            self._width = min(self._most, self._width + 1 / self._width)

    def failed(self) -> None:
        """Learn from one that failed."""
        self._width = max(LEAST_AT_ONCE, self._width / 2)


class WriteBack:
    """The queue of closed, unsaved files. `run` is a task of the mount; the rest never waits."""

    def __init__(self, *, most: int, programs: Programs | None = None) -> None:
        self._width = Width(most)
        self._programs = programs or Programs()
        self._due: dict[Node, tuple[float, Cause]] = {}
        self._running = 0
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._due) + self._running

    def add(self, node: Node) -> None:
        """Save a node after the delay; one that waits already keeps its place.

        The requests are those of whoever closed it, who may be gone by then.
        """
        if node not in self._due:
            cause = self._programs.settled(causes.current())
            self._due[node] = (trio.current_time() + DELAY_S, cause)
            self._wake()

    async def run(self, durability: Durability) -> None:
        """Save what is due until cancelled. What fails is kept and tried again by the drainer."""
        async with trio.open_nursery() as nursery:
            while True:
                due = self._next()
                if due is not None:
                    node, cause = due
                    self._running += 1
                    with causes.acting(cause):
                        nursery.start_soon(self._save, node, durability)
                    continue
                changed = self._changed
                with trio.move_on_at(self._wait_until()):
                    await changed.wait()

    def _next(self) -> tuple[Node, Cause] | None:
        """Take the oldest node if it is due and there is a place for it."""
        if not self._due or self._running >= self._width.now:
            return None
        node, (due_s, cause) = next(iter(self._due.items()))
        if due_s > trio.current_time():
            return None
        del self._due[node]
        return node, cause

    def _wait_until(self) -> float:
        if not self._due or self._running >= self._width.now:
            return float("inf")
        return next(iter(self._due.values()))[0]

    async def _save(self, node: Node, durability: Durability) -> None:
        try:
            # One that is open for writing again is saved after its own close.
            is_due = node.is_dirty and not node.writers and not node.is_refused
            if is_due or node.waits_for_delete:
                began_s, size = trio.current_time(), node.size
                await durability.save(node)
                if size <= SMALL_BYTES or node.is_removed:
                    self._width.done(trio.current_time() - began_s)
        except Exception as exc:
            self._width.failed()
            cause = unwrapped(exc)
            if isinstance(cause, BucketfsError):
                log.warning("not in the bucket yet, will try again: %r: %s", node.name, cause)
            else:
                log.error("saving %r met a bug", node.name, exc_info=cause)
        finally:
            self._running -= 1
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
