"""One call as the operations see it, and the rules that many of them share."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import crcmod

from tests.emulators.bos.answers import Refusal, http_date, seconds_of
from tests.emulators.keeping import Bucket, Buckets, KeptObject
from tests.emulators.serving import Ask

KEPT = ("content-type", "cache-control", "content-disposition", "content-encoding", "expires")
META = "x-bce-meta-"
META_BYTES = 2048
CLASSES = ("STANDARD", "STANDARD_IA", "COLD", "ARCHIVE", "MAZ_STANDARD", "MAZ_STANDARD_IA")
CRC32C = crcmod.mkCrcFun(0x11EDC6F41, initCrc=0, xorOut=0xFFFFFFFF, rev=True)
CRC64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=(1 << 64) - 1, rev=True)


@dataclass
class Limits:
    """What may differ between regions and years of BOS, or be made small by a test."""

    min_part: int = 100 << 10
    forbidden_status: int = 412
    compares_if_match: bool = True


@dataclass(frozen=True)
class Call:
    """A request that was let in."""

    ask: Ask
    buckets: Buckets
    bucket_name: str
    key: str
    now_s: float
    limits: Limits

    @property
    def bucket(self) -> Bucket:
        """Return the bucket. Raises: Refusal."""
        bucket = self.buckets.get(self.bucket_name)
        if bucket is None:
            raise Refusal("NoSuchBucket")
        return bucket

    def header(self, name: str) -> str | None:
        """Return a header's value, None without it."""
        return self.ask.headers.get(name)

    def kept(self) -> KeptObject:
        """Return the object of the key. Raises: Refusal."""
        found = self.bucket.get(self.key)
        if found is None:
            raise Refusal("NoSuchKey", "The specified key does not exist.")
        return found

    def document(self) -> Any:
        """Return the body as JSON. Raises: Refusal."""
        try:
            return json.loads(self.ask.body)
        except ValueError:
            raise Refusal("MalformedJSON") from None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a parameter that is a number. Raises: Refusal."""
        text = self.ask.parameter(name)
        if not text:
            return default
        if not text.isdecimal() or not least <= int(text) <= most:
            raise Refusal("InvalidArgument", f"{name}={text}")
        return int(text)


def stored_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what of a request's headers stands beside the object. Raises: Refusal."""
    found = {name: value for name, value in headers.items() if name in KEPT and value}
    found.setdefault("content-type", "application/octet-stream")
    meta = {name: value.rstrip(" ") for name, value in headers.items() if name.startswith(META)}
    if sum(len(name) + len(value) for name, value in meta.items()) > META_BYTES:
        raise Refusal("MetadataTooLarge")
    return {**found, **meta}


def storage_class_of(headers: Mapping[str, str]) -> str:
    """Return the storage class that a request names. Raises: Refusal."""
    found = headers.get("x-bce-storage-class", "STANDARD")
    if found not in CLASSES:
        raise Refusal("InvalidArgument", f"no storage class: {found}")
    return found


def check_body(call: Call) -> None:
    """Compare the body with the checksums that came with it. Raises: Refusal."""
    data = call.ask.body
    if call.header("content-length") is None:
        raise Refusal("MissingContentLength")
    expected = {
        "content-md5": base64.b64encode(hashlib.md5(data).digest()).decode(),
        "x-bce-content-sha256": hashlib.sha256(data).hexdigest(),
        "x-bce-content-crc32": str(zlib.crc32(data)),
        "x-bce-content-crc32c": str(CRC32C(data)),
        "x-bce-content-crc64ecma": str(CRC64(data)),
    }
    for name, value in expected.items():
        given = call.header(name)
        if given is not None and given.strip() != value:
            raise Refusal("BadDigest", f"{name} is {value}, not {given}")


def check_write(call: Call) -> None:
    """Compare the object that is there with what the writer expects. Raises: Refusal."""
    found = call.bucket.get(call.key)
    if call.header("x-bce-forbid-overwrite") == "true" and found is not None:
        status = call.limits.forbidden_status
        raise Refusal("PreconditionFailed", "the object exists", status)
    none_match, match = call.header("if-none-match"), call.header("if-match")
    if none_match is not None and found is not None and _matches(none_match, found):
        raise Refusal("PreconditionFailed")
    if match is not None and call.limits.compares_if_match:
        if found is None:
            raise Refusal("NoSuchKey")
        if not _matches(match, found):
            raise Refusal("PreconditionFailed")
    since = call.header("if-unmodified-since")
    if since and found is not None and int(found.modified_s) > seconds_of(since):
        raise Refusal("PreconditionFailed")


def check_read(call: Call, found: KeptObject, prefix: str = "") -> bool:
    """Compare an object with a reader's conditions; return False for 304. Raises: Refusal.

    `prefix` begins the names of the headers (`x-bce-copy-source-` for the source of a copy).
    """
    match, none_match = call.header(f"{prefix}if-match"), call.header(f"{prefix}if-none-match")
    if match is not None and not _matches(match, found):
        raise Refusal("PreconditionFailed")
    since = call.header(f"{prefix}if-unmodified-since")
    if since and int(found.modified_s) > seconds_of(since):
        raise Refusal("PreconditionFailed")
    if none_match is not None and _matches(none_match, found):
        return False
    since = call.header(f"{prefix}if-modified-since")
    return not (since and none_match is None and int(found.modified_s) <= seconds_of(since))


def _matches(value: str, found: KeptObject) -> bool:
    tags = [tag.strip().strip('"') for tag in value.split(",")]
    return "*" in tags or found.etag in tags


def source_of(call: Call) -> tuple[str, KeptObject]:
    """Return the key and object that a copy is made of. Raises: Refusal."""
    raw = call.header("x-bce-copy-source") or ""
    path = unquote_to_bytes(raw.partition("?versionId=")[0].encode("latin-1"))
    name, _, key = path.decode("utf-8", "surrogateescape").removeprefix("/").partition("/")
    bucket = call.buckets.get(name)
    if bucket is None:
        raise Refusal("NoSuchBucket")
    found = bucket.get(key)
    if found is None:
        raise Refusal("NoSuchKey", "The specified key does not exist.")
    if found.kind == "Appendable" and (name, key) != (call.bucket_name, call.key):
        raise Refusal("NotAllowCopy")
    if found.storage_class == "ARCHIVE" and "restored" not in found.details:
        raise Refusal("InvalidObjectState", "object is archived")
    if not check_read(call, found, "x-bce-copy-source-"):
        raise Refusal("PreconditionFailed")
    return f"/{name}/{key}", found


def object_headers(found: KeptObject) -> dict[str, str]:
    """Return the headers of a HEAD or GET."""
    headers = {
        **found.headers,
        "ETag": f'"{found.etag}"',
        "Last-Modified": http_date(found.modified_s),
        "x-bce-storage-class": found.storage_class,
        "x-bce-object-type": found.kind,
        "x-bce-content-crc32": str(zlib.crc32(found.data)),
        "Accept-Ranges": "bytes",
    }
    if found.kind == "Appendable":
        headers["x-bce-next-append-offset"] = str(len(found.data))
    if not found.etag.startswith("-"):
        headers["Content-MD5"] = base64.b64encode(hashlib.md5(found.data).digest()).decode()
    for name in ("x-bce-expiration-date", "x-bce-restore"):
        if name in found.details:
            headers[name] = found.details[name]
    return headers
