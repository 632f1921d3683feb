"""How COS keeps objects: their sums, headers, limits; and what it says of them in headers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote, unquote

import crcmod

from tests.emulators.cos.refusals import Refused
from tests.emulators.keeping import Bucket, KeptObject
from tests.emulators.serving import Ask

MAX_KEY_BYTES = 850
MAX_METADATA_BYTES = 2048
MAX_PUT_BYTES = 5 << 30
STORAGE_CLASSES = frozenset(
    f"{zone}{name}"
    for zone in ("", "MAZ_")
    for name in ("STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ARCHIVE", "DEEP_ARCHIVE")
)
ARCHIVED = frozenset({"ARCHIVE", "DEEP_ARCHIVE"})
_KEPT_HEADERS = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language"}
    | {"content-type", "expires"}
)
_TRAFFIC_LIMIT = range(819_200, 838_860_801)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CRC = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF, rev=True)


def crc64(data: bytes) -> str:
    """Return the sum that COS tells, by the reference implementation of CRC."""
    return str(_CRC(data))


def md5(data: bytes) -> str:
    """Return the MD5 in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def made(
    data: bytes,
    etag: str,
    modified_s: float,
    headers: Mapping[str, str],
    storage_class: str = "STANDARD",
    kind: str = "normal",
    details: Mapping[str, str] | None = None,
) -> KeptObject:
    """Return an object with its sum."""
    known = {"crc64": crc64(data), **(details or {})}
    return KeptObject(data, etag, modified_s, headers, storage_class, kind, known)


def check_key(key: str) -> None:
    """Raise Refused for what cannot be a key."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as exc:
        raise Refused(400, "InvalidURI", "The key is not UTF-8.") from exc
    if size > MAX_KEY_BYTES:
        raise Refused(400, "KeyTooLong")


def checked_body(ask: Ask) -> bytes:
    """Return what came, if it is what Content-MD5 says. Raises: Refused."""
    if "content-length" not in ask.headers and "transfer-encoding" not in ask.headers:
        raise Refused(411, "MissingContentLength")
    if len(ask.body) > MAX_PUT_BYTES:
        raise Refused(400, "EntityTooLarge")
    expected = ask.headers.get("content-md5")
    if expected is not None:
        try:
            digest = base64.b64decode(expected, validate=True)
        except binascii.Error as exc:
            raise Refused(400, "InvalidDigest") from exc
        if len(digest) != 16:
            raise Refused(400, "InvalidDigest")
        if digest.hex() != md5(ask.body):
            raise Refused(400, "BadDigest")
    return ask.body


def check_traffic_limit(ask: Ask) -> None:
    """Raise Refused for a limit that COS does not set."""
    name = "x-cos-traffic-limit"
    limit = ask.headers.get(name) or ask.parameter(name)
    if limit is not None and not (limit.isdigit() and int(limit) in _TRAFFIC_LIMIT):
        raise Refused(400, "InvalidArgument", "The traffic limit is out of range.")


def headers_beside(ask: Ask) -> dict[str, str]:
    """Return the headers of a request that are kept beside the object. Raises: Refused."""
    kept = {
        name: value
        for name, value in ask.headers.items()
        if name in _KEPT_HEADERS or name.startswith("x-cos-meta-")
    }
    size = sum(
        len(name) - len("x-cos-meta-") + len(value)
        for name, value in kept.items()
        if name.startswith("x-cos-meta-")
    )
    if size > MAX_METADATA_BYTES:
        raise Refused(400, "MetadataTooLarge")
    return kept


def storage_class(ask: Ask) -> str:
    """Return the storage class that is asked for. Raises: Refused."""
    name = ask.headers.get("x-cos-storage-class", "STANDARD")
    if name not in STORAGE_CLASSES:
        raise Refused(400, "InvalidArgument", "There is no such storage class.")
    return name


def forbids_overwrite(ask: Ask) -> bool:
    """Return whether the write is only to happen where nothing is."""
    return ask.headers.get("x-cos-forbid-overwrite", "").lower() == "true"


def check_overwrite(ask: Ask, bucket: Bucket, key: str) -> None:
    """Raise Refused where something is that must not be; buckets with versions do not look."""
    is_versioned = "versioning" in bucket.documents
    if forbids_overwrite(ask) and not is_versioned and bucket.get(key) is not None:
        raise Refused(409, "FileAlreadyExists", "The object exists.")


def found(bucket: Bucket, key: str) -> KeptObject:
    """Return an object. Raises: Refused."""
    kept = bucket.get(key)
    if kept is None:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.")
    return kept


def check_conditions(headers: Mapping[str, str], kept: KeptObject, prefix: str = "") -> None:
    """Raise Refused (412, 304) where If-Match and its kin do not hold."""
    match = headers.get(f"{prefix}if-match")
    if match is not None and not _names(match, kept.etag):
        raise Refused(412, "PreconditionFailed")
    none_match = headers.get(f"{prefix}if-none-match")
    if none_match is not None and _names(none_match, kept.etag):
        raise Refused(412 if prefix else 304, "PreconditionFailed" if prefix else "NotModified")


def _names(condition: str, etag: str) -> bool:
    tags = [tag.strip().strip('"') for tag in condition.split(",")]
    return "*" in tags or etag in tags


def headers_of(kept: KeptObject) -> dict[str, str]:
    """Return what HEAD and GET say of an object, without its length."""
    headers = {
        "Content-Type": "application/octet-stream",
        **{name.title() if name in _KEPT_HEADERS else name: v for name, v in kept.headers.items()},
        "ETag": f'"{kept.etag}"',
        "Last-Modified": formatdate(kept.modified_s, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-cos-hash-crc64ecma": kept.details["crc64"],
        "x-cos-object-type": kept.kind,
    }
    if kept.storage_class != "STANDARD":
        headers["x-cos-storage-class"] = kept.storage_class
    if kept.kind == "appendable":
        headers["x-cos-next-append-position"] = str(len(kept.data))
    if "restore" in kept.details:
        headers["x-cos-restore"] = kept.details["restore"]
    return headers


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first byte and end of a range; None: the whole object. Raises: Refused (416)."""
    match = _RANGE.fullmatch(header) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    if start >= size or stop <= start:
        raise Refused(416, "InvalidRange")
    return start, stop


def copy_source(ask: Ask) -> tuple[str, str]:
    """Return bucket and key that are to be copied. Raises: Refused."""
    host, _, path = ask.headers["x-cos-copy-source"].partition("/")
    bucket, key = host.partition(".")[0], unquote(path.partition("?")[0])
    if not bucket or not key:
        raise Refused(400, "InvalidArgument", "The copy source is malformed.")
    return bucket, key


def listed_key(ask: Ask, key: str) -> str:
    """Return a key as a listing shows it."""
    if ask.parameter("encoding-type") == "url":
        return quote(key.encode("utf-8", "surrogateescape"), safe="-_.~")
    return key
