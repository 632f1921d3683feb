"""CosUpload: one multipart upload, compared by CRC-64 part by part and as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bucketfs.errors import (
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
)
from bucketfs.storage.cos.calls import Calls
from bucketfs.storage.cos.headers import (
    attribute_headers,
    check_sum,
    checksum,
    copy_source,
    object_info,
)
from bucketfs.storage.cos.preconditions import Guard
from bucketfs.storage.crc64 import SummedBody, joined
from bucketfs.storage.headers import stored_info
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.multipart import Multipart
from bucketfs.storage.refusals import InvalidRange
from bucketfs.storage.remote_body import RemoteBody
from bucketfs.storage.s3.documents import complete_document, parse_fields
from bucketfs.storage.s3.upload import list_parts, parse_upload_id


@dataclass(frozen=True, slots=True)
class Place:
    """What every upload to a bucket needs: who sends, who compares, and where to read from."""

    calls: Calls
    guard: Guard
    store: ObjectStore


class CosUpload(Multipart[Calls]):
    """A multipart upload of one key."""

    def __init__(
        self,
        place: Place,
        key: str,
        attributes: ObjectAttributes,
        storage_class: str | None,
        upload_id: str,
    ) -> None:
        super().__init__(place.calls, key, attributes, upload_id)
        self._place = place
        self._storage_class = storage_class
        self._sums: dict[Part, int] = {}
        self._was_tried = False  # A commit may have been done although nobody heard of it.

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`. Raises: ObjectNotFound where the upload is gone."""
        summed = SummedBody(body)
        response = await self._calls.send(
            "PUT", "add_part", self._key, query=self._query(number), body=summed
        )
        check_sum(response.headers, summed.crc, self._key, "add_part")
        part = self._part("add_part", number, response.headers.get("etag"), body.size)
        self._sums[part] = summed.crc
        return part

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make part `number` of `source`'s bytes. Raises: ObjectChanged.

        What COS does not copy (appendable objects) is read and sent.
        """
        headers = {
            **copy_source(self._calls.address.host, source, version),
            "x-cos-copy-source-range": f"bytes={start}-{start + length - 1}",
        }
        try:
            response = await self._calls.send(
                "PUT", "copy_part", self._key, query=self._query(number), headers=headers
            )
        except InvalidRange:
            raise
        except (NotSupported, InvalidRequest):
            origin = ObjectInfo(source, start + length, version, 0)
            body = RemoteBody(self._place.store, origin, start, length)
            return await self.add_part(number, body)
        self._calls.check_document(response, "copy_part", self._key)
        fields = parse_fields(response.body, "CopyPartResult")
        part = self._part("copy_part", number, fields.get("ETag"), length)
        crc = checksum(response.headers)
        if crc is not None:
            self._sums[part] = crc
        return part

    async def list_parts(self) -> Sequence[Part]:
        """Return what the store has. Raises: ObjectNotFound where the upload is gone."""
        return await list_parts(self._calls, self._key, self.upload_id)

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists; ObjectNotFound (no such upload).

        Where an earlier commit, whose answer was lost, did succeed, this is a success too: the
        object then has the size and CRC-64 of these parts.
        Raises: ConfusedServer where the object that was made has other bytes.
        """
        expected = self._expected_sum(parts)
        was_tried = self._was_tried
        try:
            headers = await self._place.guard.before_write(self._key, precondition)
            self._was_tried = True
            info = await self._complete(parts, headers, expected)
        except (ObjectChanged, ObjectNotFound) as exc:
            may_be_ours = was_tried or isinstance(exc, ObjectNotFound)
            found = await self._committed_before(parts, expected) if may_be_ours else None
            if found is None:
                raise
            info = found
        return self._place.guard.wrote(info)

    async def _complete(
        self, parts: Sequence[Part], headers: Mapping[str, str], expected: int | None
    ) -> ObjectInfo:
        response = await self._calls.send(
            "POST",
            "commit",
            self._key,
            query=self._query(),
            headers={**headers, "content-type": "application/xml"},
            body=complete_document(parts),
            is_repeatable=not headers,
        )
        self._calls.check_document(response, "commit", self._key)
        fields = parse_fields(response.body, "CompleteMultipartUploadResult")
        if not fields.get("ETag"):
            raise ConfusedServer("a commit got no ETag", key=self._key, operation="commit")
        found = checksum(response.headers)
        if found is not None and expected is not None and found != expected:
            raise ConfusedServer(
                "the object has other bytes than its parts", key=self._key, operation="commit"
            )
        return stored_info(
            self._key,
            sum(part.size for part in parts),
            fields["ETag"],
            response.headers,
            self._attributes,
            self._storage_class,
        )

    async def _committed_before(
        self, parts: Sequence[Part], expected: int | None
    ) -> ObjectInfo | None:
        """Return the object if it is surely the one of `parts`."""
        if expected is None:
            return None
        try:
            response = await self._calls.send("HEAD", "commit", self._key)
        except ObjectNotFound:
            return None
        info = object_info(self._key, response.headers)
        is_ours = checksum(response.headers) == expected
        return info if is_ours and info.size == sum(part.size for part in parts) else None

    def _expected_sum(self, parts: Sequence[Part]) -> int | None:
        """Return the CRC-64 of all parts in a row; None where one was sent by another process."""
        crc = 0
        for part in parts:
            if part not in self._sums:
                return None
            crc = joined(crc, self._sums[part], part.size)
        return crc


async def begin_upload(
    place: Place, key: str, attributes: ObjectAttributes, storage_class: str | None
) -> CosUpload:
    """Begin a multipart upload of `key`."""
    response = await place.calls.send(
        "POST",
        "begin_upload",
        key,
        query=[("uploads", "")],
        headers=attribute_headers(attributes, storage_class),
    )
    return CosUpload(place, key, attributes, storage_class, parse_upload_id(response, key))
