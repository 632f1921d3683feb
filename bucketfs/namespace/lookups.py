"""What is asked of the server about one name, so that the fewest requests say the most.

A listing of all keys that begin like the name shows the file and the directory of that name, or
that there is neither: one request. It tells whether the directory has a marker, and what is in it
if that is little. Only the attributes of a file, or of a marker, cost a second one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from bucketfs.errors import NameTooLong, ObjectNotFound, StorageError
from bucketfs.namespace import keys
from bucketfs.namespace.masking import Moment
from bucketfs.namespace.pagesource import named_once
from bucketfs.namespace.prover import Proof, Prover
from bucketfs.namespace.sweeps import Sweeps
from bucketfs.storage.interface import KeyMarker, ListPage, ObjectInfo, ObjectStore
from bucketfs.storage.key_order import key_bytes

WIDE = 1000
"""Keys of a listing that may bring all of a directory along."""

NARROW = 16
"""Keys of one that only looks for the name: "name", "name-...", "name.txt" come before "name/"."""

ProveFile = Callable[[ObjectInfo], Awaitable[Proof]]

Proofs = tuple[Proof | None, Proof | None]
"""Of the file, and of the directory, of one name; None: there is none."""


class Lookups:
    """Asks about names. What it learns of directories it gives to `sweeps`."""

    def __init__(self, store: ObjectStore, prover: Prover, sweeps: Sweeps) -> None:
        self._store = store
        self._prover = prover
        self._sweeps = sweeps

    @property
    def lists_first(self) -> bool:
        """Whether a listing of a name costs no more than a HEAD, and tells the truth in order."""
        has = self._store.capabilities
        return has.is_remote and has.listing_is_ordered

    async def by_listing(
        self, key: str, prove_file: ProveFile, moment: Moment, asked_s: float
    ) -> Proofs:
        """Return the proofs of a name from a listing of it, which begins now.

        `prove_file` asks for the attributes of the file. Raises: StorageError.
        """
        is_wide = self._sweeps.may_plant
        limit = WIDE if is_wide else NARROW
        page = named_once(await self._store.list_page(key, "", limit=limit))
        file = page.objects[0] if page.objects and page.objects[0].key == key else None
        prefix = key + "/"
        below = [info for info in page.objects if info.key.startswith(prefix)]
        if below:
            self._plant(prefix, page, below, moment, asked_s)
            marker = below[0] if below[0].key == prefix else None
            directory: Proof | None = await self._of_marker(prefix, marker)
        elif page.next_marker is None or key_bytes(page.objects[-1].key) > key_bytes(prefix):
            directory = None
        else:
            # So many other names begin like this one.
            directory = await self._directory(prefix)
        if file is None:
            return None, directory
        await self._prover.recollect([key])
        try:
            return self._prover.recall(file) or await prove_file(file), directory
        except ObjectNotFound:
            return None, directory

    async def at_once(self, key: str) -> Proofs:
        """Return the proofs of a name by asking for both at the same time. Raises: StorageError."""
        outcomes: dict[str, Proof | StorageError | None] = {}

        async def ask(kind: str) -> None:
            try:
                if kind == "file":
                    outcomes[kind] = await self._prover.ask_file(key)
                else:
                    outcomes[kind] = await self._directory(key + "/")
            except ObjectNotFound:
                outcomes[kind] = None
            except StorageError as error:
                outcomes[kind] = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "directory")
            await ask("file")
        file, directory = outcomes["file"], outcomes["directory"]
        for outcome in (file, directory):
            if isinstance(outcome, StorageError):
                raise outcome
        return file, directory  # type: ignore[return-value]

    async def listed_directory(self, prefix: str) -> Proof:
        """Return the proof of a directory that is there; without asking, if a sweep has it."""
        known = await self._sweeps.marker_soon(prefix)
        if known is None and self._prover.was_told(prefix):
            # A listing will do, of its neighbours too, unless all of this is new.
            known = await self._sweeps.marker_listed(prefix)
        if known is None:
            return await self._prover.ask_marker(prefix)
        return await self._of_marker(prefix, known.marker)

    async def _directory(self, prefix: str) -> Proof | None:
        """Return the proof of directory `prefix` if anything is below it or its marker is there."""
        try:
            keys.check_key(prefix, self._store.capabilities.max_key)
        except NameTooLong:
            return None
        page = await self._store.list_page(prefix, "/", limit=1)
        if not page.objects and not page.prefixes:
            return None
        # In order of keys the marker comes before everything below it.
        has_marker = bool(page.objects) and page.objects[0].key == prefix
        if not has_marker and self._store.capabilities.listing_is_ordered:
            return self._prover.without_marker()
        return await self._prover.ask_marker(prefix)

    async def _of_marker(self, prefix: str, marker: ObjectInfo | None) -> Proof:
        """Return the proof of a directory from what a listing shows of its marker."""
        if marker is None:
            return self._prover.without_marker(prefix)
        await self._prover.recollect([prefix])
        return self._prover.recall(marker) or await self._prover.ask_marker(prefix)

    def _plant(
        self, prefix: str, page: ListPage, below: list[ObjectInfo], moment: Moment, asked_s: float
    ) -> None:
        """Keep what a listing shows below a directory for whoever opens it."""
        is_whole = page.next_marker is None or page.objects[-1] is not below[-1]
        if is_whole or self._store.capabilities.key_markers:
            following = None if is_whole else KeyMarker(below[-1].key)
            self._sweeps.plant(prefix, ListPage(below, [], following), moment, asked_s)
