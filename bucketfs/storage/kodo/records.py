"""What Qiniu's SDKs noted of uploads that they did not finish: their records, read and understood.

Kodo lists no pending uploads, so such a record is the only trace of one. A record of resumable
upload v2 names an upload whose parts the server still lists (`KodoStore.resume_recorded`). One of
v1 holds the contexts of its blocks, about which no server can be asked: it is told, not gone on
with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bucketfs.errors import ConfigurationError

_BLOCK = 4 << 20
"""The size of v1's blocks, and of v2's parts in records that do not say it (SDK up to 7.11)."""


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """A part (v2) or block (v1) that was sent; its number (from 1), and its ETag or context.

    `expires_at_s` is in seconds since 1970; 0 where the record does not say it.
    """

    number: int
    tag: str
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload that was begun. `upload_id` is None for v1, which has none.

    `source_modified_s` is when the local file was changed last: of a file that was changed since,
    the parts are worth nothing.
    """

    protocol: Literal["v1", "v2"]
    upload_id: str | None
    part_size: int
    source_modified_s: float
    parts: tuple[RecordedPart, ...]

    def lasting(self, now_s: float) -> Sequence[RecordedPart]:
        """Return the parts that the server still has at `now_s`, as far as the record knows."""
        return [part for part in self.parts if part.expires_at_s > now_s]


def record_name(key: str, file_name: str) -> str:
    """Return the name of the file in the SDK's folder that is the record of this upload."""
    return hashlib.md5(f"{key}/{file_name}".encode("utf-8", "surrogateescape")).hexdigest()


def parse_record(text: bytes) -> UploadRecord:
    """Return what a record says, of any SDK for Python since 7.0.

    Raises: ConfigurationError (it is no such record).
    """
    try:
        found = json.loads(text)
        if "upload_id" in found:
            return _record(found, "v2", str(found["upload_id"]), _parts_of(found))
        return _record(found, "v1", None, _blocks_of(found))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigurationError(
            f"this is no record of an upload to Kodo ({type(exc).__name__})"
        ) from exc


def _record(
    found: Mapping[str, Any],
    protocol: Literal["v1", "v2"],
    upload_id: str | None,
    parts: list[RecordedPart],
) -> UploadRecord:
    size, modified_s = int(found.get("part_size") or _BLOCK), float(found.get("modify_time") or 0)
    parts.sort(key=lambda part: part.number)
    return UploadRecord(protocol, upload_id, size, modified_s, tuple(parts))


def _parts_of(found: Mapping[str, Any]) -> list[RecordedPart]:
    expires_at_s = float(found["expired_at"])
    return [
        RecordedPart(int(part["partNumber"]), str(part["etag"]), expires_at_s)
        for part in found["etags"]
    ]


def _blocks_of(found: Mapping[str, Any]) -> list[RecordedPart]:
    """Up to 7.11 blocks came in order without numbers, up to 7.10 as bare contexts."""
    blocks = [block if isinstance(block, dict) else {"ctx": block} for block in found["contexts"]]
    return [
        RecordedPart(
            int(block.get("part_no") or place), str(block["ctx"]), float(block.get("expired_at", 0))
        )
        for place, block in enumerate(blocks, 1)
    ]
