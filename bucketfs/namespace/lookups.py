"""What is asked of the server about one name, so that the fewest requests say the most."""

from __future__ import annotations

import trio

from bucketfs.errors import NameTooLong, ObjectNotFound, StorageError
from bucketfs.namespace import keys
from bucketfs.namespace.prover import Proof, Prover
from bucketfs.namespace.sweeps import Sweeps
from bucketfs.storage.interface import ObjectStore


class Lookups:
    """Asks about names. It remembers nothing."""

    def __init__(self, store: ObjectStore, prover: Prover, sweeps: Sweeps) -> None:
        self._store = store
        self._prover = prover
        self._sweeps = sweeps

    async def both(self, key: str) -> tuple[Proof | None, Proof | None]:
        """Return the proofs of the file `key` and of the directory of that name."""
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

    async def listed_directory(self, prefix: str) -> Proof:
        """Return the proof of a directory that is there; without asking, if a sweep has it."""
        known = await self._sweeps.marker_soon(prefix)
        if known is None:
            return await self._prover.ask_marker(prefix)
        if known.marker is None:
            return self._prover.without_marker()
        return self._prover.recall(known.marker) or await self._prover.ask_marker(prefix)
