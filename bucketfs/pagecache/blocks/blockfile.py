"""One block of one version of an object, as a file that proves what it is.

Layout: a header of 128 bytes (whose block it is, how long, a sum of each chunk of 128 KiB, a sum of
itself), then the data. Nothing is believed that does not fit: a file that was cut, overwritten,
renamed or made by others is `DamagedBlock`, whatever it says. So it needs no fsync, and a reader of
4 KiB reads and proves one chunk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from bucketfs.storage.crc64 import crc64
from bucketfs.storage.interface import Version

BLOCK_BYTES = 1 << 20
"""As long as the objects that are fetched whole (`ReadSettings.whole_bytes`)."""
CHUNK_BYTES = 128 << 10
"""What is proved at once: a request of the kernel."""

_MAGIC = b"bucketf1"
_HEADER = struct.Struct("<8s32sQII8Q")
_SUM = struct.Struct("<Q")
HEADER_BYTES = _HEADER.size + _SUM.size
_CHUNKS = BLOCK_BYTES // CHUNK_BYTES


class DamagedBlock(Exception):
    """A file is not the block that its name promises."""


class BlockKey(NamedTuple):
    """Which bytes: block `number` of the version that `digest` names, `length` bytes of it."""

    digest: bytes
    number: int
    length: int

    @property
    def name(self) -> str:
        """Where its file is, below the folder of blocks."""
        text = self.digest.hex()
        return f"{text[:2]}/{text}-{self.number:x}"

    @property
    def short_name(self) -> bytes:
        """A short name for tables in memory; the header of the file has the whole one."""
        return short_name_of(self.digest, self.number)


def short_name_of(digest: bytes, number: int) -> bytes:
    """Return the short name of a block."""
    return digest[:16] + number.to_bytes(6, "big")


def digest_of(identity: str, key: str, version: Version, size: int) -> bytes:
    """Return the name of one version of an object in the bucket called `identity`."""
    digest = hashlib.blake2b(digest_size=32)
    for text in (identity, key, version, str(size)):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def block_of(digest: bytes, number: int, size: int) -> BlockKey:
    """Return the key of a block of an object of `size` bytes."""
    return BlockKey(digest, number, min(BLOCK_BYTES, size - number * BLOCK_BYTES))


def parse_name(folder: str, name: str) -> bytes | None:
    """Return the short name of the block in file `folder/name`; None: it is none of ours."""
    text, dash, number = name.partition("-")
    try:
        digest = bytes.fromhex(text)
        if len(digest) != 32 or not dash or text[:2] != folder:
            return None
        return short_name_of(digest, int(number, 16))
    except (ValueError, OverflowError):
        return None


def file_of(short_name: bytes, digest_rest: bytes) -> str:
    """Return the file of a short name and the rest of its digest."""
    text = (short_name[:16] + digest_rest).hex()
    return f"{text[:2]}/{text}-{int.from_bytes(short_name[16:], 'big'):x}"


def write(path: Path, key: BlockKey, pieces: Sequence[memoryview]) -> None:
    """Write a block to a new file `path`, whose name nobody looks at yet. Raises: OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        buffers = [memoryview(_header(key, pieces)), *pieces]
        left = HEADER_BYTES + key.length
        while left:
            written = os.writev(descriptor, buffers)
            left -= written
            while buffers and written >= buffers[0].nbytes:
                written -= buffers.pop(0).nbytes
            if written:
                buffers[0] = buffers[0][written:]
    finally:
        os.close(descriptor)


def _header(key: BlockKey, pieces: Sequence[memoryview]) -> bytes:
    if sum(piece.nbytes for piece in pieces) != key.length:
        raise ValueError(f"not the {key.length} bytes of a block")
    sums = [0] * _CHUNKS
    at = 0
    for piece in pieces:
        done = 0
        while done < piece.nbytes:
            place = at // CHUNK_BYTES
            count = min(CHUNK_BYTES - at % CHUNK_BYTES, piece.nbytes - done)
            sums[place] = crc64(piece[done : done + count], sums[place])
            at, done = at + count, done + count
    header = _HEADER.pack(_MAGIC, key.digest, key.number, key.length, CHUNK_BYTES, *sums)
    return header + _SUM.pack(crc64(header))


class OpenBlock:
    """A block's file, whose header was proved; its data is proved as it is read. Blocks."""

    def __init__(self, descriptor: int, key: BlockKey, sums: Sequence[int], used_s: float) -> None:
        self.key = key
        self.used_s = used_s
        """When its use was last written down, in s since 1970."""
        self._descriptor = descriptor
        self._sums = sums

    @classmethod
    def open(cls, path: Path, key: BlockKey) -> Self:
        """Open the file of a block. Raises: FileNotFoundError, DamagedBlock, OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            sums = _proved_sums(descriptor, key, status.st_size)
            return cls(descriptor, key, sums, status.st_mtime)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def expect_random(self) -> None:
        """Have the kernel read no more from disk than is asked."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def note_use(self) -> None:
        """Write down that it was used now, for the next mount."""
        os.utime(self._descriptor)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` from `offset`: whole chunks, of which the last may be the block's end.

        Raises: DamagedBlock (what `target` has then is nothing), OSError.
        """
        if os.preadv(self._descriptor, [target], HEADER_BYTES + offset) != target.nbytes:
            raise DamagedBlock("its data ends too early")
        for at in range(0, target.nbytes, CHUNK_BYTES):
            chunk = target[at : at + CHUNK_BYTES]
            if crc64(chunk) != self._sums[(offset + at) // CHUNK_BYTES]:
                raise DamagedBlock("the sum of its data is wrong")


def _proved_sums(descriptor: int, key: BlockKey, file_bytes: int) -> Sequence[int]:
    """Return the sums of the chunks, once header and length prove whose they are."""
    header = os.pread(descriptor, HEADER_BYTES, 0)
    if len(header) != HEADER_BYTES:
        raise DamagedBlock("its header ends too early")
    own, summed = header[: _HEADER.size], _SUM.unpack(header[_HEADER.size :])[0]
    magic, digest, number, length, chunk_bytes, *sums = _HEADER.unpack(own)
    if magic != _MAGIC or chunk_bytes != CHUNK_BYTES or crc64(own) != summed:
        raise DamagedBlock("its header is wrong")
    if BlockKey(digest, number, length) != key:
        raise DamagedBlock("it is another block")
    if file_bytes != HEADER_BYTES + length:
        raise DamagedBlock("it has another length")
    return sums
