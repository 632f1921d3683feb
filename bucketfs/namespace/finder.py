"""What the bucket has, as names and attributes, with as few requests as the truth allows.

Answers are believed for `ttl_s`; proofs of attributes as long as a listing shows the same object.
Absent is only what the server said is absent: every failure propagates and is remembered nowhere.
Identical requests under way are shared, and no answer undoes what this mount did after asking.

What a look-up costs: nothing where it is known. In a directory whose listing is fresh: nothing for
an absent name, one HEAD (or one GET of a small object, which brings its bytes along) for a present
one whose attributes are not proved, fewer when a walk through the directory is recognised. In a
directory that is not listed: a LIST of what begins like the name (`lookups`), and one request as
above for what that shows; from the third such look-up on, a LIST of the directory, unless it is
huge. A walk from directory to directory is listed without delimiter (`sweeps`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Literal, cast

import trio

from bucketfs.errors import InvalidOperation
from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Attributes, Defaults
from bucketfs.namespace.flights import Flights
from bucketfs.namespace.listings import Directory, Entry, Found, Listings
from bucketfs.namespace.liststream import ListStream
from bucketfs.namespace.masking import LocalChanges
from bucketfs.namespace.prover import Prover
from bucketfs.namespace.questions import Answer, Questions
from bucketfs.namespace.remembered import Remembered
from bucketfs.namespace.sweeps import Sweeps
from bucketfs.storage.interface import ObjectInfo, ObjectStore
from bucketfs.storage.throttled import looks_at_once

__all__ = ["AttributesPolicy", "Entry", "Finder", "Found"]

AttributesPolicy = Literal["auto", "exact", "listing"]
"""When attributes are asked for before a listing is given out.

auto: of small files in directories whose marker says that there may be symlinks, fifos, sockets or
devices. exact: of all small files, since each may be one. listing: never, and look-ups believe the
listing with the defaults as well.
"""

MAX_ENTRIES = 150_000
"""Entries of listings in memory, all directories together."""

_PAGES_FOR_LOOKUP = 2
"""Pages of a LIST that look-ups may cause; a directory of more is huge."""

_SERVED_FOR_PAGE = 25
"""Look-ups that the last listing of a directory answered, for each page that it may have more."""

_PAGE = 1000
"""Entries that are given out at once."""

_HUGE_FOR_S = 60.0
"""How long a huge directory is not listed again for look-ups."""


class Finder:
    """The names and attributes of a bucket, as far as they are known or can be asked for.

    Prefixes are "" for the root and "d/" for directory d in it; names are as shown (`keys`). All
    methods may run concurrently, in one trio thread. `nursery` runs requests that are shared; it
    must outlive every call. `remembered`: attributes that earlier mounts were told.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        ttl_s: float,
        defaults: Defaults,
        attributes_policy: AttributesPolicy = "auto",
        concurrency: int = 16,
        nursery: trio.Nursery,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        remembered: Remembered | None = None,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._changes: LocalChanges[Entry] = LocalChanges()
        self._listings = Listings(MAX_ENTRIES)
        self._prover = Prover(store, defaults, concurrency, wall_clock_ns, remembered)
        flights = Flights(nursery)
        self._sweeps = Sweeps(store, self._changes, self._listings, flights, ttl_s=ttl_s)
        self._questions = Questions(
            store,
            self._listings,
            self._changes,
            self._prover,
            flights,
            self._sweeps,
            ttl_s=ttl_s,
            policy=attributes_policy,
            concurrency=looks_at_once(concurrency),
        )
        self._streams: dict[str, ListStream] = {}

    async def find(self, prefix: str, name: str) -> Found | None:
        """Return what the bucket has as `name` in directory `prefix`; None: surely nothing.

        Does not yield where the answer is known. Raises: NameTooLong, StorageError.
        """
        while True:
            now_s = trio.current_time()
            if self._changes.is_hidden(prefix, name):
                return None
            is_known, entry = self._recall(prefix, name, now_s)
            if is_known and (entry is None or entry.is_proved(now_s)):
                return None if entry is None else self._found(entry, None)
            if entry is not None and is_known:
                answer = await self._questions.prove(prefix, entry)
            else:
                answer = await self._ask_name(prefix, name, now_s)
            if not answer.is_void:
                return None if answer.entry is None else self._found(answer.entry, answer.data)

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield each entry of directory `prefix` once; see `pages`."""
        listing = cast("AsyncGenerator[Sequence[Entry], None]", self.pages(prefix))
        async with aclosing(listing) as pages:
            async for page in pages:
                for entry in page:
                    yield entry

    async def pages(self, prefix: str) -> AsyncIterator[Sequence[Entry]]:
        """Yield the entries of directory `prefix`, each once, as pages of the listing come in.

        From memory while a listing is fresh. What this mount changes meanwhile may or may not be
        seen, as readdir(3) has it. Close it (`contextlib.aclosing`) if it is not read to its end.
        Raises: StorageError.
        """
        directory = self._listings.get(prefix)
        if directory is not None and directory.is_listed(trio.current_time()):
            self._sweeps.opened(prefix)
            known = list(directory.entries.values())
            for start in range(0, len(known), _PAGE):
                yield self._changes.visible(prefix, known[start : start + _PAGE])
            return
        reader = object()
        stream = self._join_stream(prefix, reader)
        count = 0
        try:
            while (page := await self._next_page(stream, reader)) is not None:
                count += 1
                if count > 1:
                    # Who came for a second page reads the directory to its end.
                    stream.run_ahead()
                yield page
            yield stream.made_since()
        finally:
            self._leave_stream(stream, reader)

    async def is_empty(self, prefix: str) -> bool:
        """Whether directory `prefix` has no entries, by the server's word of now.

        Its own marker and names that this mount removed do not count. Raises: StorageError.
        """
        return await self._questions.is_empty(prefix)

    def stored(self, prefix: str, name: str, info: ObjectInfo, attributes: Attributes) -> None:
        """Note that this mount stored a file: `info` and `attributes` are what the bucket has."""
        self._put(prefix, Entry(name, False, info, attributes.copy(), self._fresh_until_s()))

    def made_directory(
        self,
        prefix: str,
        name: str,
        info: ObjectInfo | None,
        attributes: Attributes,
        *,
        is_new: bool = False,
    ) -> None:
        """Note that this mount stored a directory's marker, or knows that it has none (None).

        `is_new`: nothing was below it, so that it need not be listed within the ttl.
        """
        entry = Entry(name, True, info, attributes.copy(), self._fresh_until_s())
        self._put(prefix, entry)
        if is_new and self._ttl_s > 0:
            below = self._listings.get_or_make(keys.directory_prefix(prefix, name))
            below.replace_all({}, entry.fresh_until_s)
            self._listings.added(1)

    def removed(self, prefix: str, name: str, *, is_deferred: bool = False) -> None:
        """Note that this mount removed a name.

        `is_deferred`: its object stays in the bucket for now; the name is absent here until
        `stored`, `made_directory` or another `removed` says that the key is settled.
        """
        if is_deferred:
            self._changes.hide(prefix, name)
        else:
            self._changes.changed(prefix, name, None)
        self._drop(prefix, name)

    def is_hidden(self, prefix: str, name: str) -> bool:
        """Whether a name is absent here by `removed(..., is_deferred=True)`."""
        return self._changes.is_hidden(prefix, name)

    def renamed_tree(self, old_prefix: str, new_prefix: str) -> None:
        """Note that this mount moved everything below `old_prefix` to `new_prefix`.

        The two names in their parents are changed with it. What was known below either is dropped.
        """
        for prefix in (old_prefix, new_prefix):
            self._changes.tree_changed(prefix)
            self._sweeps.tree_changed(prefix)
            self._listings.forget_tree(prefix)
            self._prover.forget_tree(prefix)
            self._streams = {
                listed: stream
                for listed, stream in self._streams.items()
                if not listed.startswith(prefix)
            }
        old_parent, old_segment = keys.split_key(old_prefix)
        self.removed(old_parent, keys.shown_segment(old_segment))
        new_parent, new_segment = keys.split_key(new_prefix)
        name = keys.shown_segment(new_segment)
        self._put(new_parent, Entry(name, True, None, None, self._fresh_until_s()))

    def doubt(self, prefix: str, name: str) -> None:
        """Note that a name is not what is known of it: the next look-up asks the bucket."""
        self._listings.doubt(prefix, name)

    async def target(self, info: ObjectInfo) -> bytes | None:
        """Return where a symlink leads to, if that is known."""
        return await self._prover.target(info)

    def learned_target(self, info: ObjectInfo, target: bytes) -> None:
        """Note where a symlink leads to, so that it need not be read again."""
        self._prover.learn_target(info, target)

    def opened(self, prefix: str, name: str) -> None:
        """Note that a file that was looked up is read, so that fetching small ones whole pays."""
        directory = self._listings.get(prefix)
        if directory is not None and name in directory.entries:
            directory.walk.opened()

    # -- the parts of a look-up

    def _recall(self, prefix: str, name: str, now_s: float) -> tuple[bool, Entry | None]:
        directory = self._listings.get(prefix)
        if directory is None:
            return False, None
        if directory.is_listed(now_s) or prefix in self._streams:
            directory.served += 1
            self._questions.look_ahead(prefix, directory, name, now_s)
        return directory.recall(name, now_s)

    async def _ask_name(self, prefix: str, name: str, now_s: float) -> Answer:
        if keys.is_digest(name):
            return await self._search(prefix, name)
        if self._ttl_s > 0 and not self._questions.is_asked(prefix, name):
            directory = self._listings.get_or_make(prefix)
            self._listings.added(1)
            if self._sweeps.has(prefix) or directory.is_worth_listing(now_s, self._ttl_s):
                await self._list_for_lookups(prefix, directory)
                is_known, entry = directory.recall(name, trio.current_time())
                if is_known:
                    return Answer() if entry is None else await self._prove(prefix, entry)
        try:
            return await self._questions.discover(prefix, name)
        except InvalidOperation:
            # A name in the form of an escape, under which nothing is ever shown.
            return Answer()

    async def _prove(self, prefix: str, entry: Entry) -> Answer:
        if entry.is_proved(trio.current_time()):
            return Answer(entry)
        return await self._questions.prove(prefix, entry)

    async def _search(self, prefix: str, name: str) -> Answer:
        """Look for a name that has no key of its own in the whole listing."""
        found = None
        async for entry in self.entries(prefix):
            if entry.name == name:
                found = entry
        return Answer() if found is None else await self._prove(prefix, found)

    async def _list_for_lookups(self, prefix: str, directory: Directory) -> None:
        # Who goes through a large directory for longer than the ttl needs it all once more.
        pages = max(_PAGES_FOR_LOOKUP, directory.served // _SERVED_FOR_PAGE)
        directory.served = 0
        reader = object()
        stream = self._join_stream(prefix, reader)
        try:
            for _ in range(pages):
                await self._next_page(stream, reader)
                if stream.is_complete:
                    return
            directory.huge_until_s = trio.current_time() + max(self._ttl_s, _HUGE_FOR_S)
        finally:
            self._leave_stream(stream, reader)

    def _found(self, entry: Entry, data: bytes | None) -> Found:
        if entry.attributes is None:
            raise AssertionError(f"{entry.name!r} is given out without attributes")
        if data is None and entry.info is not None:
            data = self._prover.take_parked(entry.info)
        return Found(
            entry.is_directory, entry.info, entry.attributes.copy(), data, entry.fresh_until_s
        )

    # -- listings under way

    def _join_stream(self, prefix: str, reader: object) -> ListStream:
        stream = self._streams.get(prefix)
        oldest_s = trio.current_time() - self._ttl_s
        if stream is None or not stream.is_kept or stream.is_complete or stream.begun_s <= oldest_s:
            stream = ListStream(
                self._sweeps.source(prefix),
                prefix,
                self._changes,
                self._questions.take_page,
                is_ordered=self._store.capabilities.listing_is_ordered,
            )
            self._streams[prefix] = stream
        stream.join(reader)
        return stream

    async def _next_page(self, stream: ListStream, reader: object) -> Sequence[Entry] | None:
        was_complete = stream.is_complete
        page = await stream.page(reader)
        if stream.is_complete and not was_complete:
            self._keep_listing(stream)
        return page

    def _keep_listing(self, stream: ListStream) -> None:
        """Remember a listing that has come to its end, and what it says of the directory itself."""
        listed_until_s = stream.begun_s + self._ttl_s
        is_current = self._streams.get(stream.prefix) is stream
        if not is_current or listed_until_s <= trio.current_time():
            return
        # ATOMIC: the listing as it came, and over it everything that this mount did meanwhile.
        self._questions.know_directory(stream, listed_until_s)
        if not stream.is_kept:
            return
        directory = self._listings.get_or_make(stream.prefix)
        entries = stream.entries()
        # What was asked for by name since a page came is newer than the page.
        for name, entry in directory.entries.items():
            listed = entries.get(name)
            if entry.fresh_until_s > (listed.fresh_until_s if listed else listed_until_s):
                entries[name] = entry
        for name, until_s in directory.absent.items():
            if name in entries and until_s > entries[name].fresh_until_s:
                del entries[name]
        for name, changed in self._changes.all_since(stream.moment, stream.prefix).items():
            if changed is None:
                entries.pop(name, None)
            else:
                entries[name] = changed
        directory.replace_all(entries, listed_until_s)
        self._listings.added(len(entries))

    def _leave_stream(self, stream: ListStream, reader: object) -> None:
        stream.leave(reader)
        is_over = stream.is_complete or not stream.has_readers
        if is_over and self._streams.get(stream.prefix) is stream:
            del self._streams[stream.prefix]

    def _fresh_until_s(self) -> float:
        return trio.current_time() + self._ttl_s

    def _put(self, prefix: str, entry: Entry) -> None:
        self._changes.changed(prefix, entry.name, entry)
        self._sweeps.drop_stale()
        self._drop(prefix, entry.name)
        if entry.info is not None and entry.attributes is not None:
            self._prover.believe(entry.info, entry.attributes)
        if self._ttl_s > 0:
            self._listings.get_or_make(prefix).put(entry)
            self._listings.added(1)

    def _drop(self, prefix: str, name: str) -> None:
        """Forget what was known of a name before this mount changed it.

        Proofs as well: a copy onto itself keeps the version and may keep the second.
        """
        directory = self._listings.get(prefix)
        known = directory.entries.pop(name, None) if directory is not None else None
        if directory is not None:
            directory.absent.pop(name, None)
        if known is not None and known.info is not None:
            self._prover.forget(known.info.key)
