"""Copies on the server: one request up to 5 GB, parts above; what cannot be copied is rewritten.

BOS refuses to copy an appendable object anywhere but onto itself. Such a one goes through this
machine, piece by piece, and becomes an ordinary object. So it does where only its attributes
change: an appendable object tells by its age when it grew, which a new date would spoil.
"""

from __future__ import annotations

import trio

from bucketfs.errors import ConfusedServer, ObjectChanged
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.documents import parse_tag
from bucketfs.storage.bos.headers import FORBID_OVERWRITE, NAMES, attribute_headers
from bucketfs.storage.bos.links import Links, is_link
from bucketfs.storage.bos.preconditions import BosGuard
from bucketfs.storage.bos.refusals import NotCopyable
from bucketfs.storage.bos.upload import copy_source
from bucketfs.storage.headers import copied_info
from bucketfs.storage.interface import (
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.part_copy import copy_by_parts

_REWRITE_BYTES = 8 << 20
_MOST_PARTS = 10_000
_ABORT_S = 30.0


class Copier:
    """Copies objects within one bucket, of which `store` is the whole."""

    def __init__(
        self, store: ObjectStore, calls: Calls, guard: BosGuard, links: Links, bucket: str
    ) -> None:
        self._store = store
        self._calls = calls
        self._guard = guard
        self._links = links
        self._bucket = bucket

    async def find_source(self, source: str, version: Version | None) -> ObjectInfo:
        """Return what is to be copied. Raises: ObjectNotFound, ObjectChanged (not `version`).

        What this store wrote within the last second is known without asking.
        """
        found = self._guard.recent(source)
        if found is None or found.version != version:
            found = await self._guard.stat(source)
        if version is None or found.version == version:
            return found
        if is_link(found.version) and self._links.is_listed_as(source, version):
            return found
        raise ObjectChanged("the source was replaced", key=source, operation="copy")

    async def copy(
        self,
        source: ObjectInfo,
        target: str,
        attributes: ObjectAttributes | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Copy this version of `source`; the contract is otherwise that of `ObjectStore.copy`."""
        if precondition is not None:
            await self._guard.check(target, precondition)
        known = ObjectAttributes(source.metadata or {}, source.content_type)
        if source.is_appendable:
            if source.key == target:
                precondition = precondition or Precondition(source.version)
            info = await rewrite(self._store, source, target, attributes or known, precondition)
            return await self._guard.wrote(info)
        if source.size > self._store.capabilities.max_copy:
            upload = await self._store.begin_upload(target, attributes or known)
            return await self._guard.wrote(await copy_by_parts(upload, source))
        try:
            info = await self._copy_whole(source, target, attributes, precondition)
        except NotCopyable:
            info = await rewrite(self._store, source, target, attributes or known, precondition)
        return await self._guard.wrote(info)

    async def _copy_whole(
        self,
        source: ObjectInfo,
        target: str,
        attributes: ObjectAttributes | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        headers = copy_source(self._bucket, source.key, source.version)
        headers["x-bce-metadata-directive"] = "copy" if attributes is None else "replace"
        if attributes is not None:
            headers.update(attribute_headers(attributes))
        if source.storage_class:
            headers[NAMES.storage_class] = source.storage_class  # Else it becomes STANDARD.
        if precondition is not None and precondition.version is None:
            headers[FORBID_OVERWRITE] = "true"
        response = await self._calls.send("PUT", "copy", target, headers=headers)
        self._calls.check_document(response, "copy", target)
        tag, modified_ns = parse_tag(response.body)
        if not tag:
            return await self._guard.stat(target)
        return copied_info(source, target, tag, modified_ns, attributes)


async def rewrite(
    store: ObjectStore,
    source: ObjectInfo,
    target: str,
    attributes: ObjectAttributes,
    precondition: Precondition | None,
) -> ObjectInfo:
    """Read this version of `source` and write it to `target`, by parts of at least 8 MiB.

    Raises: ObjectChanged (the source, or `precondition`), ObjectExists.
    """
    if source.size <= _REWRITE_BYTES:
        data = await _read(store, source, 0, source.size)
        return await store.write(target, BytesBody(data), attributes, precondition)
    size = max(_REWRITE_BYTES, -(-source.size // _MOST_PARTS))
    upload = await store.begin_upload(target, attributes)
    try:
        parts: list[Part] = []
        for start in range(0, source.size, size):
            data = await _read(store, source, start, min(size, source.size - start))
            parts.append(await upload.add_part(len(parts) + 1, BytesBody(data)))
        return await upload.commit(parts, precondition)
    except BaseException:
        with trio.CancelScope(deadline=trio.current_time() + _ABORT_S, shield=True):
            await upload.abort()
        raise


async def _read(store: ObjectStore, source: ObjectInfo, start: int, length: int) -> bytearray:
    data = bytearray(length)
    sink = MemorySink(data)
    await store.read_range(source.key, start, length, sink, source.version)
    if sink.received != length:
        raise ConfusedServer("fewer bytes came than there are", key=source.key, operation="copy")
    return data
