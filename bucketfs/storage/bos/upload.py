"""BosUpload: one multipart upload, verified by the CRC32 of each part and of the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bucketfs.errors import ObjectChanged, ObjectNotFound
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.checksums import SummedBody, combined_crc32
from bucketfs.storage.bos.documents import (
    complete_document,
    parse_parts,
    parse_tag,
    parse_upload_id,
    parse_uploads,
)
from bucketfs.storage.bos.headers import CRC32_HEADER, attribute_headers, is_md5
from bucketfs.storage.bos.preconditions import BosGuard
from bucketfs.storage.bos.refusals import UploadNotFound
from bucketfs.storage.calling import page_query
from bucketfs.storage.headers import has_etag, stored_info
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    Part,
    PendingUpload,
    Precondition,
    Version,
)
from bucketfs.storage.multipart import Multipart
from bucketfs.transport.sign_bos import encode_path


class BosUpload(Multipart[Calls]):
    """A multipart upload of one key."""

    def __init__(
        self,
        calls: Calls,
        guard: BosGuard,
        bucket: str,
        key: str,
        attributes: ObjectAttributes,
        upload_id: str,
    ) -> None:
        super().__init__(calls, key, attributes, upload_id)
        self._guard = guard
        self._bucket = bucket
        self._checksums: dict[Part, int] = {}

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`. Raises: ObjectNotFound where the upload is gone."""
        summed = SummedBody(body)
        response = await self._calls.send(
            "PUT", "add_part", self._key, query=self._query(number), body=summed
        )
        part = self._part("add_part", number, response.headers.get("etag"), body.size)
        self._checksums[part] = summed.crc32
        return part

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make part `number` of `source`'s bytes. Raises: ObjectChanged, NotSupported."""
        headers = {
            **copy_source(self._bucket, source, version),
            "x-bce-copy-source-range": f"bytes={start}-{start + length - 1}",
        }
        response = await self._calls.send(
            "PUT", "copy_part", self._key, query=self._query(number), headers=headers
        )
        self._calls.check_document(response, "copy_part", self._key)
        tag, _ = parse_tag(response.body)
        return self._part("copy_part", number, tag, length)

    async def list_parts(self) -> Sequence[Part]:
        """Return what the store has. Raises: ObjectNotFound where the upload is gone."""
        parts: list[Part] = []
        marker = 0
        while True:
            query = [("uploadId", self.upload_id), ("partNumberMarker", str(marker))]
            response = await self._calls.send("GET", "list_parts", self._key, query=query)
            page, following = parse_parts(response.body)
            parts += page
            if following is None or following <= marker:
                return sorted(parts, key=lambda part: part.number)
            marker = following

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists; ObjectNotFound (no such upload).

        An upload that is gone because an earlier commit, whose answer was lost, did succeed, is a
        success: the object then has the ETag that these parts give.
        """
        await self._guard.check_unkept(self._key, precondition)
        try:
            with self._absence_told(precondition):
                info = await self._complete(parts, precondition)
        except UploadNotFound:
            info = await self._already_committed(joined_tag(parts), self._guard.stat)
        except ObjectNotFound as exc:
            raise ObjectChanged("the object is gone", key=self._key, operation="commit") from exc
        return await self._guard.wrote(info)

    async def _complete(
        self, parts: Sequence[Part], precondition: Precondition | None
    ) -> ObjectInfo:
        headers = {
            **self._guard.native_headers(precondition),
            "content-type": "application/json; charset=utf-8",
        }
        if parts and all(part in self._checksums for part in parts):
            sums = [(self._checksums[part], part.size) for part in parts]
            headers[CRC32_HEADER] = str(combined_crc32(sums))
        response = await self._calls.send(
            "POST",
            "commit",
            self._key,
            query=self._query(),
            headers=headers,
            body=complete_document(parts),
            is_repeatable=precondition is None,
        )
        self._calls.check_document(response, "commit", self._key)
        tag, _ = parse_tag(response.body)
        if not tag:
            return await self._guard.stat(self._key)
        size = sum(part.size for part in parts)
        return stored_info(self._key, size, tag, response.headers, self._attributes)


async def list_uploads(calls: Calls, prefix: str) -> Sequence[PendingUpload]:
    """Return the uploads of keys that begin with `prefix`.

    BOS goes on after a key: where a page of a thousand ends between two uploads of one key, the
    later one is not told before the earlier one is gone. Raises: AccessDenied, ConfusedServer.
    """
    found: list[PendingUpload] = []
    marker = ""
    while True:
        query = [("uploads", ""), *page_query(prefix, "", ("keyMarker", marker or None))]
        response = await calls.send("GET", "list_uploads", None, query=query)
        page, following = parse_uploads(response.body)
        found += page
        if following is None or following == marker:
            return found
        marker = following


async def begin_upload(
    calls: Calls,
    guard: BosGuard,
    bucket: str,
    key: str,
    attributes: ObjectAttributes,
    further_headers: dict[str, str],
) -> BosUpload:
    """Begin a multipart upload of `key`; `further_headers` are of the object as it will be."""
    response = await calls.send(
        "POST",
        "begin_upload",
        key,
        query=[("uploads", "")],
        headers={**further_headers, **attribute_headers(attributes)},
    )
    upload_id = parse_upload_id(response.body)
    return BosUpload(calls, guard, bucket, key, attributes, upload_id)


def joined_tag(parts: Sequence[Part]) -> Version | None:
    """Return the ETag of an object of `parts`: of one its own, of several `-` and an MD5.

    That MD5 is over the text of the parts' ETags, not over the bytes which that text stands for.
    None: the ETag of some part is no MD5.
    """
    if not parts or not all(is_md5(part.tag) for part in parts):
        return None
    if len(parts) == 1:
        return Version(parts[0].tag)
    joined = "".join(part.tag for part in parts).encode()
    return Version(f"-{hashlib.md5(joined, usedforsecurity=False).hexdigest()}")


def copy_source(bucket: str, key: str, version: Version | None) -> dict[str, str]:
    """Return the headers that name what is copied, and its version where the server knows it."""
    headers = {"x-bce-copy-source": encode_path(f"/{bucket}/{key}")}
    if version is not None and has_etag(version):
        headers["x-bce-copy-source-if-match"] = version
    return headers
