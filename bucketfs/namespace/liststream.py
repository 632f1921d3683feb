"""One listing of a directory as it comes in, page by page, for everyone who reads it at that time.

Pages are taken from a `PageSource` when a reader needs them, so that a huge directory is at most
one page ahead of its reader, and a listing that is given up costs no more requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from bucketfs.namespace.listings import Entry
from bucketfs.namespace.listpage import Line, PageReader
from bucketfs.namespace.masking import LocalChanges, Moment
from bucketfs.namespace.pagesource import PageSource
from bucketfs.storage.interface import ObjectInfo

MAX_KEPT = 50_000
"""Entries of one directory that are remembered; a larger one is streamed and not kept."""

TakePage = Callable[[str, list[Line], Moment, float], Awaitable[list[Entry]]]
"""(prefix, lines, moment and time of asking) -> entries, local changes taken into account."""


class ListStream:
    """A listing of `prefix` under way. Any number of readers, each by its own page numbers.

    `moment` and `begun_s` are those of the oldest page: one from a sweep may have been asked for
    before. Cancelling a reader loses nothing: the page that it was waiting for is the next one's.
    """

    def __init__(
        self,
        source: PageSource,
        prefix: str,
        changes: LocalChanges[Entry],
        take_page: TakePage,
        *,
        is_ordered: bool,
    ) -> None:
        self.prefix = prefix
        self.moment = changes.begin()
        self.begun_s = trio.current_time()
        self.is_complete = False
        self.is_kept = True
        self._source = source
        self._changes = changes
        self._take_page = take_page
        self._reader = PageReader(prefix, is_ordered=is_ordered)
        self._pages: list[tuple[Moment, Sequence[Entry]]] = []
        self.count = 0
        self._lock = trio.Lock()
        self._positions: dict[object, int] = {}

    @property
    def has_readers(self) -> bool:
        """Whether somebody reads it."""
        return bool(self._positions)

    @property
    def marker(self) -> ObjectInfo | None:
        """The directory's own marker, if the listing showed one."""
        return self._reader.marker

    def entries(self) -> dict[str, Entry]:
        """Return everything so far, in order (only while `is_kept`)."""
        return {entry.name: entry for _, page in self._pages for entry in page}

    def join(self, reader: object) -> None:
        """Add a reader; `leave` must follow."""
        self._positions[reader] = 0

    def leave(self, reader: object) -> None:
        """Drop a reader; the last one ends the listing."""
        del self._positions[reader]
        if not self._positions:
            self._source.close()
            self._changes.end(self.moment)

    async def page(self, reader: object) -> Sequence[Entry] | None:
        """Return the next page of `reader`; None after the last one.

        It is as this mount left it until now. Raises: StorageError; the same page may be asked for
        again.
        """
        index = self._positions[reader]
        async with self._lock:
            while index >= len(self._pages) and not self.is_complete:
                await self._fetch()
        if index >= len(self._pages):
            return None
        moment, entries = self._pages[index]
        # ATOMIC: the position moves and what everyone has read is dropped.
        self._positions[reader] = index + 1
        if not self.is_kept:
            for read in range(min(self._positions.values())):
                self._pages[read] = (self.moment, ())
        return self._changes.visible(self.prefix, self._current(moment, entries))

    def made_since(self) -> Sequence[Entry]:
        """Return what this mount made since the listing began and none of its pages shows."""
        if not self.is_kept or self._changes.is_quiet:
            return ()
        given = self.entries()
        changed = self._changes.all_since(self.moment, self.prefix)
        return [entry for name, entry in changed.items() if entry and name not in given]

    def _current(self, moment: Moment, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return what entries that were asked for at `moment` are now."""
        if self._changes.is_quiet:
            return entries
        now = []
        for entry in entries:
            change = self._changes.since(moment, self.prefix, entry.name)
            if change is None:
                now.append(entry)
            elif change.entry is not None:
                now.append(change.entry)
        return now

    def run_ahead(self) -> None:
        """Have the next page asked for while this one is read."""
        if not self.is_complete and not self._lock.locked():
            self._source.run_ahead()

    async def _fetch(self) -> None:
        answered = await self._source.page()
        page, moment, asked_s, markers = answered
        reader = self._reader.copy()
        lines = reader.read(page, markers)
        entries = await self._take_page(self.prefix, lines, moment, asked_s)
        # ATOMIC: a page is taken whole or not at all.
        self._reader = reader
        self._pages.append((moment, entries))
        self.count += len(entries)
        self.is_kept = self.count <= MAX_KEPT
        self.is_complete = page.next_marker is None
        self.begun_s = min(self.begun_s, asked_s)
        if moment < self.moment:
            self._changes.share(moment)
            self._changes.end(self.moment)
            self.moment = moment
        self._source.taken()
