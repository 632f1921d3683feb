"""HTTP headers <-> what the seam calls an object's info and attributes. Pure.

S3 keeps some standard headers beside an object (Cache-Control and the like). The seam has no word
for them, so they travel as metadata under their name with a colon before it, which no metadata of
S3 can have: who writes back what was read, as every layer above does, loses none of them.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache

from bucketfs.errors import ConfusedServer, InvalidRequest
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Version

METADATA_PREFIX = "x-amz-meta-"
_KEPT_MARK = ":"
_SYNTHETIC = "~"
"""Begins a version that was made of size and date, where a server gives no ETag."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN = re.compile(r"(?! )[ -~]*(?<! )")
_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(=\?)")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """What a dialect calls its headers (lower-case).

    `metadata_prefix` begins user metadata, `storage_class` is the header of that, and `kept` are
    the standard headers that the cloud keeps beside an object.
    """

    metadata_prefix: str
    storage_class: str
    kept: tuple[str, ...] = (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        "expires",
    )


AMAZON = HeaderNames(
    METADATA_PREFIX,
    "x-amz-storage-class",
    (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("expires", "x-amz-website-redirect-location"),
    ),
)


def version_of(etag: str | None, modified_ns: int, size: int) -> Version:
    """Return the version that an ETag names; without one, a stand-in of date and size."""
    tag = (etag or "").strip().removeprefix("W/").strip('"')
    return Version(tag or f"{_SYNTHETIC}{modified_ns // 10**9}-{size}")


def has_etag(version: Version) -> bool:
    """Return whether the server itself knows this version (and can compare it)."""
    return not version.startswith(_SYNTHETIC)


def quoted(version: Version) -> str:
    """Return a version as the value of If-Match."""
    return f'"{version}"'


@lru_cache(maxsize=1024)
def seconds_ns(date: str | None) -> int:
    """Return an HTTP date in ns since 1970, 0 where there is none."""
    parsed = parsedate_tz(date) if date else None
    return mktime_tz(parsed) * 10**9 if parsed else 0


@lru_cache(maxsize=4096)
def iso_ns(date: str) -> int:
    """Return an ISO 8601 date of a document in ns since 1970, whole seconds as HEAD gives them."""
    try:
        return int(datetime.fromisoformat(date).timestamp()) * 10**9 if date else 0
    except ValueError as exc:
        raise ConfusedServer(f"{date!r} is not a date") from exc


def object_info(key: str, headers: Mapping[str, str], names: HeaderNames = AMAZON) -> ObjectInfo:
    """Return the info that the headers of a HEAD or GET carry. Raises: ConfusedServer."""
    bounds = content_range(headers)
    length = headers.get("content-length")
    if bounds is not None:
        size = bounds[2]
    elif length is not None and length.isdigit():
        size = int(length)
    else:
        raise ConfusedServer("the answer does not say how large the object is", key=key)
    modified_ns = seconds_ns(headers.get("last-modified"))
    return ObjectInfo(
        key,
        size,
        version_of(headers.get("etag"), modified_ns, size),
        modified_ns,
        metadata_from(headers, names),
        headers.get("content-type"),
        headers.get(names.storage_class),
    )


def stored_info(
    key: str,
    size: int,
    etag: str | None,
    answer: Mapping[str, str],
    attributes: ObjectAttributes,
    storage_class: str | None = None,
) -> ObjectInfo:
    """Return the info of what was just stored; `answer` are the headers that said so.

    Answers to a PUT or a commit do not tell the object's own time: theirs is the same to the second
    or two.
    """
    modified_ns = seconds_ns(answer.get("date"))
    return ObjectInfo(
        key,
        size,
        version_of(etag, modified_ns, size),
        modified_ns,
        dict(attributes.metadata),
        attributes.content_type,
        storage_class,
    )


def copied_info(
    source: ObjectInfo,
    key: str,
    etag: str,
    modified_ns: int,
    attributes: ObjectAttributes | None,
) -> ObjectInfo:
    """Return the info of a copy of `source`; `attributes` None: it has those of the source."""
    version = version_of(etag, modified_ns, source.size)
    info = replace(source, key=key, version=version, modified_ns=modified_ns, is_appendable=False)
    if attributes is None:
        return info
    return replace(info, metadata=dict(attributes.metadata), content_type=attributes.content_type)


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Return first byte, last byte and size of the whole object that Content-Range says."""
    match = _RANGE.fullmatch(headers.get("content-range", ""))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def metadata_from(headers: Mapping[str, str], names: HeaderNames = AMAZON) -> dict[str, str]:
    """Return the user metadata, decoded, and the standard headers that are kept (see above)."""
    metadata = {
        name[len(names.metadata_prefix) :]: decode_value(value)
        for name, value in headers.items()
        if name.startswith(names.metadata_prefix)
    }
    for name in names.kept:
        if name in headers:
            metadata[_KEPT_MARK + name] = headers[name]
    return metadata


def attribute_headers(attributes: ObjectAttributes, names: HeaderNames = AMAZON) -> dict[str, str]:
    """Return the headers that store `attributes`. Raises: InvalidRequest (impossible names)."""
    headers = {}
    for name, value in attributes.metadata.items():
        kept = name.removeprefix(_KEPT_MARK)
        if kept != name and kept in names.kept and _PLAIN.fullmatch(value):
            headers[kept] = value
            continue
        if not _TOKEN.fullmatch(name):
            raise InvalidRequest(f"{name!r} cannot be the name of object metadata")
        headers[names.metadata_prefix + name.lower()] = encode_value(value)
    if attributes.content_type:
        if not _PLAIN.fullmatch(attributes.content_type):
            raise InvalidRequest(f"{attributes.content_type!r} cannot be a content type")
        headers["content-type"] = attributes.content_type
    return headers


def encode_value(value: str) -> str:
    """Return a metadata value as a header can carry it: itself, or one RFC 2047 word.

    Surrogate escapes become their bytes. `decode_value` gives the same text back.
    """
    if _PLAIN.fullmatch(value) and "=?" not in value:
        return value
    data = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
    return f"=?UTF-8?B?{data}?="


def decode_value(value: str) -> str:
    """Return the text of a metadata header: RFC 2047 words decoded, raw UTF-8 taken as that.

    What looks like a word but is none stays as it is.
    """
    if not value.isascii():
        value = value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    if "=?" not in value:
        return value
    return _WORD.sub(_decode_word, _BETWEEN_WORDS.sub(r"\1\2", value))


def _decode_word(match: re.Match[str]) -> str:
    charset, kind, text = match[1], match[2].lower(), match[3]
    try:
        if kind == "b":
            data = base64.b64decode(text, validate=True)
        else:
            data = quopri.decodestring(text.encode("ascii"), header=True)
        return data.decode(charset, "surrogateescape")
    except (binascii.Error, LookupError, UnicodeError):
        return match[0]
