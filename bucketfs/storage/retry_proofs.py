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

_COMPARED_BYTES = 1 << 16
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


async def is_our_write(found: ObjectInfo, body: Body, attributes: ObjectAttributes) -> bool:
    """Say whether `found` is surely `body` with `attributes`; reads the body in a thread.

    A bare marker passes for ours: some servers keep no metadata of one, and there are no bytes in
    it that taking it for ours could lose.
    """
    if found.key.endswith("/") and not (found.size or body.size or found.metadata):
        return True
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


class ComparingSink:
    """Takes the bytes at the place of an append, to see whether they are those of `body`.

    The length alone proves nothing: others may have added as much at the same place.
    """

    def __init__(self, body: Body) -> None:
        self.received = 0
        self._body = body
        self._is_alike = True
        self._pieces = iter(body)
        self._left = memoryview(b"")
        self._buffer = bytearray(_COMPARED_BYTES)

    @property
    def is_equal(self) -> bool:
        """Whether every byte of the body came, and no other."""
        return self._is_alike and self.received == self._body.size

    def room(self) -> memoryview:
        """Return where the next bytes go; none are wanted after the first that differ."""
        return memoryview(self._buffer) if self._is_alike else memoryview(b"")

    def advance(self, count: int) -> None:
        """Compare the bytes that came."""
        taken = memoryview(self._buffer)[:count]
        self.received += count
        while taken and self._is_alike:
            while not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    self._is_alike = False
                    return
                self._left = memoryview(piece).cast("B")
            length = min(len(taken), len(self._left))
            self._is_alike = taken[:length] == self._left[:length]
            taken, self._left = taken[length:], self._left[length:]

    def reset(self) -> None:
        """Compare from the start again."""
        self.received = 0
        self._is_alike = True
        self._pieces = iter(self._body)
        self._left = memoryview(b"")


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
