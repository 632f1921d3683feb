"""Writing past the kernel's page cache (O_DIRECT), for spilled bytes that hardly anybody reads.

A copy of every streamed byte in the page cache costs fresh memory, which on a busy or virtual
machine costs more than the copy: measured, a streamed upload is a quarter faster without it
(docs/performance.md).
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 4096
"""Offsets, lengths and memory of a direct write are multiples of it (open(2): the logical block
size of the disk, 512 or 4096)."""
STAGE_BYTES = 4 << 20
LEAST_BYTES = 1 << 20
"""Below this a disk's own latency costs more than the copy."""
_KEPT_STAGES = 2


class Stages:
    """Page-aligned buffers that all spill files of a mount share; any thread."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[memoryview]:
        """Lend one of `STAGE_BYTES` bytes for the time of the block; its content is undefined."""
        with self._lock:
            stage = self._free.pop() if self._free else None
        if stage is None:
            stage = mmap.mmap(-1, STAGE_BYTES)
        try:
            with memoryview(stage) as view:
                yield view
        finally:
            with self._lock:
                if len(self._free) < _KEPT_STAGES:
                    self._free.append(stage)


class DirectFile:
    """The same file as another descriptor's, for large writes at whole blocks. Blocks: for threads.

    The kernel keeps it and the page cache of the other descriptor in step. Raises: OSError, where
    the file system has no direct writes (EINVAL), and as write(2).
    """

    def __init__(self, path: Path, stages: Stages) -> None:
        self._stages = stages
        self._descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)

    def write(self, offset: int, buffers: Sequence[memoryview]) -> int:
        """Write the whole blocks at the start of `buffers` at `offset`; return how many bytes."""
        total = sum(buffer.nbytes for buffer in buffers)
        whole = total - total % BLOCK_BYTES
        done = 0
        pieces = _Pieces(buffers)
        with self._stages.lent() as stage:
            while done < whole:
                part = stage[: min(STAGE_BYTES, whole - done)]
                pieces.fill(part)
                written = 0
                while written < part.nbytes:
                    written += os.pwrite(self._descriptor, part[written:], offset + done + written)
                done += part.nbytes
        return done

    def close(self) -> None:
        """Close this descriptor."""
        os.close(self._descriptor)


class _Pieces:
    """Takes bytes from buffers one after the other."""

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        self._buffers = buffers
        self._index = 0
        self._taken = 0

    def fill(self, target: memoryview) -> None:
        """Copy the next bytes, of which there are enough, into all of `target`."""
        filled = 0
        while filled < target.nbytes:
            buffer = self._buffers[self._index]
            count = min(buffer.nbytes - self._taken, target.nbytes - filled)
            target[filled : filled + count] = buffer[self._taken : self._taken + count]
            filled += count
            self._taken += count
            if self._taken == buffer.nbytes:
                self._index += 1
                self._taken = 0
