"""Relief of the memory: bytes that were sent go to disk, in the background, while memory is short.

Sent bytes are kept until the commit, because it may fail, but nobody is likely to need them soon.
So they make room for what is being written, beside the sending and before the writers wait.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

import trio

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.room import Room

log = logging.getLogger(__name__)


class Spillable(Protocol):
    """Something whose bytes can go to disk; `Pages` are."""

    async def spill_range(self, start: int, stop: int) -> None:
        """Move bytes from memory to disk."""


class Relief:
    """The sent bytes of all files of a mount, oldest first. Used in trio's thread only.

    One range at a time is written, by a task of `nursery` that lives while there is a need.
    """

    def __init__(self, room: Room, nursery: trio.Nursery) -> None:
        self._room = room
        self._nursery = nursery
        self._sent: deque[tuple[Spillable, int, int]] = deque()
        room.when_short = self._begin

    def offer(self, pages: Spillable, start: int, stop: int) -> None:
        """Note that bytes of a file were sent and may go to disk."""
        self._sent.append((pages, start, stop))
        self._begin()

    def forget(self, pages: Spillable) -> None:
        """Drop the offers of a file: it was saved, or is gone."""
        self._sent = deque(offer for offer in self._sent if offer[0] is not pages)

    def _begin(self) -> None:
        """Start moving bytes if that is of use and does not happen already."""
        if self._sent and self._room.is_short and not self._room.is_being_relieved:
            self._room.is_being_relieved = True
            self._nursery.start_soon(self._relieve)

    async def _relieve(self) -> None:
        try:
            while self._sent and self._room.is_short:
                pages, start, stop = self._sent.popleft()
                try:
                    await pages.spill_range(start, stop)
                except (NoSpace, CacheDirectoryError) as exc:
                    log.warning("sent bytes stay in memory: %s", exc)
        finally:
            self._room.relieved()
