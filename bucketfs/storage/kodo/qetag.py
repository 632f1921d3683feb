"""qetag, the hash by which Kodo names the bytes of an object; pure.

The first byte tells how it was made: 0x16 of one block of up to 4 MiB (its SHA-1), 0x96 of several
(the SHA-1 of their SHA-1s), 0x9e of an upload with parts of any other size (the SHA-1 of the parts'
own hashes, each without its first byte).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bucketfs.storage.interface import Body
from bucketfs.transport.sign_kodo import encode

BLOCK_BYTES = 4 << 20
_ONE, _MANY, _PARTS = b"\x16", b"\x96", b"\x9e"


class Qetag:
    """The hash of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._finished: list[bytes] = []
        self._block = _sha1()
        self._left = BLOCK_BYTES

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            if not self._left:
                self._finished.append(self._block.digest())
                self._block, self._left = _sha1(), BLOCK_BYTES
            piece = view[: self._left]
            self._block.update(piece)
            self._left -= piece.nbytes
            view = view[piece.nbytes :]

    def digest(self) -> bytes:
        """Return the 21 bytes of the hash."""
        blocks = [*self._finished, self._block.digest()]
        return _ONE + blocks[0] if len(blocks) == 1 else _MANY + _joined(blocks)

    def text(self) -> str:
        """Return the hash as Kodo writes it."""
        return encode(self.digest())


@dataclass(frozen=True, slots=True)
class HashedPart:
    """A part that was sent: its size, and its own qetag (21 bytes)."""

    size: int
    digest: bytes


def joined_qetag(parts: Sequence[HashedPart]) -> str:
    """Return the hash of an object that an upload made of `parts`, in their order."""
    is_even = all(part.size == BLOCK_BYTES for part in parts[:-1])
    if is_even and parts[-1].size <= BLOCK_BYTES:
        if len(parts) == 1:
            return encode(parts[0].digest)
        return encode(_MANY + _joined(part.digest[1:] for part in parts))
    return encode(_PARTS + _joined(part.digest[1:] for part in parts))


class MeasuredBody:
    """A body whose MD5 and qetag are taken while it is sent, in the thread that sends it."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.md5 = ""
        """The MD5 in hex, after the body was iterated to its end."""
        self.digest = b""
        """The qetag (21 bytes), after the body was iterated to its end."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._body.size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order."""
        md5, qetag = hashlib.md5(usedforsecurity=False), Qetag()
        for piece in self._body:
            md5.update(piece)
            qetag.update(piece)
            yield piece
        self.md5, self.digest = md5.hexdigest(), qetag.digest()


def crc32_and_qetag(body: Body) -> tuple[int, str]:
    """Return both checksums of a body; for worker threads."""
    crc, qetag = 0, Qetag()
    for piece in body:
        crc = zlib.crc32(piece, crc)
        qetag.update(piece)
    return crc, qetag.text()


def _joined(digests: Iterable[bytes]) -> bytes:
    return _sha1(b"".join(digests)).digest()


def _sha1(data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(data, usedforsecurity=False)
