"""Deletes: one key with its version, or a thousand keys in a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from bucketfs.errors import InvalidKey, ObjectChanged, ObjectNotFound, StorageError
from bucketfs.storage.interface import Version
from bucketfs.storage.kodo.batches import BATCH_KEYS, send_batch
from bucketfs.storage.kodo.calls import Calls, check_key
from bucketfs.storage.kodo.preconditions import Guard, Stat
from bucketfs.storage.kodo.refusals import NO_SUCH_OBJECT
from bucketfs.transport.sign_kodo import entry


class Deleter:
    """Deletes objects of one bucket."""

    def __init__(self, calls: Calls, guard: Guard, stat: Stat) -> None:
        self._calls = calls
        self._guard = guard
        self._stat = stat

    async def delete(self, key: str, if_version: Version | None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""
        check_key(key, "delete")
        if if_version is not None and not await self._is_there(key, if_version):
            return
        self._guard.forget(key)
        with suppress(ObjectNotFound):
            await self._calls.manage("rs", "delete", key, f"/{self._operation(key)}")
        self._guard.is_absent(key)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; return the error of each that was not deleted."""
        failures: dict[str, Exception] = {}
        waiting = iter(keys)
        while batch := list(islice(waiting, BATCH_KEYS)):
            fit = []
            for key in batch:
                try:
                    check_key(key, "delete_many")
                except InvalidKey as exc:
                    failures[key] = exc
                else:
                    fit.append(key)
            if fit:
                await self._delete_batch(fit, failures)
        return failures

    async def _delete_batch(self, keys: Sequence[str], failures: dict[str, Exception]) -> None:
        for key in keys:
            self._guard.forget(key)
        targets = [self._operation(key) for key in keys]
        try:
            answers = await send_batch(
                self._calls, "delete_many", None, targets, is_repeatable=True
            )
        except StorageError as exc:
            failures.update(dict.fromkeys(keys, exc))
            return
        for key, answer in zip(keys, answers, strict=True):
            if answer.is_done or answer.status == NO_SUCH_OBJECT:
                self._guard.is_absent(key)
            else:
                failures[key] = answer.error("delete_many", key)

    async def _is_there(self, key: str, version: Version) -> bool:
        recent = self._guard.written(key)
        if recent is not None and recent.version == version:
            return True
        try:
            found = await self._stat(key)
        except ObjectNotFound:
            return False
        if found.version != version:
            raise ObjectChanged("the object was replaced", key=key, operation="delete")
        return True

    def _operation(self, key: str) -> str:
        return f"delete/{entry(self._calls.bucket, key)}"
