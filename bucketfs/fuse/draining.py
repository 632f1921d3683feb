"""Draining: what is not in the bucket yet gets there, later, when a person asks, or at the end.

A file that could not be saved when it was closed keeps its bytes here and is tried again while the
mount lives, and once more when it ends. While it is being ended the door is shut: no new changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from bucketfs.counting import causes
from bucketfs.errors import BucketfsError, Transient
from bucketfs.fuse.boundary import unwrapped
from bucketfs.fuse.door import Door
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.pending import Pending, path_of, unsaved_bytes
from bucketfs.namespace.nodes import Node

log = logging.getLogger(__name__)

RETRY_INTERVAL_S = 10.0
FINAL_ROUNDS = 3
"""How often the end of the mount tries to save what failed; each try has the store's retries."""
PAUSE_BETWEEN_ROUNDS_S = 2.0
AWAY = "not tried: the store does not answer for other files"
HURRIED = "not tried: nobody waited for it"


@dataclass(frozen=True, order=True, slots=True)
class Failure:
    """A file that could not be saved; `is_kept`: its bytes survive this process, in the journal."""

    path: str
    reason: str
    is_kept: bool

    def __str__(self) -> str:
        where = "kept for the next mount" if self.is_kept else "ONLY IN MEMORY"
        return f"{self.path}: {self.reason} ({where})"


class _Round:
    """One pass over many files: what failed, and whether the store is away."""

    def __init__(self, width: int) -> None:
        self.failures: list[Failure] = []
        self._width = width
        self._away = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether as many as run at once have failed one after the other for want of the store."""
        return self._away >= self._width

    def saved(self) -> None:
        """Note a success."""
        self._away = 0

    def failed(self, cause: BaseException) -> None:
        """Note a failure."""
        self._away = self._away + 1 if isinstance(cause, Transient) else 0


class Drainer:
    """Saves what is unsaved, some files at a time; `door` is shut while the mount is ended."""

    def __init__(
        self, pending: Pending, durability: Durability, door: Door, *, concurrency: int
    ) -> None:
        self.door = door
        self._pending = pending
        self._durability = durability
        self._width = max(1, concurrency)
        self._limiter = trio.CapacityLimiter(self._width)
        self._rounds_left = FINAL_ROUNDS
        self._patience: set[trio.CancelScope] = set()

    def left(self, path: Sequence[str] = ()) -> tuple[int, int]:
        """Return how much is unsaved at and below a path (its names): files, and their bytes.

        A file counts that is not in the bucket as it is here, or not out of it.
        """
        nodes = self._chosen(path)
        return len(nodes), sum(map(unsaved_bytes, nodes))

    async def save_all(self, path: Sequence[str] = ()) -> list[Failure]:
        """Save all that is unsaved now at and below a path (its names); return what failed.

        A store that is away is not waited for once more for each file: when as many as run at once
        have failed for it one after the other, the rest is kept here untried.
        """
        return await self._save_each(self._chosen(path))

    async def save_last(self) -> None:
        """Let no more changes in, from now on, and save everything: the mount is about to end."""
        self.door.shut_for_good()
        causes.enter(causes.own("end"))
        with self._patient():
            self._rounds_left -= 1
            await self.save_all()

    def hurry(self, is_hurried: bool = True) -> None:
        """Send nothing more at the end: what is unsaved then is kept on this machine.

        What `save_last` and `save_finally` are waiting for is given up.
        """
        self._rounds_left = 0 if is_hurried else FINAL_ROUNDS
        self._durability.is_ending = is_hurried
        for scope in self._patience if is_hurried else ():
            scope.cancel()

    async def save_finally(self) -> list[Failure]:
        """Save everything when the kernel is gone, with patience; return (and log) what failed.

        Every file that failed is kept on this machine then, if its disk has the place.
        """
        causes.enter(causes.own("end"))
        with self._patient():
            while self._rounds_left > 0:
                self._rounds_left -= 1
                if not await self.save_all():
                    break
                if self._rounds_left:
                    await trio.sleep(PAUSE_BETWEEN_ROUNDS_S)
        failures = []
        for node in self._pending.nodes():
            failures.append(await self._kept(node, self._pending.last_error(node) or HURRIED))
        for failure in sorted(failures):
            log.error("not in the bucket: %s", failure)
        return failures

    async def retry_for_ever(self) -> None:
        """Try closed files again that could not be saved, now and then, until cancelled."""
        while True:
            await trio.sleep(RETRY_INTERVAL_S)
            # Of what is open or busy the close will tell; what is refused only a person can.
            nodes = [
                node
                for node in self._pending.nodes()
                if not (node.opens or node.busy or node.is_refused)
            ]
            failures = await self._save_each(nodes)
            tried = [failure for failure in failures if failure.reason != AWAY]
            for failure in tried:
                log.warning("still not saved: %s", failure)
            if len(failures) > len(tried):
                log.warning("%d more files wait for the store", len(failures) - len(tried))

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """Let `hurry` end the block."""
        with trio.CancelScope() as scope:
            self._patience.add(scope)
            try:
                yield
            finally:
                self._patience.discard(scope)

    def _chosen(self, path: Sequence[str]) -> list[Node]:
        top = self._pending.at(path)
        return [] if top is None else self._pending.nodes(top)

    async def _save_each(self, nodes: Sequence[Node]) -> list[Failure]:
        this = _Round(self._width)
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(self._save, node, this)
        return sorted(this.failures)

    async def _save(self, node: Node, this: _Round) -> None:
        async with self._limiter:
            if this.is_hopeless:
                this.failures.append(await self._kept(node, AWAY))
                return
            try:
                await self._durability.save(node)
                this.saved()
            except Exception as exc:
                # Whatever it is: the other files must still be saved.
                cause = unwrapped(exc)
                this.failed(cause)
                if not isinstance(cause, BucketfsError):
                    log.error("saving %s met a bug", path_of(node), exc_info=cause)
                this.failures.append(await self._kept(node, str(cause)))

    async def _kept(self, node: Node, reason: str) -> Failure:
        """Return the failure of a file after keeping it on this machine, if that can be."""
        try:
            is_kept = await self._durability.keep(node)
        except BucketfsError as exc:
            is_kept = False
            reason = f"{reason}; {exc}"
        return Failure(path_of(node), reason, is_kept)
