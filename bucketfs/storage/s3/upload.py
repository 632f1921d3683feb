"""S3Upload: one multipart upload.

Radosgw 16 ignores `x-amz-copy-source-if-match`. So elsewhere than at Amazon a source of parts is
compared by a HEAD before its first part and again before the commit: no object of mixed versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from bucketfs.errors import (
    ConfusedServer,
    NotSupported,
    ObjectNotFound,
)
from bucketfs.storage.calling import Sender
from bucketfs.storage.headers import (
    attribute_headers,
    has_etag,
    quoted,
    stored_info,
)
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.multipart import Multipart
from bucketfs.storage.s3.calls import Calls
from bucketfs.storage.s3.documents import (
    complete_document,
    is_named,
    parse_any,
    parse_fields,
    parse_items,
)
from bucketfs.storage.s3.preconditions import Guard
from bucketfs.transport.exchange import Response
from bucketfs.transport.sign_s3 import encode_path


class S3Upload(Multipart[Calls]):
    """A multipart upload of one key."""

    def __init__(
        self,
        calls: Calls,
        guard: Guard,
        bucket: str,
        key: str,
        attributes: ObjectAttributes,
        upload_id: str,
    ) -> None:
        super().__init__(calls, key, attributes, upload_id)
        self._guard = guard
        self._bucket = bucket
        self._sources: dict[str, Version] = {}

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`. Raises: ObjectNotFound where the upload is gone."""
        response = await self._calls.send_bytes(
            "add_part", self._key, body, query=self._query(number)
        )
        return self._part("add_part", number, response.headers.get("etag"), body.size)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make part `number` of `source`'s bytes. Raises: ObjectChanged, NotSupported."""
        if not self._guard.is_native and self._sources.get(source) != version:
            await self._guard.check(source, Precondition(version))
            self._sources[source] = version
        headers = {
            **copy_source(self._bucket, source, version),
            "x-amz-copy-source-range": f"bytes={start}-{start + length - 1}",
        }
        response = await self._calls.send(
            "PUT", "copy_part", self._key, query=self._query(number), headers=headers
        )
        self._calls.check_document(response, "copy_part", self._key)
        root, fields = parse_any(response.body)
        tag = fields.get("ETag", "").strip('"')
        if not is_named(root, "CopyPartResult") or not tag:
            # A server that does not know the header took an empty body for the part.
            self._calls.lacks_part_copy = True
            raise NotSupported(
                "the server does not copy parts", key=self._key, operation="copy_part"
            )
        return Part(number, tag, length)

    async def list_parts(self) -> Sequence[Part]:
        """Return what the store has. Raises: ObjectNotFound where the upload is gone."""
        return await list_parts(self._calls, self._key, self.upload_id)

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists; ObjectNotFound (no such upload).

        An upload that is gone because an earlier commit, whose answer was lost, did succeed, is a
        success: the object then has the ETag that these parts give.
        """
        headers: Mapping[str, str] = {}
        if precondition is not None and self._guard.is_native:
            headers = self._guard.native_headers(precondition)
        else:
            await self._check_all(precondition)
        try:
            with self._absence_told(precondition):
                info = await self._complete(parts, headers)
        except ObjectNotFound:
            info = await self._already_committed(joined_tag(parts), self._guard.stat)
        return await self._guard.wrote(info)

    async def _check_all(self, precondition: Precondition | None) -> None:
        if precondition is not None:
            await self._guard.check(self._key, precondition)
        for source, version in self._sources.items():
            expected = Precondition(version)
            if (source, expected) != (self._key, precondition):
                await self._guard.check(source, expected)

    async def _complete(self, parts: Sequence[Part], headers: Mapping[str, str]) -> ObjectInfo:
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
            return await self._guard.stat(self._key)
        size = sum(part.size for part in parts)
        return stored_info(self._key, size, fields["ETag"], response.headers, self._attributes)


async def list_parts(calls: Sender, key: str, upload_id: str) -> Sequence[Part]:
    """Return the parts of an upload that a server lists in XML, ascending by number.

    Raises: ObjectNotFound where the upload is gone, ConfusedServer.
    """
    parts: list[Part] = []
    marker = "0"
    while True:
        query = [("uploadId", upload_id), ("part-number-marker", marker)]
        response = await calls.send("GET", "list_parts", key, query=query)
        fields, items = parse_items(response.body, "ListPartsResult", "Part")
        try:
            parts += [
                Part(int(item["PartNumber"]), item["ETag"].strip().strip('"'), int(item["Size"]))
                for item in items
            ]
        except (KeyError, ValueError) as exc:
            raise ConfusedServer("a listed part is incomplete", key=key) from exc
        following = fields.get("NextPartNumberMarker", "")
        is_more = fields.get("IsTruncated", "").lower() == "true"
        if not is_more or not items or following == marker:
            return sorted(parts, key=lambda part: part.number)
        marker = following


def parse_upload_id(response: Response, key: str) -> str:
    """Return the id of an upload that was just begun. Raises: ConfusedServer (there is none)."""
    fields = parse_fields(response.body, "InitiateMultipartUploadResult")
    if not fields.get("UploadId"):
        raise ConfusedServer("an upload got no id", key=key, operation="begin_upload")
    return fields["UploadId"]


async def begin_upload(
    calls: Calls, guard: Guard, bucket: str, key: str, attributes: ObjectAttributes
) -> S3Upload:
    """Begin a multipart upload of `key`."""
    response = await calls.send(
        "POST",
        "begin_upload",
        key,
        query=[("uploads", "")],
        headers=attribute_headers(attributes),
    )
    upload_id = parse_upload_id(response, key)
    return S3Upload(calls, guard, bucket, key, attributes, upload_id)


def joined_tag(parts: Sequence[Part]) -> Version | None:
    """Return the ETag of an object of `parts`; None where the tag of some part is no MD5."""
    try:
        joined = b"".join(bytes.fromhex(part.tag) for part in parts)
    except ValueError:
        return None
    digest = hashlib.md5(joined, usedforsecurity=False).hexdigest()
    return Version(f"{digest}-{len(parts)}")


def copy_source(bucket: str, key: str, version: Version | None) -> dict[str, str]:
    """Return the headers that name what is copied, and its version where the server knows it."""
    headers = {"x-amz-copy-source": encode_path(f"{bucket}/{key}")}
    if version is not None and has_etag(version):
        headers["x-amz-copy-source-if-match"] = quoted(version)
    return headers
