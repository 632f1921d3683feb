"""Write-back: files that were closed are saved in the background, soon but not at once.

What is renamed or removed within the delay costs one request or none: a temporary file that takes
its real name is one PUT under that name. Objects of removed files are deleted together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

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
REMOVALS_AT_ONCE = 1000
"""As many keys as the clouds take in one request."""
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


_Queue = dict[Node, tuple[float, Cause]]
"""What waits, oldest first: when it is due, and who has caused it."""


class WriteBack:
    """The queue of closed, unsaved files, of directories, and of removals.

    `run` is a task of the mount; the rest never waits.
    """

    def __init__(self, *, most: int, programs: Programs | None = None) -> None:
        self._width = Width(most)
        self._programs = programs or Programs()
        self._due: _Queue = {}
        self._removed: _Queue = {}
        self._running = 0
        self._is_removing = False
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._removed) + self._running + self._is_removing

    def add(self, node: Node) -> None:
        """Save a node after the delay; one that waits already keeps its place.

        The requests are those of whoever closed or removed it, who may be gone by then.
        """
        queue = self._removed if node.waits_for_delete else self._due
        if node not in queue:
            cause = self._programs.settled(causes.current())
            queue[node] = trio.current_time() + DELAY_S, cause
            self._wake()

    async def run(self, durability: Durability) -> None:
        """Save what is due until cancelled. What fails is kept and tried again by the drainer."""
        async with trio.open_nursery() as nursery:
            while True:
                now_s = trio.current_time()
                if self._due_at(self._removed, is_free=not self._is_removing) <= now_s:
                    self._is_removing = True
                    nodes, cause = self._take_removed()
                    with causes.acting(cause):
                        nursery.start_soon(self._remove, nodes, durability)
                elif self._due_at(self._due, is_free=self._has_place) <= now_s:
                    node, (_, cause) = next(iter(self._due.items()))
                    del self._due[node]
                    self._running += 1
                    with causes.acting(cause):
                        nursery.start_soon(self._save, node, durability)
                else:
                    await self._wait()

    @property
    def _has_place(self) -> bool:
        return self._running < self._width.now

    @staticmethod
    def _due_at(queue: _Queue, *, is_free: bool) -> float:
        """Return when the oldest of a queue is due, never while nothing of it may run."""
        return next(iter(queue.values()))[0] if queue and is_free else float("inf")

    async def _wait(self) -> None:
        """Wait until something is due, or anything changed."""
        changed = self._changed
        removing_s = self._due_at(self._removed, is_free=not self._is_removing)
        saving_s = self._due_at(self._due, is_free=self._has_place)
        with trio.move_on_at(min(removing_s, saving_s)):
            await changed.wait()

    def _take_removed(self) -> tuple[list[Node], Cause]:
        """Take what one request deletes, and whose request it is: that of the oldest.

        What came after the oldest need not wait any longer.
        """
        taken = dict(islice(self._removed.items(), REMOVALS_AT_ONCE))
        for node in taken:
            del self._removed[node]
        return list(taken), next(iter(taken.values()))[1]

    async def _remove(self, nodes: Sequence[Node], durability: Durability) -> None:
        """Delete the objects of removed files; what comes meanwhile goes with the next request."""
        with self._told(f"{len(nodes)} removed files"):
            await durability.end_removed(nodes)
        self._is_removing = False
        self._wake()

    async def _save(self, node: Node, durability: Durability) -> None:
        with self._told(repr(node.name)):
            # One that is open for writing again is saved after its own close.
            if node.is_dirty and not node.writers and not node.is_refused:
                began_s, size = trio.current_time(), node.size
                await durability.save(node)
                if size <= SMALL_BYTES:
                    self._width.done(trio.current_time() - began_s)
        self._running -= 1
        self._wake()

    @contextmanager
    def _told(self, subject: str) -> Iterator[None]:
        """Log a failure: what failed waits for the drainer."""
        try:
            yield
        except Exception as exc:
            self._width.failed()
            cause = unwrapped(exc)
            if isinstance(cause, BucketfsError):
                log.warning("not in the bucket yet, will try again: %s: %s", subject, cause)
            else:
                log.error("saving %s met a bug", subject, exc_info=cause)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
