"""What passes for our own write after its answer was lost."""

from __future__ import annotations

import hashlib

import pytest

from bucketfs.storage.interface import BytesBody, ObjectAttributes, ObjectInfo, Version
from bucketfs.storage.retry_proofs import is_our_write

OURS = ObjectAttributes({"mtime": "1.000000001"})
MD5 = Version(hashlib.md5(b"").hexdigest())


def found(key: str, size: int = 0, metadata: dict[str, str] | None = None) -> ObjectInfo:
    return ObjectInfo(key, size, MD5, 0, metadata or {})


@pytest.mark.parametrize(
    ("seen", "is_ours"),
    [
        (found("d/", metadata={"mtime": "1.000000001"}), True),
        (found("d/"), True),
        (found("d/", metadata={"mtime": "2.000000002"}), False),
        (found("d/", size=1), False),
        (found("file"), False),
    ],
    ids=["with our times", "bare", "with other times", "with bytes", "no marker"],
)
async def test_a_marker_without_metadata_is_ours(seen: ObjectInfo, is_ours: bool) -> None:
    assert await is_our_write(seen, BytesBody(b""), OURS) is is_ours
