"""Appends: an object grows at its end, if it is as long as the caller knows.

The position is a compare-and-swap that costs nothing. COS answers with the sum of the whole
object; what it was before is remembered from the last append, or asked for once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachetools import LRUCache

from bucketfs.errors import ConfusedServer, ObjectChanged, ObjectNotFound
from bucketfs.storage.cos.headers import attribute_headers, checksum, object_info
from bucketfs.storage.cos.upload import Place
from bucketfs.storage.crc64 import SummedBody, joined
from bucketfs.storage.headers import seconds_ns, version_of
from bucketfs.storage.interface import Body, ObjectAttributes, ObjectInfo

_KNOWN_KEYS = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """How long an object is, and the CRC-64 of its bytes (None: the server does not say)."""

    size: int
    crc: int | None


class Appender:
    """Appends to objects of one bucket; new ones get `storage_class`."""

    def __init__(self, place: Place, storage_class: str | None) -> None:
        self._place = place
        self._storage_class = storage_class
        self._known: LRUCache[str, _Known] = LRUCache(_KNOWN_KEYS)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add `body` if the object is `position` long; at 0 it may be absent, and is then made.

        Raises: ObjectChanged, NotSupported (an object that was not made by appending),
        ConfusedServer (the object has other bytes now than it should).
        """
        before = await self._before(key, position)
        self._known.pop(key, None)
        self._place.guard.removed(key)
        summed = SummedBody(body)
        beside = (attributes or ObjectAttributes()) if position == 0 else None
        headers = {} if beside is None else attribute_headers(beside, self._storage_class)
        response = await self._place.calls.send(
            "POST",
            "append",
            key,
            query=[("append", ""), ("position", str(position))],
            headers=headers,
            body=summed,
            is_repeatable=False,
        )
        size = position + body.size
        crc = checksum(response.headers)
        if response.headers.get("x-cos-next-append-position", str(size)) != str(size):
            raise ConfusedServer("the object is not as long as it should be", key=key)
        if None not in (crc, before.crc) and crc != joined(before.crc or 0, summed.crc, body.size):
            raise ConfusedServer(
                "the object has other bytes than were appended", key=key, operation="append"
            )
        self._known[key] = _Known(size, crc)
        modified_ns = seconds_ns(response.headers.get("date"))
        version = version_of(response.headers.get("etag"), modified_ns, size)
        info = ObjectInfo(key, size, version, modified_ns, is_appendable=True)
        if beside is None:
            return info
        return replace(info, metadata=dict(beside.metadata), content_type=beside.content_type)

    async def _before(self, key: str, position: int) -> _Known:
        if position == 0:
            return _Known(0, 0)
        known = self._known.get(key)
        if known is not None and known.size == position:
            return known
        try:
            response = await self._place.calls.send("HEAD", "append", key)
        except ObjectNotFound as exc:
            raise ObjectChanged("the object is gone", key=key, operation="append") from exc
        size = object_info(key, response.headers).size
        if size != position:
            raise ObjectChanged(
                f"the object is {size} bytes long, not {position}", key=key, operation="append"
            )
        return _Known(size, checksum(response.headers))
