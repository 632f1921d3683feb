"""Appends as Ceph's radosgw has them: `PUT KEY?append&position=N`.

A server that does not know this takes such a request for an ordinary PUT and replaces the object by
what was to be added to it. So none is sent before the server has told of some object whether it is
"Appendable", as radosgw does in every HEAD and GET. Amazon's own way (`x-amz-write-offset-bytes`)
works in directory buckets only and is ignored elsewhere, with the same harm: it is never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bucketfs.errors import ConfusedServer, NotSupported, ObjectNotFound
from bucketfs.storage.headers import attribute_headers, object_info, stored_info
from bucketfs.storage.interface import Body, ObjectAttributes, ObjectInfo
from bucketfs.storage.s3.calls import Calls
from bucketfs.storage.s3.preconditions import Guard

_TYPE_HEADER = "x-rgw-object-type"
_NEXT_HEADER = "x-rgw-next-append-position"


class Appender:
    """Appends to objects of one bucket, once `seen` has shown that its server can do that."""

    def __init__(self, calls: Calls, guard: Guard) -> None:
        self.is_possible = False
        """Whether the server is known to append."""
        self._calls = calls
        self._guard = guard

    def seen(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        """Return the info that the headers of a HEAD or GET carry; learn from them.

        Raises: ConfusedServer.
        """
        info = object_info(key, headers)
        kind = headers.get(_TYPE_HEADER)
        if kind is None:
            return info
        self.is_possible = True
        return replace(info, is_appendable=kind.lower() == "appendable")

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None
    ) -> ObjectInfo:
        """Add to the end if the object is `position` long; at 0 it may be absent.

        The server replaces what stands beside the object every time; without `attributes` it is
        asked for first. The answer has an ETag that the object does not keep, hence a HEAD after
        it. Raises: ObjectChanged, NotSupported (the object was not made by appends, or the server
        does not append).
        """
        if not self.is_possible:
            raise NotSupported("the server cannot append", key=key, operation="append")
        beside = attributes or await self._beside(key)
        self._guard.removed(key)
        response = await self._calls.send(
            "PUT",
            "append",
            key,
            query=[("append", ""), ("position", str(int(position)))],
            headers=attribute_headers(beside),
            body=body,
            is_repeatable=False,
        )
        size = position + body.size
        if response.headers.get(_NEXT_HEADER) != str(size):
            raise ConfusedServer(
                f"the object should be {size} bytes long now", key=key, operation="append"
            )
        etag = response.headers.get("etag")
        info = stored_info(key, size, etag, response.headers, beside)
        shown = await self._shown(key)
        if shown is None or shown.size != size:
            return replace(info, is_appendable=True)  # Others went on from there, or deleted it.
        return shown

    async def _beside(self, key: str) -> ObjectAttributes:
        found = await self._shown(key)
        if found is None:
            return ObjectAttributes()
        return ObjectAttributes(found.metadata or {}, found.content_type)

    async def _shown(self, key: str) -> ObjectInfo | None:
        try:
            return await self._guard.stat(key)
        except ObjectNotFound:
            return None
