"""Was it we? Proofs that a request whose answer was lost had been carried out.

A conditional write that is sent again after a lost answer meets its own first success as "the
object has changed". Taking that for a foreign change would lose nothing but trouble the user;
taking a foreign change for ours would lose an update: so what cannot be proved is not ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import trio

from bucketfs.storage.interface import Body, ObjectAttributes, ObjectInfo, Part, Version

_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


async def is_our_write(found: ObjectInfo, body: Body, attributes: ObjectAttributes) -> bool:
    """Say whether `found` is surely `body` with `attributes`; reads the body in a thread."""
    if found.size != body.size or not _has_attributes(found, attributes):
        return False
    if _MD5.fullmatch(found.version):
        return found.version == await trio.to_thread.run_sync(_md5, body)
    # Two writers agree in size, but not in metadata too: it holds times to the nanosecond.
    return bool(attributes.metadata)


def is_our_commit(found: ObjectInfo, parts: Sequence[Part], attributes: ObjectAttributes) -> bool:
    """Say whether `found` is surely made of `parts` with `attributes`."""
    if found.size != sum(part.size for part in parts) or not _has_attributes(found, attributes):
        return False
    expected = _joined_tag(parts)
    if expected is not None and re.fullmatch(r"[0-9a-f]{32}-[0-9]+", found.version):
        return found.version == expected
    return bool(attributes.metadata)


def is_our_copy(
    found: ObjectInfo, source: ObjectInfo | None, attributes: ObjectAttributes | None
) -> bool:
    """Say whether `found` is surely a copy of `source` (None: it is gone, so nobody can say)."""
    if source is None or found.size != source.size:
        return False
    expected = attributes or ObjectAttributes(source.metadata or {}, source.content_type)
    return bool(expected.metadata) and _has_attributes(found, expected)


def is_our_append(found: ObjectInfo, position: int, body: Body) -> bool:
    """Say whether `found` has exactly grown by `body`: no other append fits into that place."""
    return found.size == position + body.size


def _has_attributes(found: ObjectInfo, attributes: ObjectAttributes) -> bool:
    expected = {name.lower(): value for name, value in attributes.metadata.items()}
    if dict(found.metadata or {}) != expected:
        return False
    return attributes.content_type is None or found.content_type == attributes.content_type


def _md5(body: Body) -> Version:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in body:
        digest.update(piece)
    return Version(digest.hexdigest())


def _joined_tag(parts: Sequence[Part]) -> Version | None:
    """Return S3's ETag of an object of these parts: MD5 of the parts' MD5s, dash, their number."""
    if not all(_MD5.fullmatch(part.tag) for part in parts):
        return None
    joined = b"".join(bytes.fromhex(part.tag) for part in parts)
    return Version(f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}")
