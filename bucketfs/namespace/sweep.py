"""A sweep: one flat listing under way, which feeds the listings of all directories in it.

A walker that reads a tree directory by directory is served from pages of 1000 keys, whatever the
depth. The sweep asks for the next page when somebody needs it, and a little ahead of a walker that
keeps up; what it has asked for in vain is bounded by a `Budget`.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import trio

from bucketfs.errors import StorageError, Transient
from bucketfs.namespace.flatpages import Piece, Unfolding
from bucketfs.namespace.flights import Flights
from bucketfs.namespace.listings import Entry
from bucketfs.namespace.masking import LocalChanges, Moment
from bucketfs.namespace.pagesource import named_once
from bucketfs.namespace.walks import Budget
from bucketfs.storage.interface import KeyMarker, ListPage, ObjectInfo, ObjectStore

MAX_UNREAD = 8_000
"""Entries of directories that nobody has opened yet; more are not asked for."""

AHEAD = 2_000
"""Entries ahead of a walker up to which the next page is asked for before anybody needs it."""

_FIRST_USES = 2
"""Directories that must have been of use before a page is asked for ahead of need."""


class Heard(NamedTuple):
    """A piece of a directory, and when its page was asked for (`moment` is kept for it)."""

    piece: Piece
    moment: Moment
    asked_s: float


class Swept:
    """What a sweep has of one directory. `is_complete`: the last piece is there."""

    __slots__ = ("heard", "is_complete", "marker", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.heard: deque[Heard] = deque()
        self.marker: ObjectInfo | None = None
        self.is_complete = False

    def add(self, heard: Heard) -> None:
        """Take the next piece."""
        piece = heard.piece
        if piece.is_first and piece.objects and piece.objects[0].key == self.prefix:
            self.marker = piece.objects[0]
        self.heard.append(heard)
        self.is_complete = piece.is_last

    def is_fresh(self, oldest_s: float) -> bool:
        """Whether everything in it was asked for after `oldest_s`."""
        return all(heard.asked_s > oldest_s for heard in self.heard)


class Sweep:
    """One flat listing below `root`, from directory `start` on, for whoever walks there.

    All in the trio thread; between two awaits every method is atomic. `ended` sweeps ask for
    nothing and have nothing.
    """

    def __init__(
        self,
        store: ObjectStore,
        changes: LocalChanges[Entry],
        flights: Flights,
        *,
        root: str,
        start: str,
        ttl_s: float,
        budget: Budget,
    ) -> None:
        self.root = root
        self.budget = budget
        self.unread = 0
        self.is_ended = False
        self.is_planted = False
        self.is_refused = False
        """Whether it ended because the store does not list so, or not in order."""
        self.has_markers = False
        """Whether the directory that was found last has a marker."""
        self._store = store
        self._changes = changes
        self._flights = flights
        self._ttl_s = ttl_s
        self._unfolding = Unfolding(root, start)
        self._marker: str | None = None if start == root else KeyMarker(start_marker(start))
        self._unopened: dict[str, Swept] = {}
        self._begun: dict[str, Swept] = {}
        self._number = 0
        self._asked_s = float("-inf")

    # -- what it has

    def find(self, prefix: str) -> Swept | None:
        """Return what is known, and may be believed, of a directory that nobody opened yet."""
        swept = self._unopened.get(prefix)
        return swept if swept is not None and swept.is_fresh(self._oldest_s()) else None

    def take(self, prefix: str) -> Swept | None:
        """Hand a directory out: from now on its pieces are its reader's."""
        swept = self.find(prefix)
        if swept is not None:
            del self._unopened[prefix]
            self.unread -= _size(swept)
            self._run_ahead()
        return swept

    def is_past(self, prefix: str) -> bool:
        """Whether it will not come to directory `prefix` any more."""
        return self.is_ended or self._unfolding.is_past(prefix)

    @property
    def is_asking(self) -> bool:
        """Whether a page is on its way."""
        return self._flights.is_under_way(self._topic())

    def may_ask(self) -> bool:
        """Whether the next page may be asked for."""
        if self.is_ended or self._unfolding.is_complete:
            return False
        return self.is_asking or (self.unread < MAX_UNREAD and self.budget.may_ask())

    def may_reach(self, prefix: str) -> bool:
        """Whether waiting for a directory that it has not come to is worth while.

        Where a new sweep can begin at the directory, only a page that is asked for already is.
        """
        if self.is_past(prefix):
            return False
        is_cheap = self._number == 0 or not self._store.capabilities.key_markers
        return self.is_asking or (is_cheap and self.may_ask())

    # -- what it does

    async def advance(self) -> None:
        """Wait for the next page. Raises: StorageError; the sweep has ended then."""
        await self._flights.join(self._topic(), self._fetch)

    def seed(self, page: ListPage, moment: Moment, asked_s: float) -> None:
        """Take a first page that was asked for otherwise. Raises: ConfusedServer."""
        self.is_planted = True
        self._take(page, moment, asked_s)

    def served(self, piece: Piece) -> None:
        """Note that a piece of a directory was read by somebody."""
        self.budget.served(len(piece), is_last=piece.is_last)
        self._run_ahead()

    def end(self) -> None:
        """Drop what nobody has opened, and ask for nothing any more."""
        self.is_ended = True
        for swept in self._unopened.values():
            release(swept, self._changes)
        self._unopened.clear()
        self._begun.clear()
        self.unread = 0

    def give_up(self, swept: Swept) -> None:
        """Drop a directory that was handed out and is not read any further."""
        release(swept, self._changes)
        if self._begun.get(swept.prefix) is swept:
            del self._begun[swept.prefix]

    def drop_stale(self) -> None:
        """Drop what may not be believed any more; a sweep that has nothing left then ends."""
        oldest_s = self._oldest_s()
        while self._unopened:
            swept = next(iter(self._unopened.values()))
            if swept.is_fresh(oldest_s):
                return
            del self._unopened[swept.prefix]
            self.unread -= _size(swept)
            self.give_up(swept)
        if self._number and self._asked_s <= oldest_s and not self.is_asking:
            self.end()

    def _oldest_s(self) -> float:
        return trio.current_time() - self._ttl_s

    def _topic(self) -> tuple[object, int]:
        return self, self._number

    def ask(self) -> None:
        """Ask for the next page, which will be needed soon."""
        if not self.is_asking and self.may_ask():
            self._flights.launch(self._topic(), self._fetch)

    def _run_ahead(self) -> None:
        if self.budget.directories >= _FIRST_USES and self.unread < AHEAD:
            self.ask()

    async def _fetch(self) -> None:
        with self._changes.request() as moment:
            asked_s = trio.current_time()
            try:
                page = named_once(await self._store.list_page(self.root, "", self._marker))
                # ATOMIC: a page is taken whole or not at all.
                if not self.is_ended:
                    self._take(page, moment, asked_s)
            except StorageError as error:
                self.is_refused = not isinstance(error, Transient)
                self.end()
                raise
        self._run_ahead()

    def _take(self, page: ListPage, moment: Moment, asked_s: float) -> None:
        self.budget.asked()
        pieces = self._unfolding.read(page)
        self._marker = page.next_marker
        self._number += 1
        self._asked_s = asked_s
        for piece in pieces:
            swept = self._begun.get(piece.prefix)
            if piece.is_first:
                swept = self._begun[piece.prefix] = self._unopened[piece.prefix] = Swept(
                    piece.prefix
                )
            if swept is None:
                continue
            if piece.is_last:
                del self._begun[piece.prefix]
            self._changes.share(moment)
            swept.add(Heard(piece, moment, asked_s))
            if piece.prefix in self._unopened:
                self.unread += len(piece) + 1
            if piece.is_first:
                self.has_markers = swept.marker is not None


def start_marker(start: str) -> str:
    """Return a key shortly before directory `start` and everything below it.

    What is between the two, files whose names begin like the directory's, is passed over.
    """
    return start[:-1] + ".~"


def release(swept: Swept, changes: LocalChanges[Entry]) -> None:
    """Give up what a directory has that was not read."""
    while swept.heard:
        changes.end(swept.heard.popleft().moment)


def _size(swept: Swept) -> int:
    return sum(len(heard.piece) + 1 for heard in swept.heard)
