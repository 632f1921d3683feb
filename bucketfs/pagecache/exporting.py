"""Exporting: a kept file becomes an ordinary one, without a mount.

What this machine has of it (the journal's row, the spill file) is copied; ranges that only the
bucket has are told, to be fetched or left as holes. All functions block.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bucketfs.errors import CacheDirectoryError
from bucketfs.pagecache.images import BASE, ROW, SPILL
from bucketfs.pagecache.records import FileRecord

BLOCK_BYTES = 1 << 20

Span = tuple[int, int]
"""Start and stop."""


def spill_of(record: FileRecord, folder: Path) -> Path | None:
    """Return the spill file of a record; None: it has none.

    It lies in `spill` of a cache folder, or beside the journal where both were moved aside.
    """
    if record.spill is None:
        return None
    name = Path(record.spill).name  # whatever the row says, nothing outside of the folder is read
    usual = folder / "spill" / name
    return usual if usual.exists() else folder / name


def local_bytes(record: FileRecord) -> int:
    """Return how many bytes of a file only this machine has."""
    return sum(stop - start for start, stop, where in record.ranges if where in (SPILL, ROW))


def remote_spans(record: FileRecord) -> list[Span]:
    """Return the ranges of a file that only the bucket has."""
    return [(start, stop) for start, stop, where in record.ranges if where == BASE]


def write_local(record: FileRecord, folder: Path, descriptor: int) -> None:
    """Write what this machine has of a file to an empty one, and give it its size.

    What only the bucket has is left as holes. Raises: CacheDirectoryError (bytes that should be
    here are not), OSError (the target cannot be written).
    """
    os.ftruncate(descriptor, record.size)
    if record.data is not None:
        for start, stop, where in record.ranges:
            if where == ROW:
                write_at(descriptor, start, record.data[start:stop])
    path = spill_of(record, folder)
    if path is None:
        return
    spans = [(start, stop) for start, stop, where in record.ranges if where == SPILL]
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise CacheDirectoryError(f"its bytes are not there: {path}: {exc.strerror}") from exc
    try:
        for start, stop in spans:
            _copy(source, descriptor, start, stop, path)
    finally:
        os.close(source)


def blocks(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield ranges in pieces that fit into memory."""
    for start, stop in spans:
        for low in range(start, stop, BLOCK_BYTES):
            yield low, min(low + BLOCK_BYTES, stop)


def _copy(source: int, target: int, start: int, stop: int, path: Path) -> None:
    for low, high in blocks([(start, stop)]):
        data = os.pread(source, high - low, low)
        if len(data) != high - low:
            raise CacheDirectoryError(f"bytes are missing from {low + len(data)} on in {path}")
        write_at(target, low, data)


def write_at(descriptor: int, offset: int, data: bytes | bytearray) -> None:
    """Write all of `data` at an offset. Raises: OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
