"""Questions about single names, and what their answers and the pages of listings are taken for.

Here an answer of the server meets what is known already and what this mount did meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import trio

from bucketfs.errors import ObjectNotFound, StorageError
from bucketfs.namespace import keys, liststream
from bucketfs.namespace.flights import Flights
from bucketfs.namespace.listings import Directory, Entry, Listings
from bucketfs.namespace.listpage import Line
from bucketfs.namespace.liststream import ListStream
from bucketfs.namespace.lookups import Lookups, Proofs
from bucketfs.namespace.masking import LocalChanges, Moment
from bucketfs.namespace.prover import Proof, Prover
from bucketfs.namespace.sweeps import Sweeps
from bucketfs.storage.interface import ObjectInfo, ObjectStore

SMALL_BYTES = 128 << 10
"""Up to here fetching an object takes about as long as asking for its attributes."""

AHEAD_BYTES = 16 << 10
"""Up to here files are fetched before anybody asks for them."""

MAYBE_SPECIAL_BYTES = 4096
"""Symlinks (PATH_MAX), fifos, sockets and devices are objects smaller than this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said of a name: `entry`, proved, or None: there is nothing.

    `is_void`: a directory around it was renamed meanwhile, so that the answer says nothing.
    """

    entry: Entry | None = None
    data: bytes | None = None
    is_void: bool = False


class Questions:
    """Asks about names and takes answers in. With a ttl of 0 nothing is shared or remembered."""

    def __init__(
        self,
        store: ObjectStore,
        listings: Listings,
        changes: LocalChanges[Entry],
        prover: Prover,
        flights: Flights,
        sweeps: Sweeps,
        *,
        ttl_s: float,
        policy: str,
        concurrency: int,
    ) -> None:
        self._store = store
        self._listings = listings
        self._changes = changes
        self._prover = prover
        self._flights = flights
        self._sweeps = sweeps
        self._lookups = Lookups(store, prover, sweeps)
        self._ttl_s = ttl_s
        self._policy = policy
        self._max_window = concurrency * 2

    def is_asked(self, prefix: str, name: str) -> bool:
        """Whether `discover` of that name is under way, so that joining it costs nothing."""
        return self._flights.is_under_way(("name", prefix, name))

    async def discover(self, prefix: str, name: str) -> Answer:
        """Ask whether there is a file or a directory of that name, both at once.

        Raises: NameTooLong, InvalidOperation (no possible name), StorageError.
        """
        if self._ttl_s <= 0:
            return await self._discover(prefix, name)
        return await self._flights.join(
            ("name", prefix, name), partial(self._discover, prefix, name)
        )

    async def prove(self, prefix: str, entry: Entry) -> Answer:
        """Ask for the attributes of an entry that a listing shows. Raises: StorageError."""
        if self._ttl_s <= 0:
            return await self._prove(prefix, entry, with_data=False)
        with_data = self._may_fetch(prefix, entry)
        return await self._flights.join(
            ("entry", prefix, entry.name), partial(self._prove, prefix, entry, with_data=with_data)
        )

    def look_ahead(self, prefix: str, directory: Directory, name: str, now_s: float) -> None:
        """Note a look-up in a directory that is, or is being, listed; begin the next proofs."""
        if self._policy == "listing":
            return
        names, positions = directory.order(name)
        position = positions.get(name)
        if position is None:
            return
        for index in directory.walk.advance(position, self._max_window):
            if index >= len(names):
                break
            entry = directory.entries.get(names[index])
            if entry is None or entry.is_proved(now_s):
                continue
            if not entry.is_directory or self._is_worth_proving(prefix, entry.name):
                self._launch(prefix, entry, directory.walk.reads_files)

    async def take_page(
        self, prefix: str, lines: Sequence[Line], moment: Moment, asked_s: float
    ) -> list[Entry]:
        """Make entries of a page of the listing of `prefix`; see `liststream.TakePage`."""
        if self._policy != "listing":
            await self._prover.recollect_page(prefix, lines)
        directory = self._listings.get(prefix)
        entries = []
        for line in lines:
            change = self._changes.since(moment, prefix, line.name)
            if change is None:
                entries.append(self._entry_of(directory, line, asked_s))
            elif change.entry is not None:
                entries.append(change.entry)
        if self._is_to_be_proved(prefix):
            await self._prove_small(prefix, entries)
        if self._ttl_s > 0:
            # Who looks each name up as it comes, as ls -l does, need not wait for the end.
            directory = self._listings.get_or_make(prefix)
            for entry in entries if len(directory) <= liststream.MAX_KEPT else ():
                if self._changes.since(moment, prefix, entry.name) is None:
                    directory.put(entry)
            self._listings.added(len(entries))
        return entries

    async def is_empty(self, prefix: str) -> bool:
        """Whether directory `prefix` has no entries; see `Finder.is_empty`."""
        marker = None
        with self._changes.request() as moment:
            while True:
                limit = 2 + self._changes.hidden_in(prefix)
                page = await self._store.list_page(
                    prefix, "/", marker=marker, limit=min(limit, 1000)
                )
                names = [keys.shown_segment(below[len(prefix) : -1]) for below in page.prefixes]
                names += [
                    keys.shown_file(info.key[len(prefix) :])
                    for info in page.objects
                    if info.key != prefix
                ]
                for name in names:
                    change = self._changes.since(moment, prefix, name)
                    is_removed = change is not None and change.entry is None
                    if not is_removed and not self._changes.is_hidden(prefix, name):
                        return False
                marker = page.next_marker
                if marker is None:
                    return True

    def know_directory(self, stream: ListStream, until_s: float) -> None:
        """Take from a directory's own listing whether its marker is still the one that is known."""
        if not stream.prefix:
            return
        parent, segment = keys.split_key(stream.prefix)
        name = keys.shown_segment(segment)
        around = self._listings.get(parent)
        known = around.entries.get(name) if around is not None else None
        if around is None or known is None or not known.is_directory:
            return
        if self._changes.since(stream.moment, parent, name):
            return
        if stream.marker is not None:
            proof = self._prover.recall(stream.marker)
            if proof is not None:
                around.put(Entry(name, True, proof.info, proof.attributes, until_s))
        elif known.info is None and known.attributes is not None and stream.count:
            around.put(Entry(name, True, None, known.attributes, until_s))

    # -- one name

    async def _discover(self, prefix: str, name: str) -> Answer:
        limit = self._store.capabilities.max_key
        key = keys.file_key(prefix, name, limit)
        segment = keys.segment_of(name)
        with self._changes.request() as moment:
            asked_s = trio.current_time()
            file, directory = await self._ask_both(prefix, name, key, moment)
            entry = None
            until_s = asked_s + self._ttl_s
            if directory is not None:
                shown = keys.shown_segment(segment)
                entry = Entry(shown, True, directory.info, directory.attributes, until_s)
                self._take(prefix, moment, entry)
            if file is not None:
                file = self._as_policy_has_it(file)
                shown = keys.shown_file(segment, is_shadowed=directory is not None)
                of_file = Entry(shown, False, file.info, file.attributes, until_s)
                self._take(prefix, moment, of_file)
                if entry is None or shown == name:
                    entry = of_file
            if entry is not None and entry.name != name:
                # An escaped name whose file needs no escape, or the reverse.
                entry = None
            answer = self._settle(prefix, name, moment, entry, until_s)
        if file is None or answer.entry is not entry or entry is None or entry.is_directory:
            return answer
        return Answer(entry, file.data)

    async def _ask_both(self, prefix: str, name: str, key: str, moment: Moment) -> Proofs:
        """Return the proofs of the file `key` and of the directory of that name."""
        asked_s = trio.current_time()
        around = self._listings.get(prefix)
        # One of the many files of a huge directory is likely to be there: one round trip for both.
        is_huge = around is not None and around.huge_until_s > asked_s
        if is_huge or not self._lookups.lists_first:
            return await self._lookups.at_once(key)

        async def prove(info: ObjectInfo) -> Proof:
            if self._policy == "listing":
                return self._prover.guess(info)
            entry = Entry(name, False, info, None, asked_s)
            return await self._ask_proof(prefix, entry, self._may_fetch(prefix, entry))

        return await self._lookups.by_listing(key, prove, moment, asked_s)

    async def _prove(self, prefix: str, entry: Entry, *, with_data: bool) -> Answer:
        with self._changes.request() as moment:
            asked_s = trio.current_time()
            try:
                proof = await self._ask_proof(prefix, entry, with_data)
            except ObjectNotFound:
                # The listing is older than this answer.
                return self._settle(prefix, entry.name, moment, None, asked_s + self._ttl_s)
            until_s = asked_s + self._ttl_s
            proved = Entry(entry.name, entry.is_directory, proof.info, proof.attributes, until_s)
            answer = self._settle(prefix, entry.name, moment, proved, until_s)
        if answer.entry is not proved:
            return answer
        return Answer(proved, proof.data)

    async def _ask_proof(self, prefix: str, entry: Entry, with_data: bool) -> Proof:
        if entry.is_directory:
            if keys.is_digest(entry.name):
                return self._prover.without_marker()
            return await self._lookups.listed_directory(keys.directory_prefix(prefix, entry.name))
        if entry.info is None:
            return await self._prover.ask_file(keys.file_key(prefix, entry.name))
        info = entry.info
        if not with_data:
            return await self._prover.ask_file(info.key)
        directory = self._listings.get(prefix)
        if directory is not None:
            directory.walk.fetched()
        return await self._prover.ask_file(info.key, info.size, with_data=True)

    def _as_policy_has_it(self, proof: Proof) -> Proof:
        """Return what all look-ups say under this policy, however the object was asked for."""
        if self._policy != "listing" or proof.info is None:
            return proof
        return self._prover.guess(replace(proof.info, metadata=None))

    def _may_fetch(self, prefix: str, entry: Entry) -> bool:
        if entry.info is None or entry.is_directory or not 0 < entry.info.size <= SMALL_BYTES:
            return False
        directory = self._listings.get(prefix)
        return directory is not None and directory.walk.may_fetch

    # -- taking answers

    def _settle(
        self, prefix: str, name: str, moment: Moment, entry: Entry | None, until_s: float
    ) -> Answer:
        """Take what the server said of `name`, or what this mount did to it since `moment`."""
        if self._changes.is_tree_changed_since(moment, prefix):
            return Answer(is_void=True)
        change = self._changes.since(moment, prefix, name)
        if change is not None:
            # A change that left attributes open (a renamed directory) is asked for anew.
            return Answer(change.entry, is_void=_is_open(change.entry))
        if entry is not None:
            self._take(prefix, moment, entry)
        elif self._ttl_s > 0:
            directory = self._listings.get_or_make(prefix)
            directory.entries.pop(name, None)
            directory.absent[name] = until_s
            self._listings.added(1)
        return Answer(entry)

    def _take(self, prefix: str, moment: Moment, entry: Entry) -> None:
        is_outdated = self._changes.since(
            moment, prefix, entry.name
        ) or self._changes.is_tree_changed_since(moment, prefix)
        if self._ttl_s > 0 and not is_outdated:
            self._listings.get_or_make(prefix).put(entry)
            self._listings.added(1)

    def _entry_of(self, directory: Directory | None, line: Line, asked_s: float) -> Entry:
        """Return the entry of a line, with attributes where they are proved already."""
        until_s = asked_s + self._ttl_s
        is_directory = line.info is None
        if line.info is not None:
            if line.info.metadata is not None or self._policy == "listing":
                # Few stores list metadata; where one does, this is no guess.
                proof: Proof | None = self._prover.guess(line.info)
            else:
                proof = self._prover.recall(line.info)
            if proof is not None:
                return Entry(line.name, False, proof.info, proof.attributes, until_s)
        elif self._policy == "listing" or line.is_implicit:
            proof = self._prover.without_marker()
            return Entry(line.name, True, None, proof.attributes, until_s)
        elif line.marker is not None:
            proof = self._prover.recall(line.marker)
            if proof is not None:
                return Entry(line.name, True, proof.info, proof.attributes, until_s)
        known = directory.entries.get(line.name) if directory is not None else None
        if (
            known is not None
            and known.is_directory == is_directory
            and known.is_proved(asked_s)
            and (line.info is None or known.info is None or known.info.version == line.info.version)
        ):
            return known
        return Entry(line.name, is_directory, line.info, None, until_s)

    # -- many names

    def _is_to_be_proved(self, prefix: str) -> bool:
        """Whether the types of small files must be proved before a listing is given out."""
        if self._policy != "auto" or not prefix:
            return self._policy == "exact"
        parent, segment = keys.split_key(prefix)
        around = self._listings.get(parent)
        entry = around.entries.get(keys.shown_segment(segment)) if around is not None else None
        # Old attributes will do: a marker that has said so once will not unsay it.
        return entry is not None and bool(entry.attributes and entry.attributes.holds_special)

    async def _prove_small(self, prefix: str, entries: list[Entry]) -> None:
        """Replace unproved small files in `entries` by proved ones, in parallel.

        One that cannot be proved stays as it is: the listing itself is true, and whoever looks the
        file up gets the error.
        """

        async def prove(index: int) -> None:
            # Not shared: waiting for one that waits for the limiter would be a deadlock.
            async with self._prover.ahead:
                try:
                    answer = await self._prove(prefix, entries[index], with_data=False)
                except StorageError:
                    return
            gone[index] = answer.entry is None
            if answer.entry is not None:
                entries[index] = answer.entry

        gone: dict[int, bool] = {}
        async with trio.open_nursery() as nursery:
            for index, entry in enumerate(entries):
                info = entry.info
                if entry.attributes is None and info and info.size < MAYBE_SPECIAL_BYTES:
                    nursery.start_soon(prove, index)
        entries[:] = [entry for index, entry in enumerate(entries) if not gone.get(index)]

    def _is_worth_proving(self, prefix: str, name: str) -> bool:
        """Whether a directory is to be proved ahead: unless a sweep does it without asking."""
        return not keys.is_digest(name) and not self._sweeps.is_to_tell(
            keys.directory_prefix(prefix, name)
        )

    def _launch(self, prefix: str, entry: Entry, reads_files: bool) -> None:
        info = entry.info
        with_data = reads_files and info is not None and 0 < info.size <= AHEAD_BYTES
        self._flights.launch(
            ("entry", prefix, entry.name), partial(self._prove_ahead, prefix, entry, with_data)
        )

    async def _prove_ahead(self, prefix: str, entry: Entry, with_data: bool) -> Answer:
        async with self._prover.ahead:
            answer = await self._prove(prefix, entry, with_data=with_data)
        if answer.entry is not None and answer.entry.info is not None and answer.data is not None:
            self._prover.park(answer.entry.info, answer.data)
        return Answer(answer.entry, is_void=answer.is_void)


def _is_open(entry: Entry | None) -> bool:
    return entry is not None and entry.attributes is None
