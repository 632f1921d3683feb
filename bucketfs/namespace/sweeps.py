"""Which listing serves a directory that is opened: its own, or a sweep over the tree around it.

A sweep begins when a walk is recognised, jumps to where the walk goes on when it has skipped
something, and is given up when it brings nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import trio

from bucketfs.errors import StorageError
from bucketfs.namespace import keys
from bucketfs.namespace.flights import Flights
from bucketfs.namespace.listings import Entry, Listings
from bucketfs.namespace.masking import LocalChanges, Moment
from bucketfs.namespace.pagesource import DelimitedPages, PageSource
from bucketfs.namespace.sweep import Sweep
from bucketfs.namespace.sweptpages import SweptPages
from bucketfs.namespace.walks import RECENT_S, Budget, Walks
from bucketfs.storage.interface import ListPage, ObjectInfo, ObjectStore
from bucketfs.storage.key_order import key_bytes

MOST = 8
"""Sweeps at once; the one that was of no use for longest goes first."""

_REFUSED_FOR_S = 600.0
"""How long a store that refused a flat listing is asked for no other."""

_PLANTS_IN_VAIN = 4
"""Look-ups that brought much of a directory that nobody opened, before they ask for less."""

_MANY = 100
"""Keys that take an answer noticeably longer than one does."""

FREE_PAGES = 2
"""Pages that a walk may cost before it is known whether they are of use."""


_PAGES_FOR_MARKER = 2
"""Pages that are waited for instead of asking for a marker: one on its way, and one's own."""

Budgets = OrderedDict[str, tuple[Budget, float]]
"""Root of a walk -> what its pages may cost, and when it was used last."""


class MarkerKnown(NamedTuple):
    """What a sweep says of the marker of a directory; None: it has none."""

    marker: ObjectInfo | None


class Sweeps:
    """The sweeps of one mount. With a ttl of 0, or where listings have no order, there are none."""

    def __init__(
        self,
        store: ObjectStore,
        changes: LocalChanges[Entry],
        listings: Listings,
        flights: Flights,
        *,
        ttl_s: float,
    ) -> None:
        self._store = store
        self._changes = changes
        self._listings = listings
        self._flights = flights
        self._ttl_s = ttl_s
        self._walks = Walks()
        self._sweeps: OrderedDict[Sweep, None] = OrderedDict()
        self._not_before_s = float("-inf")
        self._planted_in_vain = 0
        self._budgets: Budgets = OrderedDict()
        self._telling: Budgets = OrderedDict()

    def opened(self, prefix: str) -> str | None:
        """Note that a directory is opened; return the root of the walk that it belongs to."""
        parent = self._listings.get(keys.split_key(prefix)[0]) if prefix else None
        return self._walks.opened(prefix, parent, trio.current_time())

    def source(self, prefix: str) -> PageSource:
        """Return where the pages of a directory come from that somebody reads now."""
        root = self.opened(prefix)
        own = partial(DelimitedPages, self._store, self._changes, self._flights, prefix)
        sweep = self._serving(prefix) or self._begin(root, prefix)
        if sweep is None:
            return own()
        if sweep.is_planted:
            self._planted_in_vain = 0
        self._sweeps.move_to_end(sweep)
        return SweptPages(sweep, prefix, self._changes, self._ttl_s, own)

    def has(self, prefix: str) -> bool:
        """Whether the whole listing of a directory is here that nobody has opened."""
        return any(
            (swept := sweep.find(prefix)) is not None and swept.is_complete
            for sweep in self._around(prefix)
        )

    def marker(self, prefix: str) -> MarkerKnown | None:
        """Return what is known of the marker of a directory that nobody has opened."""
        sweep = self._teller(prefix)
        swept = sweep.find(prefix) if sweep is not None else None
        return MarkerKnown(swept.marker) if swept is not None else None

    async def marker_soon(self, prefix: str) -> MarkerKnown | None:
        """Return `marker`, if need be after the next page of a sweep that is coming there.

        That costs no more than asking for the marker, and it is going to be needed anyway.
        """
        known = self._told(prefix)
        if known is None:
            sweep = self._coming_to(prefix)
            if sweep is not None and sweep.may_ask():
                try:
                    await sweep.advance()
                except StorageError:
                    return None
                known = self.marker(prefix)
        return known

    async def marker_listed(self, prefix: str) -> MarkerKnown | None:
        """Return `marker` from a sweep that begins at a directory, or is about to reach it.

        None: it is dearer than asking for markers, as experience with its neighbours has it, or it
        failed.
        """
        for _ in range(_PAGES_FOR_MARKER):
            sweep = self._asking_for(prefix) or self._begin_telling(prefix)
            if sweep is None:
                return None
            try:
                await sweep.advance()
            except StorageError:
                return None
            known = self._told(prefix)
            if known is not None:
                return known
        return None

    def is_to_tell(self, prefix: str) -> bool:
        """Whether proving a directory ahead is in vain: a sweep tells that it has no marker."""
        known = self.marker(prefix)
        if known is not None:
            return known.marker is None
        sweep = self._coming_to(prefix)
        return sweep is not None and not sweep.has_markers

    @property
    def may_plant(self) -> bool:
        """Whether a look-up may bring more than it was asked for: it was of use of late."""
        return self._ttl_s > 0 and self._planted_in_vain < _PLANTS_IN_VAIN

    def plant(self, root: str, page: ListPage, moment: Moment, asked_s: float) -> None:
        """Take what a look-up showed below `root`, from its beginning, for whoever opens it."""
        if self._ttl_s <= 0:
            return
        if len(page.objects) > _MANY:
            self._planted_in_vain += 1
        sweep = self._new(root, root, Budget(1))
        try:
            sweep.seed(page, moment, asked_s)
        except StorageError:
            sweep.end()

    def tree_changed(self, prefix: str) -> None:
        """End the sweeps over a directory that this mount renamed."""
        for sweep in list(self._sweeps):
            if sweep.root.startswith(prefix) or prefix.startswith(sweep.root):
                sweep.end()
                del self._sweeps[sweep]

    def drop_stale(self) -> None:
        """Drop what may not be believed any more, and what was kept for it."""
        for sweep in list(self._sweeps):
            sweep.drop_stale()
            if sweep.is_refused:
                self._not_before_s = trio.current_time() + _REFUSED_FOR_S
            if sweep.is_ended:
                del self._sweeps[sweep]

    # -- which one

    def _around(self, prefix: str) -> list[Sweep]:
        """Return the sweeps that may have a directory, the one that was used last first."""
        return [sweep for sweep in reversed(self._sweeps) if prefix.startswith(sweep.root)]

    def _teller(self, prefix: str) -> Sweep | None:
        """Return a sweep that has a directory which nobody has opened."""
        return next((sweep for sweep in self._around(prefix) if sweep.find(prefix)), None)

    def _told(self, prefix: str) -> MarkerKnown | None:
        """Return `marker`, which spares a request."""
        sweep = self._teller(prefix)
        if sweep is not None:
            sweep.budget.told()
        return self.marker(prefix)

    def _asking_for(self, prefix: str) -> Sweep | None:
        """Return a sweep whose page that is on its way may have a directory."""
        for sweep in self._around(prefix):
            if sweep.is_asking and not sweep.is_past(prefix):
                return sweep
        return None

    def _coming_to(self, prefix: str) -> Sweep | None:
        """Return a sweep that is being read and has not come to a directory yet."""
        for sweep in self._around(prefix):
            if sweep.budget.directories and not sweep.is_past(prefix):
                return sweep
        return None

    def _serving(self, prefix: str) -> Sweep | None:
        """Return the sweep that has a directory, or is about to have it."""
        self.drop_stale()
        for sweep in self._around(prefix):
            if sweep.find(prefix) is not None or (sweep.is_asking and not sweep.is_past(prefix)):
                return sweep
        return None

    def _begin(self, root: str | None, prefix: str) -> Sweep | None:
        """Begin a sweep at a directory with which a walk goes on; None: it would be in vain."""
        if root is None or not self._is_possible(prefix):
            return None
        root, budget = self._budget(root, self._budgets)
        if not budget.may_ask():
            budget.missed()
            return None
        return self._begun(root, prefix, budget)

    def _begin_telling(self, prefix: str) -> Sweep | None:
        """Begin a sweep that is to tell of the markers of a directory and of its neighbours."""
        self.drop_stale()
        if not self._is_possible(prefix):
            return None
        root, budget = self._budget(keys.split_key(prefix)[0], self._telling)
        return self._begun(root, prefix, budget) if budget.may_ask() else None

    def _begun(self, root: str, prefix: str, budget: Budget) -> Sweep | None:
        has = self._store.capabilities
        if has.key_markers:
            start = prefix
        elif budget.pages == 0:
            start = root
        else:
            return None
        return self._new(root, start, budget)

    def _is_possible(self, prefix: str) -> bool:
        has = self._store.capabilities
        is_possible = self._ttl_s > 0 and has.is_remote and has.listing_is_ordered
        is_possible = is_possible and self._not_before_s <= trio.current_time()
        return is_possible and len(key_bytes(prefix)) < has.max_key

    def _new(self, root: str, start: str, budget: Budget) -> Sweep:
        sweep = Sweep(
            self._store,
            self._changes,
            self._flights,
            root=root,
            start=start,
            ttl_s=self._ttl_s,
            budget=budget,
        )
        self._sweeps[sweep] = None
        if len(self._sweeps) > MOST:
            self._sweeps.popitem(last=False)[0].end()
        return sweep

    def _budget(self, root: str, budgets: Budgets) -> tuple[str, Budget]:
        """Return the outermost directory that a walk goes through, and what it may cost there."""
        now_s = trio.current_time()
        while budgets and next(iter(budgets.values()))[1] < now_s - RECENT_S:
            budgets.popitem(last=False)
        around = [
            known
            for known, (budget, _) in budgets.items()
            if root.startswith(known) and budget.may_ask()
        ]
        root = min(around, key=len, default=root)
        budget, _ = budgets.get(root, (Budget(FREE_PAGES), now_s))
        budgets[root] = budget, now_s
        budgets.move_to_end(root)
        return root, budget
