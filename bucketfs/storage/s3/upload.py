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
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
)
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
from bucketfs.storage.s3.calls import Calls
from bucketfs.storage.s3.documents import (
    complete_document,
    is_named,
    parse_any,
    parse_fields,
    parse_items,
)
from bucketfs.storage.s3.preconditions import Guard
from bucketfs.transport.sign_s3 import encode_path


class S3Upload:
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
        self.upload_id = upload_id
        self._calls = calls
        self._guard = guard
        self._bucket = bucket
        self._key = key
        self._attributes = attributes
        self._sources: dict[str, Version] = {}

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`. Raises: ObjectNotFound where the upload is gone."""
        response = await self._calls.send(
            "PUT", "add_part", self._key, query=self._query(number), body=body
        )
        tag = response.headers.get("etag", "").strip('"')
        if not tag:
            raise ConfusedServer("a part got no ETag", key=self._key, operation="add_part")
        return Part(number, tag, body.size)

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
        parts: list[Part] = []
        marker = "0"
        while True:
            response = await self._calls.send(
                "GET",
                "list_parts",
                self._key,
                query=[("uploadId", self.upload_id), ("part-number-marker", marker)],
            )
            fields, items = parse_items(response.body, "ListPartsResult", "Part")
            try:
                parts += [
                    Part(
                        int(item["PartNumber"]), item["ETag"].strip().strip('"'), int(item["Size"])
                    )
                    for item in items
                ]
            except (KeyError, ValueError) as exc:
                raise ConfusedServer("a listed part is incomplete", key=self._key) from exc
            following = fields.get("NextPartNumberMarker", "")
            is_more = fields.get("IsTruncated", "").lower() == "true"
            if not is_more or not items or following == marker:
                return sorted(parts, key=lambda part: part.number)
            marker = following

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
            info = await self._complete(parts, headers)
        except ObjectNotFound:
            info = await self._already_committed(parts)
        except ObjectChanged as exc:
            if precondition is None or precondition.version is not None:
                raise
            raise ObjectExists(
                "an object is there already", key=self._key, operation="commit"
            ) from exc
        return await self._guard.wrote(info)

    async def abort(self) -> None:
        """Drop the upload; one that is gone already is no error."""
        try:
            await self._calls.send("DELETE", "abort", self._key, query=self._query())
        except ObjectNotFound:
            return

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

    async def _already_committed(self, parts: Sequence[Part]) -> ObjectInfo:
        gone = ObjectNotFound("the upload is gone", key=self._key, operation="commit")
        try:
            digest = hashlib.md5(
                b"".join(bytes.fromhex(part.tag) for part in parts), usedforsecurity=False
            )
            info = await self._guard.stat(self._key)
        except (ValueError, ObjectNotFound) as exc:
            raise gone from exc
        if info.version != f"{digest.hexdigest()}-{len(parts)}":
            raise gone
        return info

    def _query(self, number: int | None = None) -> list[tuple[str, str]]:
        query = [("uploadId", self.upload_id)]
        if number is not None:
            query.append(("partNumber", str(number)))
        return query


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
    fields = parse_fields(response.body, "InitiateMultipartUploadResult")
    if not fields.get("UploadId"):
        raise ConfusedServer("an upload got no id", key=key, operation="begin_upload")
    return S3Upload(calls, guard, bucket, key, attributes, fields["UploadId"])


def copy_source(bucket: str, key: str, version: Version | None) -> dict[str, str]:
    """Return the headers that name what is copied, and its version where the server knows it."""
    headers = {"x-amz-copy-source": encode_path(f"{bucket}/{key}")}
    if version is not None and has_etag(version):
        headers["x-amz-copy-source-if-match"] = quoted(version)
    return headers
