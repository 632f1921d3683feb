"""Copies on the server: one request up to 5 GiB, parts side by side above."""

from __future__ import annotations

from bucketfs.errors import ObjectChanged
from bucketfs.storage.headers import attribute_headers, copied_info, iso_ns
from bucketfs.storage.interface import (
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.part_copy import copy_by_parts
from bucketfs.storage.s3.calls import Calls
from bucketfs.storage.s3.documents import parse_fields
from bucketfs.storage.s3.preconditions import Guard
from bucketfs.storage.s3.upload import begin_upload, copy_source


class Copier:
    """Copies objects within one bucket; `max_copy` is the most bytes of one copy request."""

    def __init__(self, calls: Calls, guard: Guard, bucket: str, max_copy: int) -> None:
        self._calls = calls
        self._guard = guard
        self._bucket = bucket
        self._max_copy = max_copy

    async def copy(
        self,
        source: str,
        target: str,
        attributes: ObjectAttributes | None,
        source_version: Version | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Copy; the contract is that of `ObjectStore.copy`.

        The source is looked at first (unless this very version was written here within the last
        second): its size decides how, and its version is demanded of servers that compare it.
        """
        found = self._guard.recent(source)
        if found is None or found.version != source_version:
            found = await self._guard.stat(source)
        if source_version is not None and found.version != source_version:
            raise ObjectChanged("the source was replaced", key=source, operation="copy")
        if precondition is not None:
            await self._guard.check(target, precondition)
        if found.is_appendable and attributes is None:
            # Copied as it is, it would be another object that grows, of which Ceph's documents say
            # nothing; with its attributes sent anew it becomes an ordinary one.
            attributes = ObjectAttributes(found.metadata or {}, found.content_type)
        if found.size <= self._max_copy:
            info = await self._copy_whole(found, target, attributes)
        else:
            info = await self._copy_parts(found, target, attributes)
        return await self._guard.wrote(info)

    async def _copy_whole(
        self, source: ObjectInfo, target: str, attributes: ObjectAttributes | None
    ) -> ObjectInfo:
        headers = copy_source(self._bucket, source.key, source.version)
        headers["x-amz-metadata-directive"] = "COPY" if attributes is None else "REPLACE"
        if attributes is not None:
            headers.update(attribute_headers(attributes))
        response = await self._calls.send("PUT", "copy", target, headers=headers)
        self._calls.check_document(response, "copy", target)
        fields = parse_fields(response.body, "CopyObjectResult")
        if not fields.get("ETag"):
            return await self._guard.stat(target)
        modified_ns = iso_ns(fields.get("LastModified", ""))
        return copied_info(source, target, fields["ETag"], modified_ns, attributes)

    async def _copy_parts(
        self, source: ObjectInfo, target: str, attributes: ObjectAttributes | None
    ) -> ObjectInfo:
        if attributes is None:
            attributes = ObjectAttributes(source.metadata or {}, source.content_type)
        upload = await begin_upload(self._calls, self._guard, self._bucket, target, attributes)
        return await copy_by_parts(upload, source)
