"""Copies on the server; and by way of this machine what COS does not copy: appendable objects."""

from __future__ import annotations

from collections.abc import Mapping

from bucketfs.errors import ConfusedServer, InvalidRequest, NotSupported, ObjectChanged
from bucketfs.storage.cos.headers import (
    APPENDABLE,
    attribute_headers,
    checksum,
    copy_source,
    object_info,
    object_kind,
)
from bucketfs.storage.cos.upload import Place, begin_upload
from bucketfs.storage.cos.writing import Writer
from bucketfs.storage.headers import copied_info, iso_ns
from bucketfs.storage.interface import (
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.part_copy import copy_by_parts
from bucketfs.storage.remote_body import RemoteBody
from bucketfs.storage.s3.documents import parse_fields

NO_HEADERS: Mapping[str, str] = {}


class Copier:
    """Copies objects within one bucket; `max_copy` is the most bytes of one copy request."""

    def __init__(self, place: Place, writer: Writer, max_copy: int) -> None:
        self._place = place
        self._writer = writer
        self._calls = place.calls
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
        second): its size, type and storage class decide how.
        """
        guard = self._place.guard
        found, shown = guard.recent(source), NO_HEADERS
        if found is None or found.version != source_version:
            shown = (await self._calls.send("HEAD", "copy", source)).headers
            found = object_info(source, shown)
        if source_version is not None and found.version != source_version:
            raise ObjectChanged("the source was replaced", key=source, operation="copy")
        if object_kind(shown) == APPENDABLE:
            return await self._rewrite(found, target, attributes, precondition)
        if found.size > self._max_copy:
            beside = attributes or attributes_of(found)
            upload = await begin_upload(self._place, target, beside, found.storage_class)
            return await copy_by_parts(upload, found, precondition)
        headers = await guard.before_write(target, precondition)
        try:
            info = await self._copy_whole(found, shown, target, attributes, headers)
        except (InvalidRequest, NotSupported):
            if object_kind(shown) is not None or shown is NO_HEADERS:
                raise
            # A server that does not tell types: it may be an appendable object all the same.
            return await self._rewrite(found, target, attributes, precondition)
        return guard.wrote(info)

    async def _copy_whole(
        self,
        source: ObjectInfo,
        shown: Mapping[str, str],
        target: str,
        attributes: ObjectAttributes | None,
        conditions: Mapping[str, str],
    ) -> ObjectInfo:
        # COS takes neither storage class nor, when replacing, anything else from the source.
        headers = {
            **attribute_headers(attributes or ObjectAttributes(), source.storage_class),
            **copy_source(self._calls.address.host, source.key, source.version),
            **conditions,
            "x-cos-metadata-directive": "Copy" if attributes is None else "Replaced",
        }
        response = await self._calls.send(
            "PUT", "copy", target, headers=headers, is_repeatable=not conditions
        )
        self._calls.check_document(response, "copy", target)
        fields = parse_fields(response.body, "CopyObjectResult")
        if not fields.get("ETag"):
            raise ConfusedServer("a copy got no ETag", key=target, operation="copy")
        sums = checksum(shown), checksum({"x-cos-hash-crc64ecma": fields.get("CRC64", "")})
        if None not in sums and sums[0] != sums[1]:
            raise ConfusedServer("the copy has other bytes", key=target, operation="copy")
        modified_ns = iso_ns(fields.get("LastModified", ""))
        return copied_info(source, target, fields["ETag"], modified_ns, attributes)

    async def _rewrite(
        self,
        source: ObjectInfo,
        target: str,
        attributes: ObjectAttributes | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Read and write; an appendable object is never larger than one PUT."""
        if precondition is None and source.key == target:
            precondition = Precondition(source.version)
        body = RemoteBody(self._place.store, source)
        beside = attributes or attributes_of(source)
        return await self._writer.write(target, body, beside, source.storage_class, precondition)


def attributes_of(info: ObjectInfo) -> ObjectAttributes:
    """Return what stands beside an object."""
    return ObjectAttributes(info.metadata or {}, info.content_type)
