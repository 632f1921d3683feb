"""Kodo's buckets and objects, over those of `keeping`: entries, hashes, metadata."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.emulators.keeping import Bucket, Buckets, KeptObject
from tests.emulators.kodo.answers import Refused, decoded_text, encoded

BLOCK = 4 << 20
MAX_KEY = 750
META = "x-qn-meta-"
_META_NAME = re.compile(r"!?[0-9A-Za-z_-]{1,50}")


@dataclass
class Cloud:
    """Everything that is kept: buckets, which are public, and unfinished blocks of uploads."""

    buckets: Buckets = field(default_factory=Buckets)
    public: set[str] = field(default_factory=set)
    blocks: dict[str, tuple[bytes, float]] = field(default_factory=dict)

    def bucket(self, name: str) -> Bucket:
        """Return a bucket. Raises: Refused (631)."""
        found = self.buckets.get(name)
        if found is None:
            raise Refused(631, "no such bucket")
        return found

    def place(self, entry: str) -> tuple[Bucket, str]:
        """Return the bucket and key of an EncodedEntryURI. Raises: Refused."""
        bucket, colon, key = decoded_text(entry).partition(":")
        if not colon:
            raise Refused(400, "invalid argument: no key")
        check_key(key)
        return self.bucket(bucket), key

    def found(self, entry: str) -> tuple[Bucket, str, KeptObject]:
        """Return an object that is there. Raises: Refused (612)."""
        bucket, key = self.place(entry)
        kept = bucket.get(key)
        if kept is None:
            raise Refused(612, "no such file or directory")
        return bucket, key, kept


def check_key(key: str) -> None:
    """Refuse keys that are too long."""
    if len(key.encode()) > MAX_KEY:
        raise Refused(400, "key too long")


def new_object(
    data: bytes,
    hash_: str,
    now_s: float,
    mime: str,
    meta: Mapping[str, str],
    *,
    file_type: int = 0,
    parts: Sequence[int] = (),
    days: int = 0,
) -> KeptObject:
    """Return an object. `meta` has names with their prefix, as they were sent."""
    details = {"type": str(file_type), "parts": json.dumps(list(parts) or [len(data)])}
    if days:
        details["deleteAfterDays"] = str(days)
    return KeptObject(data, hash_, now_s, {"mime": mime, **checked_meta(meta)}, details=details)


def checked_meta(meta: Mapping[str, str]) -> dict[str, str]:
    """Return metadata fields if they are allowed. Raises: Refused."""
    for name in meta:
        if not _META_NAME.fullmatch(name[len(META) :]):
            raise Refused(400, f"invalid metadata name {name}")
    used = sum(len(name) - len(META) + len(value.encode()) for name, value in meta.items())
    if used > 1024:
        raise Refused(400, "metadata too large")
    return dict(meta)


def meta_of(kept: KeptObject) -> dict[str, str]:
    """Return the metadata of an object, names with their prefix."""
    return {name: value for name, value in kept.headers.items() if name.startswith(META)}


def with_details(kept: KeptObject, **details: str) -> KeptObject:
    """Return an object with some details changed."""
    return replace(kept, details={**kept.details, **details})


def is_archived(kept: KeptObject) -> bool:
    """Return whether it must be restored before it can be read."""
    return kept.details["type"] in ("2", "3") and kept.details.get("restoreStatus") != "2"


def described(kept: KeptObject) -> dict[str, Any]:
    """Return what `stat` and `list` both say of an object."""
    found: dict[str, Any] = {
        "fsize": len(kept.data),
        "hash": kept.etag,
        "mimeType": kept.headers["mime"],
        "putTime": int(kept.modified_s * 10_000_000),
        "type": int(kept.details["type"]),
        "md5": hashlib.md5(kept.data).hexdigest(),
        "endUser": "",
    }
    if kept.details.get("status") == "1":
        found["status"] = 1
    return found


def qetag(data: bytes) -> str:
    """Return the hash of bytes that came in one piece."""
    return encoded(_digest(data))


def parts_qetag(parts: Sequence[bytes]) -> str:
    """Return the hash of bytes that came in parts."""
    if all(len(part) == BLOCK for part in parts[:-1]) and len(parts[-1]) <= BLOCK:
        return qetag(b"".join(parts))
    return encoded(b"\x9e" + hashlib.sha1(b"".join(_digest(p)[1:] for p in parts)).digest())


def _digest(data: bytes) -> bytes:
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)] or [b""]
    sums = [hashlib.sha1(block).digest() for block in blocks]
    if len(sums) == 1:
        return b"\x16" + sums[0]
    return b"\x96" + hashlib.sha1(b"".join(sums)).digest()
