"""BOS's header names, and what its answers say beyond S3's. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from bucketfs.errors import ConfusedServer, InvalidRequest
from bucketfs.storage import headers as shared
from bucketfs.storage.headers import HeaderNames
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo

NAMES = HeaderNames(
    "x-bce-meta-",
    "x-bce-storage-class",
    ("cache-control", "content-disposition", "content-encoding", "expires"),
)
MAX_METADATA_BYTES = 2048
"""Names with their prefix, and values, together."""
CRC32_HEADER = "x-bce-content-crc32"
FORBID_OVERWRITE = "x-bce-forbid-overwrite"
_TYPE_HEADER = "x-bce-object-type"
_NEXT_OFFSET_HEADER = "x-bce-next-append-offset"
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


def object_info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """Return the info that the headers of a HEAD or GET carry. Raises: ConfusedServer."""
    info = shared.object_info(key, headers, NAMES)
    return replace(info, is_appendable=_kind(headers) == "appendable")


def attribute_headers(attributes: ObjectAttributes) -> dict[str, str]:
    """Return the headers that store `attributes`. Raises: InvalidRequest (too much, or names)."""
    headers = shared.attribute_headers(attributes, NAMES)
    used = sum(
        len(name) + len(value)
        for name, value in headers.items()
        if name.startswith(NAMES.metadata_prefix)
    )
    if used > MAX_METADATA_BYTES:
        raise InvalidRequest(f"BOS keeps {MAX_METADATA_BYTES} bytes of metadata, not {used}")
    # Without a type the server would choose one of its own.
    headers.setdefault("content-type", "application/octet-stream")
    return headers


def is_symlink(headers: Mapping[str, str]) -> bool:
    """Return whether a HEAD or GET went to a native symlink: the rest is of its target."""
    return _kind(headers) == "symlink"


def next_offset(headers: Mapping[str, str]) -> int | None:
    """Return how long an appendable object is, None where the answer does not say it."""
    text = headers.get(_NEXT_OFFSET_HEADER)
    if text is None:
        return None
    if not text.isdecimal():
        raise ConfusedServer(f"{text!r} is no offset")
    return int(text)


def crc32_of(headers: Mapping[str, str]) -> int | None:
    """Return the CRC32 that the server states, None where it states none."""
    text = headers.get(CRC32_HEADER, "")
    return int(text) if text.isdecimal() else None


def is_md5(tag: str) -> bool:
    """Return whether an ETag is the MD5 of the bytes (of parts and appends it is another thing)."""
    return _MD5.fullmatch(tag) is not None


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get(_TYPE_HEADER, "").lower()
