"""What COS says of an object in headers, in the seam's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bucketfs.errors import Transient
from bucketfs.storage import headers as shared
from bucketfs.storage.headers import HeaderNames, has_etag, quoted
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Version
from bucketfs.transport.sign_cos import encode_path

NAMES = HeaderNames("x-cos-meta-", "x-cos-storage-class")
APPENDABLE = "appendable"


def object_info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """Return the info that the headers of a HEAD or GET carry. Raises: ConfusedServer."""
    info = shared.object_info(key, headers, NAMES)
    return replace(info, is_appendable=object_kind(headers) == APPENDABLE)


def attribute_headers(
    attributes: ObjectAttributes, storage_class: str | None = None
) -> dict[str, str]:
    """Return the headers that store `attributes`. Raises: InvalidRequest (impossible names)."""
    headers = shared.attribute_headers(attributes, NAMES)
    if storage_class:
        headers[NAMES.storage_class] = storage_class
    return headers


def copy_source(host: str, key: str, version: Version | None) -> dict[str, str]:
    """Return the headers that name what is copied, and the version that it must have."""
    headers = {"x-cos-copy-source": f"{host}/{encode_path(key)}"}
    if version is not None and has_etag(version):
        headers["x-cos-copy-source-if-match"] = quoted(version)
    return headers


def object_kind(headers: Mapping[str, str]) -> str | None:
    """Return `normal` or `appendable`; None where the server does not say."""
    return headers.get("x-cos-object-type")


def checksum(headers: Mapping[str, str]) -> int | None:
    """Return the CRC-64 of the whole object (or of the part that was sent), None without one."""
    value = headers.get("x-cos-hash-crc64ecma", "")
    return int(value) if value.isdigit() else None


def check_sum(headers: Mapping[str, str], expected: int, key: str, operation: str) -> None:
    """Raise Transient where the server stored other bytes than were sent."""
    found = checksum(headers)
    if found is not None and found != expected:
        raise Transient(
            f"the server has other bytes than were sent (CRC-64 {found}, not {expected})",
            key=key,
            operation=operation,
            request_id=headers.get("x-cos-request-id"),
        )
