"""Writer: objects stored whole by one PUT, and what arrived compared by its CRC-64."""

from __future__ import annotations

from collections.abc import Mapping

from bucketfs.errors import ConfusedServer
from bucketfs.storage.cos.headers import attribute_headers, checksum
from bucketfs.storage.cos.upload import Place
from bucketfs.storage.crc64 import SummedBody
from bucketfs.storage.headers import seconds_ns, version_of
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
)

_SENDINGS = 3
"""How often an object is sent that arrives as other bytes."""


class Writer:
    """Writes objects of one bucket."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        storage_class: str | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Store an object.

        What arrived as other bytes is sent again, now in any case: it is our own that is there.
        `modified_ns` of the result is the server's date of its answer: PUT does not tell the
        object's own, which is the same to the second or two.
        Raises: ObjectChanged, ObjectExists; ConfusedServer (other bytes arrive every time).
        """
        stored = attribute_headers(attributes, storage_class)
        guard = self._place.guard
        conditions = await guard.before_write(key, precondition)
        for _ in range(_SENDINGS):
            found = await self._put(
                key, body, {**stored, **conditions}, is_repeatable=not conditions
            )
            if found is not None:
                etag, modified_ns = found
                info = ObjectInfo(
                    key,
                    body.size,
                    version_of(etag, modified_ns, body.size),
                    modified_ns,
                    dict(attributes.metadata),
                    attributes.content_type,
                    storage_class,
                )
                return guard.wrote(info)
            conditions = {}
        raise ConfusedServer("every time other bytes arrived", key=key, operation="write")

    async def _put(
        self, key: str, body: Body, headers: Mapping[str, str], *, is_repeatable: bool
    ) -> tuple[str | None, int] | None:
        """Send an object; return its ETag and the server's time; None where other bytes arrived."""
        summed = SummedBody(body)
        response = await self._place.calls.send(
            "PUT", "write", key, headers=headers, body=summed, is_repeatable=is_repeatable
        )
        if checksum(response.headers) not in (None, summed.crc):
            return None
        return response.headers.get("etag"), seconds_ns(response.headers.get("date"))
