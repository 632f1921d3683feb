"""One ranged read of an object whose bytes can be read while they arrive.

The store's worker thread fills chunks (`room`, `advance`); tasks in trio wait for the bytes that
they need and take views of the chunks. A stream that is too far ahead of its reader stands still
in `room`: the connection's own flow control then holds the server back.
"""

from __future__ import annotations

import copy
import threading
import time
from bisect import bisect_right

import trio

from bucketfs.counting import causes
from bucketfs.errors import StorageError
from bucketfs.pagecache.buffers import Buffers
from bucketfs.pagecache.window import KIB, page_ceil

ROOM_BYTES = 512 * KIB
"""Most that one `room` offers: bytes can be read as soon as a room of them is there."""
STARVING_BYTES = 128 * KIB
"""What a reader gets of the memory when there is none left: one request of the kernel."""
SHORTAGE_S = 0.05
"""How long to wait, at a time, for memory that others may give back."""
SHORTAGE_ROUNDS = 4


class _Chunk:
    """A buffer with the offset in the object of its first byte."""

    __slots__ = ("buffer", "end", "readable", "start", "writable")

    def __init__(self, start: int, buffer: bytearray) -> None:
        self.start = start
        self.end = start + len(buffer)
        self.buffer = buffer
        self.writable = memoryview(buffer)
        self.readable = self.writable.toreadonly()

    def retire(self) -> bytearray:
        """Let go of the buffer; slices that were handed out keep it alive for themselves."""
        self.readable.release()
        self.writable.release()
        return self.buffer


class _Waiter:
    """A task that needs the bytes from `start` to `end`."""

    __slots__ = ("arrived", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.arrived = trio.Event()


class Stream:
    """Bytes `start` to `end` of an object, as a `Sink` on one side and as views on the other.

    Made in trio's thread. `room` and `advance` may be called by a worker thread or, by stores that
    have no threads, in trio's: there `room` never blocks but ends the read early. Everything else
    belongs to trio's thread. `limit` is the offset up to which chunks may be begun; a byte that a
    task waits for is always let in.
    """

    def __init__(
        self,
        start: int,
        end: int,
        limit: int,
        *,
        buffers: Buffers,
        pause_s: float,
        streams_beside: int = 1,
    ) -> None:
        self.start = start
        self.end = end
        self.received = 0
        self.error: StorageError | None = None
        self.is_finished = False
        self.was_short_of_memory = False
        self.is_from_disk = False
        """Whether its last bytes came from this machine: who waited for them waited for no request.
        """
        self.streams_beside = streams_beside
        """How many streams its run used when it began, this one included."""
        self._limit = limit
        self._buffers = buffers
        self._pause_s = pause_s
        self._token = trio.lowlevel.current_trio_token()
        self._trio_thread = threading.get_ident()
        self._changed = threading.Condition()
        self._chunks: list[_Chunk] = []
        self._starts: list[int] = []
        self._waiters: list[_Waiter] = []
        self._wanted: int | None = None
        self._is_stopped = False
        self._began_s: float | None = None
        self._paused_s = 0.0

    # The side of the store.

    def room(self) -> memoryview:
        """Return where the next bytes go; wait while the reader is far behind; empty: enough."""
        with self._changed:
            if self._began_s is None:
                self._began_s = time.monotonic()
            front = self.start + self.received
            if self._is_stopped or front >= self.end:
                return memoryview(b"")
            chunk = self._chunks[-1] if self._chunks else None
            if chunk is None or chunk.end <= front:
                chunk = self._next_chunk(front)
                if chunk is None:
                    self._is_stopped = True
                    return memoryview(b"")
            begin = front - chunk.start
            return chunk.writable[begin : begin + ROOM_BYTES]

    def advance(self, count: int) -> None:
        """Make `count` more bytes readable, and wake who waits for them."""
        with self._changed:
            self.received += count
            if self._wanted is None or self.start + self.received < self._wanted:
                return
            self._wanted = None
        if threading.get_ident() == self._trio_thread:
            self._wake()
        else:
            self._token.run_sync_soon(self._wake)

    def reset(self) -> None:
        """Refuse: bytes may have been read already, and each read is pinned to a version."""
        raise RuntimeError("a read of one version cannot begin anew")

    def _next_chunk(self, front: int) -> _Chunk | None:
        """Begin a chunk at `front`, None to end the read; the lock is held, and left to wait."""
        if not self._wait_allowed(front):
            return None
        for _ in range(SHORTAGE_ROUNDS):
            buffer = self._buffers.acquire(self._chunk_size(front))
            if buffer is not None:
                return self._append(front, buffer)
            self.was_short_of_memory = True
            self._buffers.ask_for_memory(self._token)
            if self._is_wanted(front):
                size = min(self._chunk_size(front), STARVING_BYTES)
                return self._append(front, self._buffers.overdraw(size))
            if threading.get_ident() == self._trio_thread:
                return None
            self._pause(SHORTAGE_S)
            if self._is_stopped:
                return None
        return None

    def _wait_allowed(self, front: int) -> bool:
        """Wait until a chunk may begin at `front`; False where the reader stays away."""
        deadline = time.monotonic() + self._pause_s
        while front >= self._limit and not self._is_wanted(front) and not self._is_stopped:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or threading.get_ident() == self._trio_thread:
                return False
            self._pause(left_s)
        return not self._is_stopped

    def _pause(self, seconds: float) -> None:
        began_s = time.monotonic()
        self._changed.wait(seconds)
        self._paused_s += time.monotonic() - began_s

    def _chunk_size(self, front: int) -> int:
        """Return the size of a chunk at `front`: to the next multiple of the chunk size.

        So requests of the kernel, which are aligned, mostly lie in one chunk.
        """
        whole = self._buffers.chunk_bytes
        return min(whole - front % whole, page_ceil(self.end - front))

    def _append(self, front: int, buffer: bytearray) -> _Chunk:
        chunk = _Chunk(front, buffer)
        self._chunks.append(chunk)
        self._starts.append(front)
        return chunk

    def _is_wanted(self, front: int) -> bool:
        return any(waiter.end > front for waiter in self._waiters)

    # The side of the readers.

    @property
    def front(self) -> int:
        """Where in the object the received bytes end."""
        return self.start + self.received

    @property
    def kept_from(self) -> int:
        """Where in the object the bytes begin that are still here."""
        return self._starts[0] if self._starts else self.front

    @property
    def reach(self) -> int:
        """How far the bytes go that are here or will come without anybody's doing."""
        if self.is_finished or self._is_stopped:
            return self.front
        return max(self.front, min(self.end, self._limit))

    @property
    def missing_bytes(self) -> int:
        """How many bytes are still to come."""
        return 0 if self.is_finished or self._is_stopped else self.end - self.front

    @property
    def is_stopped(self) -> bool:
        """Whether it takes no more bytes, though its task may still run."""
        return self._is_stopped or self.is_finished

    @property
    def was_ended_early(self) -> bool:
        """Whether this side ended it: no memory, no reader, or stopped."""
        return self._is_stopped

    @property
    def is_waited_for(self) -> bool:
        """Whether a task waits for bytes of it."""
        return bool(self._waiters)

    @property
    def rate(self) -> float:
        """Bytes a second from its first byte on, while it did not stand still for its reader."""
        now_s = time.monotonic()
        active_s = now_s - (self._began_s or now_s) - self._paused_s
        return self.received / max(active_s, 1e-6)

    def holds(self, offset: int) -> bool:
        """Say whether the byte at `offset` is here or will come."""
        return self.kept_from <= offset < self.reach

    async def wait(self, start: int, end: int) -> None:
        """Wait until bytes `start` to `end` are here, or no more will come (then see `front`).

        What is here when it returns stays until the caller's next checkpoint. Raises: the error
        of the request where it failed before `end`.
        """
        with self._changed:
            if self.front >= end or self.is_finished:
                return
            waiter = _Waiter(start, end)
            self._waiters.append(waiter)
            self._wanted = end if self._wanted is None else min(self._wanted, end)
            self._changed.notify_all()
        try:
            await waiter.arrived.wait()
        finally:
            if not self.is_from_disk:
                causes.note_wait()
            with self._changed:
                self._waiters.remove(waiter)
                self._wanted = self._least_wanted()
        if self.error is not None and self.front < end:
            raise copy.copy(self.error) from self.error

    def views(self, start: int, end: int) -> list[memoryview]:
        """Return bytes `start` to `end`, which are here, without copying."""
        views = []
        with self._changed:
            index = bisect_right(self._starts, start) - 1
            while start < end:
                chunk = self._chunks[index]
                stop = min(end, chunk.end)
                views.append(chunk.readable[start - chunk.start : stop - chunk.start])
                start = stop
                index += 1
        return views

    def allow(self, limit: int) -> None:
        """Let chunks begin up to offset `limit`."""
        with self._changed:
            self._limit = max(self._limit, limit)
            self._changed.notify_all()

    def stop(self) -> None:
        """Take no more bytes; the request ends at the next of them."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def drop_before(self, offset: int) -> None:
        """Give back the chunks that end at or before `offset`, unless a task waits for them."""
        with self._changed:
            for waiter in self._waiters:
                offset = min(offset, waiter.start)
            offset = min(offset, self.front) if not self.is_finished else offset
            count = 0
            while count < len(self._chunks) and self._chunks[count].end <= offset:
                count += 1
            dropped = self._chunks[:count]
            del self._chunks[:count], self._starts[:count]
        for chunk in dropped:
            self._buffers.release(chunk.retire())

    def drop_all(self) -> None:
        """Give back everything that nobody waits for; a request still running is stopped."""
        if not self.is_finished:
            self.stop()
        self.drop_before(self._starts[-1] + self._buffers.chunk_bytes if self._starts else 0)

    def finish(self, error: StorageError | None) -> None:
        """Say that the request is over, and wake everybody."""
        with self._changed:
            self.is_finished = True
            self.error = error
            waiters = tuple(self._waiters)
        for waiter in waiters:
            waiter.arrived.set()

    def _wake(self) -> None:
        with self._changed:
            arrived = [waiter for waiter in self._waiters if waiter.end <= self.front]
            for waiter in arrived:
                waiter.arrived.set()
            self._wanted = self._least_wanted()

    def _least_wanted(self) -> int | None:
        ends = [waiter.end for waiter in self._waiters if not waiter.arrived.is_set()]
        return min(ends, default=None)
