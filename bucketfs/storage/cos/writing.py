"""Writer: objects stored whole by one PUT, and what arrived compared by its CRC-64."""

from __future__ import annotations

from collections.abc import Mapping

from bucketfs.errors import ConfusedServer
from bucketfs.storage.cos.headers import attribute_headers, checksum
from bucketfs.storage.cos.upload import Place
from bucketfs.storage.crc64 import SummedBody
from bucketfs.storage.headers import stored_info
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
                etag = found.get("etag")
                info = stored_info(key, body.size, etag, found, attributes, storage_class)
                return guard.wrote(info)
            conditions = {}
        raise ConfusedServer("every time other bytes arrived", key=key, operation="write")

    async def _put(
        self, key: str, body: Body, headers: Mapping[str, str], *, is_repeatable: bool
    ) -> Mapping[str, str] | None:
        """Send an object; return the answer's headers; None where other bytes arrived."""
        summed = SummedBody(body)
        response = await self._place.calls.send(
            "PUT", "write", key, headers=headers, body=summed, is_repeatable=is_repeatable
        )
        if checksum(response.headers) not in (None, summed.crc):
            return None
        return response.headers
