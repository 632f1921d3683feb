"""Where a listing gets its pages: from requests for one directory, with delimiter.

A page is told with the moment and the time of the request that brought it, because it may have been
made for somebody else, long before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

import trio

from bucketfs.namespace.flights import Flights
from bucketfs.namespace.listpage import NO_MARKERS
from bucketfs.namespace.masking import LocalChanges, Moment
from bucketfs.storage.interface import KeyMarker, ListPage, ObjectInfo, ObjectStore
from bucketfs.storage.key_order import key_bytes

E = TypeVar("E")


class Answered(NamedTuple):
    """A page of the listing of one directory, and when it was asked for.

    `markers` has those directories of which it is known whether they have a marker. The source
    keeps `moment` under way until the page is taken.
    """

    page: ListPage
    moment: Moment
    asked_s: float
    markers: Mapping[str, ObjectInfo | None] = NO_MARKERS


def named_once(page: ListPage) -> ListPage:
    """Return a page without repetitions: there are servers and proxies that repeat themselves."""
    objects = {info.key: info for info in page.objects}
    prefixes = dict.fromkeys(page.prefixes)
    if len(objects) == len(page.objects) and len(prefixes) == len(page.prefixes):
        return page
    return ListPage(list(objects.values()), list(prefixes), page.next_marker)


class PageSource(Protocol):
    """The pages of the listing of one directory, one after the other."""

    async def page(self) -> Answered:
        """Return the next page, the same until it is `taken`. Raises: StorageError."""

    def taken(self) -> None:
        """Say that the page is taken."""

    def run_ahead(self) -> None:
        """Say that the next page will be needed soon; it may be asked for now."""

    def close(self) -> None:
        """Give up what was not taken."""


class DelimitedPages:
    """The pages of `prefix` by requests of its own.

    `after`: everything up to this key or common prefix was told by another source.
    """

    def __init__(
        self,
        store: ObjectStore,
        changes: LocalChanges[E],
        flights: Flights,
        prefix: str,
        after: str | None = None,
    ) -> None:
        self._store = store
        self._changes = changes
        self._flights = flights
        self._prefix = prefix
        self._after = after
        self._marker: str | None = None
        if after is not None and store.capabilities.key_markers:
            self._marker = KeyMarker(after)
        self._number = 0
        self._ahead: Answered | None = None
        self._is_over = False
        self._is_closed = False

    async def page(self) -> Answered:
        """Return the next page. Raises: StorageError."""
        if self._ahead is None:
            await self._flights.join((self, self._number), self._fetch)
        if self._ahead is None:
            raise AssertionError("a page was taken by two readers at once")
        return self._ahead

    def taken(self) -> None:
        """Go on to the next page."""
        answered, self._ahead = self._ahead, None
        if answered is not None:
            self._changes.end(answered.moment)
            self._marker = answered.page.next_marker
            self._number += 1
            self._is_over = self._marker is None

    def run_ahead(self) -> None:
        """Ask for the next page."""
        if self._ahead is None and not self._is_over:
            self._flights.launch((self, self._number), self._fetch)

    def close(self) -> None:
        """Give up the page that was not taken, also one that is still to come."""
        self._is_closed = True
        if self._ahead is not None:
            self._changes.end(self._ahead.moment)
            self._ahead = None

    async def _fetch(self) -> None:
        moment = self._changes.begin()
        asked_s = trio.current_time()
        try:
            page = named_once(await self._store.list_page(self._prefix, "/", self._marker))
        except BaseException:
            self._changes.end(moment)
            raise
        # ATOMIC: the moment is held by the page, or not at all.
        if self._is_closed:
            self._changes.end(moment)
        else:
            self._ahead = Answered(self._rest(page), moment, asked_s)

    def _rest(self, page: ListPage) -> ListPage:
        """Return a page without what another source has told already."""
        if self._after is None:
            return page
        after = key_bytes(self._after)
        objects = [info for info in page.objects if key_bytes(info.key) > after]
        prefixes = [prefix for prefix in page.prefixes if key_bytes(prefix) > after]
        if objects or prefixes:
            self._after = None
        return ListPage(objects, prefixes, page.next_marker)
