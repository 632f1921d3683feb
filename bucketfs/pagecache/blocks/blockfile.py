"""One block of one version of an object, as a file that proves what it is.

Layout: the data, then a trailer of 128 bytes (whose block it is, how long, a sum of each chunk of
128 KiB, a sum of itself), which a whole block has padded to a page. Nothing is believed that does
not fit: a file that was cut, overwritten, renamed or made by others is `DamagedBlock`, whatever it
says. So it needs no fsync, and a reader of 4 KiB reads and proves one chunk.

Whole blocks are written past the kernel's page cache: who has just received them has them there
already, by way of the mount, and it takes a tenth of the CPU (docs/decisions/0009).
"""

from __future__ import annotations

import errno
import hashlib
import mmap
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
_TRAILER = struct.Struct("<8s32sQII8Q")
_SUM = struct.Struct("<Q")
TRAILER_BYTES = _TRAILER.size + _SUM.size
DIRECT_UNIT = 4096
"""Offsets, lengths and memory of direct writes are multiples of it (as in `direct`)."""
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
        """A short name for tables in memory; the trailer of the file has the whole one."""
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
    text, _, number = name.partition("-")
    try:
        digest = bytes.fromhex(text)
        short_name = short_name_of(digest, int(number, 16))
    except (ValueError, OverflowError):
        return None
    # There are other spellings of the same numbers.
    is_ours = len(digest) == 32 and f"{folder}/{name}" == file_of(short_name, digest[16:])
    return short_name if is_ours else None


def file_of(short_name: bytes, digest_rest: bytes) -> str:
    """Return the file of a short name and the rest of its digest."""
    text = (short_name[:16] + digest_rest).hex()
    return f"{text[:2]}/{text}-{int.from_bytes(short_name[16:], 'big'):x}"


def expect(path: Path) -> None:
    """Have the kernel begin to read a file from disk; it is not waited for. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


def file_bytes_of(length: int) -> int:
    """Return how long the file of a block of `length` bytes is."""
    return length + (DIRECT_UNIT if length == BLOCK_BYTES else TRAILER_BYTES)


def new_buffer() -> memoryview:
    """Return memory for a block and its trailer that can be written directly; it holds zeros."""
    return memoryview(mmap.mmap(-1, BLOCK_BYTES + DIRECT_UNIT))


def write(path: Path, key: BlockKey, buffer: memoryview) -> None:
    """Write a block to a new file `path`, whose name nobody looks at yet. Raises: OSError.

    `buffer` begins with its data. Where it has room behind a whole block, that is used.
    """
    if buffer.nbytes < key.length:
        raise ValueError(f"{buffer.nbytes} bytes given for a block of {key.length}")
    data, file_bytes = buffer[: key.length], file_bytes_of(key.length)
    trailer = _trailer(key, data).ljust(file_bytes - key.length, b"\0")
    if key.length == BLOCK_BYTES and not buffer.readonly and buffer.nbytes >= file_bytes:
        buffer[key.length : file_bytes] = trailer
        if _write_directly(path, buffer[:file_bytes]):
            return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, data, 0)
        _write_all(descriptor, memoryview(trailer), key.length)
    finally:
        os.close(descriptor)


def _write_directly(path: Path, data: memoryview) -> bool:
    """Write past the page cache; False where the disk or the memory do not suit."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_DIRECT | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            _write_all(descriptor, data, 0)
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return False
    return True


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    written = 0
    while written < data.nbytes:
        written += os.pwrite(descriptor, data[written:], offset + written)


def _trailer(key: BlockKey, data: memoryview) -> bytes:
    sums = [0] * _CHUNKS
    for at in range(0, data.nbytes, CHUNK_BYTES):
        sums[at // CHUNK_BYTES] = crc64(data[at : at + CHUNK_BYTES])
    trailer = _TRAILER.pack(_MAGIC, key.digest, key.number, key.length, CHUNK_BYTES, *sums)
    return trailer + _SUM.pack(crc64(trailer))


class OpenBlock:
    """A block's file, whose trailer was proved; its data is proved as it is read. Blocks."""

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
        if os.preadv(self._descriptor, [target], offset) != target.nbytes:
            raise DamagedBlock("its data ends too early")
        for at in range(0, target.nbytes, CHUNK_BYTES):
            chunk = target[at : at + CHUNK_BYTES]
            if crc64(chunk) != self._sums[(offset + at) // CHUNK_BYTES]:
                raise DamagedBlock("the sum of its data is wrong")


def _proved_sums(descriptor: int, key: BlockKey, file_bytes: int) -> Sequence[int]:
    """Return the sums of the chunks, once length and trailer prove whose they are."""
    if file_bytes != file_bytes_of(key.length):
        raise DamagedBlock("it has another length")
    trailer = os.pread(descriptor, TRAILER_BYTES, key.length)
    if len(trailer) != TRAILER_BYTES:
        raise DamagedBlock("its trailer ends too early")
    own, summed = trailer[: _TRAILER.size], _SUM.unpack(trailer[_TRAILER.size :])[0]
    magic, digest, number, length, chunk_bytes, *sums = _TRAILER.unpack(own)
    if magic != _MAGIC or chunk_bytes != CHUNK_BYTES or crc64(own) != summed:
        raise DamagedBlock("its trailer is wrong")
    if BlockKey(digest, number, length) != key:
        raise DamagedBlock("it is another block")
    return sums
