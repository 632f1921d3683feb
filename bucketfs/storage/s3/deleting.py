"""Deletes: one key with its version, or a thousand keys in a request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby, islice

from bucketfs.errors import (
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
)
from bucketfs.storage.calling import Sender
from bucketfs.storage.comparing import Comparer
from bucketfs.storage.interface import Precondition, Version
from bucketfs.storage.parallel import run_all
from bucketfs.storage.s3.documents import delete_document, is_xml_text, parse_items

BATCH_KEYS = 1000
_WIDTH = 8
_MARKERS_LOOKED_AT = 3


class Deleter:
    """Deletes objects of one bucket.

    `deletes_markers`: whether batches delete markers; None: to be learnt from the first that is
    there, and until then they are deleted one by one.
    """

    def __init__(self, calls: Sender, guard: Comparer, deletes_markers: bool | None = None) -> None:
        self._calls = calls
        self._guard = guard
        self._has_batches = True
        self._deletes_markers = deletes_markers

    async def delete(self, key: str, if_version: Version | None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""
        headers: dict[str, str] = {}
        if if_version is not None and self._guard.is_native:
            headers = self._guard.native_headers(Precondition(if_version))
        elif if_version is not None and not await self._is_there(key, if_version):
            return
        self._guard.removed(key)
        try:
            await self._calls.send("DELETE", "delete", key, headers=headers)
        except ObjectNotFound:
            return

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; return the error of each that was not deleted."""
        failures: dict[str, Exception] = {}
        singles: list[str] = []
        waiting = iter(keys)
        while batch := list(islice(waiting, BATCH_KEYS)):
            known = await self._marker_there(batch) if self._has_batches else None
            fit = [key for key in batch if self._fits_batch(key) or key == known]
            if len(fit) > 1:
                singles += set(batch).difference(fit)
                singles += await self._delete_batch(fit, failures)
                singles += await self._left_marker(known)
            else:
                singles += batch
        await self._delete_singly(singles, failures)
        return failures

    def _fits_batch(self, key: str) -> bool:
        """Say whether a batch deletes `key`: XML cannot carry every one."""
        if key.endswith("/") and not self._deletes_markers:
            return False
        return self._has_batches and is_xml_text(key)

    async def _marker_there(self, batch: Sequence[str]) -> str | None:
        """Return a marker by which is learnt whether batches delete them; None: there is none.

        Of one that is not there nothing could be learnt.
        """
        if self._deletes_markers is not None:
            return None
        markers = (key for key in batch if key.endswith("/") and is_xml_text(key))
        for key in islice(markers, _MARKERS_LOOKED_AT):
            with suppress(StorageError):
                await self._guard.stat(key)
                return key
        return None

    async def _left_marker(self, marker: str | None) -> Sequence[str]:
        """Return the marker if a batch has left it although it said nothing of it: JuiceFS does."""
        if marker is None or not self._has_batches:
            return ()
        try:
            await self._guard.stat(marker)
        except ObjectNotFound:
            self._deletes_markers = True
            return ()
        except StorageError:
            return [marker]
        self._deletes_markers = False
        return [marker]

    async def _delete_singly(self, keys: Iterable[str], failures: dict[str, Exception]) -> None:
        """Delete one by one, side by side; what lies deeper first: so folders are empty then."""
        for _, level in groupby(sorted(keys, key=_depth, reverse=True), key=_depth):
            await run_all((partial(self._delete_one, key, failures) for key in level), _WIDTH)

    async def _is_there(self, key: str, version: Version) -> bool:
        recent = self._guard.recent(key)
        if recent is not None and recent.version == version:
            return True
        try:
            found = await self._guard.stat(key)
        except ObjectNotFound:
            return False
        if found.version != version:
            raise ObjectChanged("the object was replaced", key=key, operation="delete")
        return True

    async def _delete_batch(
        self, keys: Sequence[str], failures: dict[str, Exception]
    ) -> Sequence[str]:
        """Delete `keys` in one request; return those that have to go one by one."""
        for key in keys:
            self._guard.removed(key)
        body = delete_document(keys)
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        headers = {
            "content-md5": base64.b64encode(digest).decode("ascii"),
            "content-type": "application/xml",
        }
        try:
            response = await self._calls.send(
                "POST", "delete_many", None, query=[("delete", "")], headers=headers, body=body
            )
            _, refused = parse_items(response.body, "DeleteResult", "Error")
        except (NotSupported, InvalidRequest, ConfusedServer):
            self._has_batches = False
            return keys
        except StorageError as exc:
            failures.update(dict.fromkeys(keys, exc))
            return ()
        # What was refused is asked for once more by itself: the answer then has a status, and
        # passing errors are repeated by whoever repeats them everywhere else.
        return [item["Key"] for item in refused if item.get("Key")]

    async def _delete_one(self, key: str, failures: dict[str, Exception]) -> None:
        try:
            await self.delete(key, None)
        except StorageError as exc:
            failures[key] = exc


def _depth(key: str) -> int:
    return key.rstrip("/").count("/")
