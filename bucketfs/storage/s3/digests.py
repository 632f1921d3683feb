"""Digests: did the bytes arrive that were sent?

The ETag of a PUT or a part is the MD5 of its bytes on Amazon (unless KMS encrypts them) and on most
servers; Amazon documents that, others only do it. So the ETag is compared once this server was seen
to make it so, and never where it does not. Checksum headers (`x-amz-checksum-*`) would be faster,
but what does not know them ignores them without a word.

MD5 takes a second and more of CPU for each GiB. Large bodies that are hashed into the signature are
compared by the server already; to a server on this machine, which shares its CPUs and its memory,
they are not compared unless they are signed (`payload=signed`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from bucketfs.storage.interface import Body

LARGE_BYTES = 1 << 20
_MD5 = re.compile(r'"?([0-9a-f]{32})"?', re.ASCII)
_ENCRYPTION = "x-amz-server-side-encryption"


class DigestedBody:
    """A `Body` that knows the MD5 of what it last yielded; complete once it was iterated."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._digest = hashlib.md5(usedforsecurity=False)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._body.size

    @property
    def is_at_hand(self) -> bool:
        """Whether the bytes are in memory."""
        return getattr(self._body, "is_at_hand", False)

    @property
    def md5(self) -> str:
        """The digest in hexadecimal."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, digesting them from the start."""
        self._digest = hashlib.md5(usedforsecurity=False)
        for piece in self._body:
            self._digest.update(piece)
            yield piece


class Digests:
    """What is known of one server's ETags. Used in trio's thread.

    `are_large_compared`: whether bodies over `LARGE_BYTES` are, too.
    """

    def __init__(self, *, are_large_compared: bool) -> None:
        self._are_large_compared = are_large_compared
        self._are_md5: bool | None = None

    def of(self, body: Body) -> Body:
        """Return a body that can be compared, where that is of use."""
        is_compared = self._are_large_compared or body.size <= LARGE_BYTES
        return DigestedBody(body) if is_compared and self._are_md5 is not False else body

    def agrees(self, body: Body, headers: Mapping[str, str], *, is_first: bool) -> bool:
        """Say whether an answer is about the bytes of `body`; learn from the first ones.

        Not `is_first`: it was sent again and disagrees again. A server whose ETags were never seen
        to be digests is believed then, and not asked any more.
        """
        etag = _MD5.fullmatch(headers.get("etag", ""))
        is_encrypted = headers.get(_ENCRYPTION, "AES256") != "AES256"
        if not isinstance(body, DigestedBody) or etag is None or is_encrypted:
            return True
        if etag[1] == body.md5:
            self._are_md5 = True
        elif self._are_md5 is None and not is_first:
            self._are_md5 = False
        else:
            return False
        return True
