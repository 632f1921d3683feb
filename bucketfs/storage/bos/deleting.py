"""Deletes: one key with its version, or a thousand keys in a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

from bucketfs.errors import ObjectChanged, ObjectNotFound, StorageError
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.documents import delete_document, parse_refused
from bucketfs.storage.bos.keys import check_key
from bucketfs.storage.bos.preconditions import BosGuard
from bucketfs.storage.interface import Precondition, Version
from bucketfs.storage.parallel import run_all

BATCH_KEYS = 1000
_WIDTH = 8
_ABSENT = "NoSuchKey"


class Deleter:
    """Deletes objects of one bucket."""

    def __init__(self, calls: Calls, guard: BosGuard) -> None:
        self._calls = calls
        self._guard = guard

    async def delete(self, key: str, if_version: Version | None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`).

        BOS deletes unconditionally: a version is compared by a HEAD before.
        """
        if if_version is not None and not await self._is_there(key, if_version):
            return
        self._guard.removed(key)
        try:
            await self._calls.send("DELETE", "delete", key)
        except ObjectNotFound:
            return

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; return the error of each that was not deleted."""
        failures: dict[str, Exception] = {}
        singles: list[str] = []
        possible: list[str] = []
        for key in keys:
            try:
                check_key(key, "delete_many", is_new=False)
            except StorageError as exc:
                failures[key] = exc
            else:
                possible.append(key)
        waiting = iter(possible)
        while batch := list(islice(waiting, BATCH_KEYS)):
            singles += await self._delete_batch(batch, failures) if len(batch) > 1 else batch
        # What was refused is asked for once more by itself: the answer then has a status, and
        # passing errors are repeated by whoever repeats them everywhere else.
        await run_all((partial(self._delete_one, key, failures) for key in singles), _WIDTH)
        return failures

    async def _is_there(self, key: str, version: Version) -> bool:
        try:
            await self._guard.check(key, Precondition(version))
        except ObjectChanged as exc:
            if isinstance(exc.__cause__, ObjectNotFound):
                return False
            raise
        return True

    async def _delete_batch(
        self, keys: Sequence[str], failures: dict[str, Exception]
    ) -> Sequence[str]:
        """Delete `keys` in one request; return those that have to go one by one."""
        for key in keys:
            self._guard.removed(key)
        try:
            response = await self._calls.send(
                "POST",
                "delete_many",
                None,
                query=[("delete", "")],
                headers={"content-type": "application/json; charset=utf-8"},
                body=delete_document(keys),
            )
            refused = parse_refused(response.body)
        except StorageError as exc:
            failures.update(dict.fromkeys(keys, exc))
            return ()
        return [key for key, code in refused.items() if code != _ABSENT]

    async def _delete_one(self, key: str, failures: dict[str, Exception]) -> None:
        try:
            await self.delete(key, None)
        except StorageError as exc:
            failures[key] = exc
