"""The bytes behind a file's extents: memory first, the spill file when memory is short.

Everything here is about one file. The threads that write and read spill files are started here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

import trio

from bucketfs.pagecache.extents import END, Extent, Extents, Kind, Ranges
from bucketfs.pagecache.pieces import PAGE_BUFFER_BYTES, Piece
from bucketfs.pagecache.room import Room
from bucketfs.pagecache.spill import SpillFile

SMALL_BYTES = PAGE_BUFFER_BYTES // 2
"""Writes up to this size are gathered; larger ones keep the kernel's own `bytes` object."""


class Pages:
    """The written bytes of one file, and the map that says which bytes of it are where.

    Bytes of the base are not here: who reads asks `extents` first. Used in trio's thread only;
    methods that are not coroutines change everything in one step.
    """

    def __init__(self, room: Room, spill: SpillFile, limiter: trio.CapacityLimiter) -> None:
        self.extents = Extents()
        self.spill = spill
        self._room = room
        self._limiter = limiter
        self._lock = trio.Lock()  # of whoever writes to the spill file
        self._pins: dict[object, Ranges] = {}
        self._unpinned = trio.Event()
        self._is_drop_due = False
        self._open_piece: Piece | None = None
        self._open_stop = 0

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.extents.size

    @property
    def dirty_bytes(self) -> int:
        """How many written bytes are only here."""
        dirty = (Kind.DIRTY, Kind.SPILLED)
        return sum(extent.length for extent in self.extents if extent.kind in dirty)

    def rest_on_base(self, size: int) -> None:
        """Begin (again) as an unchanged base of `size` bytes."""
        self._release(self.extents)
        self.extents = Extents(size)

    def write_now(self, offset: int, data: bytes) -> bool:
        """Write into memory if there is some: the common case, with no waiting."""
        if not self._room.try_memory(len(data)):
            return False
        self._put_in_memory(offset, data)
        return True

    async def write(self, offset: int, data: bytes) -> None:
        """Write wherever there is space, waiting for uploads to free some if need be.

        Nothing else runs between the change of the extents and the return. Cancelled or failed, it
        has written nothing. Raises: NoSpace, CacheDirectoryError.
        """
        count = len(data)
        while not self.write_now(offset, data):
            if self._room.is_being_relieved:
                # Sent bytes make room in a moment; these would only have to be read back.
                await self._room.wait_changed()
            elif self._room.try_disk(count):
                await self._write_to_disk(offset, data)
                return
            else:
                await self._room.wait_for_space(count)

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; what is new reads as zeros."""
        self._release(self.extents.truncate(size))

    async def fill(self, offset: int, data: bytes) -> None:
        """Keep the base's bytes of an offset here, in memory or on disk; changed ranges stay.

        Waits for space. Raises: NoSpace, CacheDirectoryError.
        """
        while not self._fill_memory(offset, data):
            if self._room.try_disk(len(data)):
                await self._fill_disk(offset, data)
                return
            await self._room.wait_for_space(len(data))

    def own_clean(self) -> None:
        """Treat clean kept bytes as bytes that only this has: the base may vanish."""
        for extent in list(self.extents):
            if extent.kind is Kind.CLEAN:
                self.extents.put(extent.start, extent.stop, Kind.DIRTY, extent.piece, extent.shift)
        self._room.keeps_clean(self, 0)

    async def read_spilled(self, start: int, length: int) -> bytes:
        """Return bytes of a `SPILLED` extent. Raises: CacheDirectoryError."""
        return await trio.to_thread.run_sync(self.spill.read, start, length, limiter=self._limiter)

    def settle(self, ranges: Iterable[tuple[int, int]], keep_bytes: int) -> None:
        """Note that the new base has these ranges; at most `keep_bytes` of them stay here, too."""
        kept = 0
        for extent in [e for start, stop in ranges for e in self.extents.slices(start, stop)]:
            if extent.piece is not None and kept + extent.length <= keep_bytes:
                kept += extent.length
                self.extents.put(extent.start, extent.stop, Kind.CLEAN, extent.piece, extent.shift)
            else:
                self._release(self.extents.put(extent.start, extent.stop, Kind.BASE))
        self._room.keeps_clean(self, kept)

    def drop_clean(self) -> int:
        """Forget clean kept bytes; return how many bytes of memory that freed."""
        before = self._room.memory_bytes
        for extent in list(self.extents):
            if extent.kind is Kind.CLEAN:
                self._release(self.extents.put(extent.start, extent.stop, Kind.BASE))
        return before - self._room.memory_bytes

    @asynccontextmanager
    async def frozen(self, start: int, stop: int) -> AsyncIterator[Extents]:
        """Give a map of `start` to `stop` whose bytes stay readable, whatever is written meanwhile.

        Nothing else runs between the copy of the map and the first step of the caller's block.
        """
        token = object()
        if any(e.kind is Kind.SPILLED for e in self.extents.slices(start, min(stop, self.size))):
            async with self._lock:
                # ATOMIC: nobody is writing to the spill file now, nobody will over these ranges.
                extents = self._pin(token, start, stop)
        else:
            extents = self._pin(token, start, stop)
        try:
            yield extents
        finally:
            await self._unpin(token)

    async def spill_range(self, start: int, stop: int) -> None:
        """Move written bytes from memory to disk, unless a frozen map stands in the way.

        Raises: NoSpace, CacheDirectoryError; the bytes are still in memory then.
        """
        async with self._lock:
            stop = min(stop, self.size)
            moving = [e for e in self.extents.slices(start, stop) if e.kind is Kind.DIRTY]
            count = sum(extent.length for extent in moving)
            if not count or self._is_pinned(start, stop) or not self._room.try_disk(count):
                return
            moved = 0
            try:
                for run in _runs(moving):
                    await self._in_thread(run[0].start, [extent.view() for extent in run])
                # ATOMIC: to the end; what was written over meanwhile stays as it is now.
                for extent in moving:
                    moved += self._to_spilled(extent)
            finally:
                self._room.give_disk(count - moved)

    async def spill_all(self) -> Extents:
        """Have every byte that only this has on disk, durably; return the map of the beginning.

        Waits for space, and for uploads that still read what would be overwritten. What is written
        meanwhile may or may not be on disk as well. Raises: NoSpace, CacheDirectoryError.
        """
        extents = self.extents.copy()
        for run in _runs([extent for extent in extents if extent.kind is Kind.DIRTY]):
            start, stop = run[0].start, run[-1].stop
            while not self._room.try_disk(stop - start):
                await self._room.wait_for_disk()
            moved = 0
            try:
                async with self._unpinned_lock(start, stop):
                    await self._in_thread(start, [extent.view() for extent in run])
                # ATOMIC: to the end of the run; what was written over meanwhile stays as it is.
                for extent in run:
                    moved += self._to_spilled(extent)
            finally:
                self._room.give_disk(stop - start - moved)
        await trio.to_thread.run_sync(self.spill.sync, limiter=self._limiter)
        return extents

    def place(self, start: int, stop: int, kind: Kind) -> None:
        """Say of a restored file where a range is: `SPILLED`, by an earlier mount, or `ZERO`."""
        if kind is Kind.SPILLED:
            self._room.adopt_disk(stop - start)
        self._release(self.extents.put(start, stop, kind))

    async def discard(self) -> None:
        """Forget everything and remove the spill file. Raises: CacheDirectoryError."""
        self._room.keeps_clean(self, 0)
        self.rest_on_base(0)
        await self.drop_spill()

    async def drop_spill(self) -> None:
        """Remove the spill file if no extent is in it any more.

        While somebody reads it, by a frozen map or without, that is left to the last of them. Not a
        checkpoint for the many files that never had one. Raises: CacheDirectoryError.
        """
        if not (self.spill.is_there or self._lock.locked()):
            return
        async with self._lock:
            self._is_drop_due = self._is_pinned(0, END)
            is_used = any(extent.kind is Kind.SPILLED for extent in self.extents)
            if not is_used and not self._is_drop_due:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self.spill.discard, limiter=self._limiter)

    def _put_in_memory(self, offset: int, data: bytes) -> None:
        """Put `data`, whose memory is taken, at `offset`."""
        stop = offset + len(data)
        piece = self._open_piece
        if len(data) > SMALL_BYTES:
            piece = Piece(data)
        elif piece is not None and self._open_stop == offset and piece.room_bytes >= len(data):
            piece.extend(data)
        elif offset in (self.size, self._open_stop):
            piece = self._open_piece = Piece.gathering(data, offset)
        else:
            piece = Piece(data)
        if len(data) <= SMALL_BYTES:
            self._open_stop = stop
            self._open_piece = piece
        shift = piece.filled_bytes - stop
        self._release(self.extents.put(offset, stop, Kind.DIRTY, piece, shift))

    async def _write_to_disk(self, offset: int, data: bytes) -> None:
        """Write `data`, whose disk space is taken, to the spill file."""
        stop = offset + len(data)
        try:
            async with self._unpinned_lock(offset, stop):
                await self._in_thread(offset, [data])
        except BaseException:
            self._room.give_disk(len(data))
            raise
        # ATOMIC: the lock was released without a checkpoint; on to the caller's return.
        self._release(self.extents.put(offset, stop, Kind.SPILLED))

    @asynccontextmanager
    async def _unpinned_lock(self, start: int, stop: int) -> AsyncIterator[None]:
        """Hold the lock with nothing pinned between `start` and `stop`.

        Nobody waits for a pin with the lock in hand: who holds the pin may need the lock.
        """
        while True:
            while self._is_pinned(start, stop):
                await self._unpinned.wait()
            async with self._lock:
                if not self._is_pinned(start, stop):
                    yield
                    return

    def _fill_memory(self, offset: int, data: bytes) -> bool:
        """Do it in memory, if there is some."""
        if not self._room.try_memory(len(data)):
            return False
        piece = Piece(data)
        piece.live_bytes = 0
        for extent in self._base_slices(offset, data):
            self.extents.put(extent.start, extent.stop, Kind.DIRTY, piece, -offset)
            piece.live_bytes += extent.length
        if not piece.live_bytes:
            self._room.give_memory(piece.charged_bytes)
        return True

    async def _fill_disk(self, offset: int, data: bytes) -> None:
        """Do it on disk, whose space is taken."""
        used = 0
        try:
            async with self._unpinned_lock(offset, offset + len(data)):
                for extent in self._base_slices(offset, data):
                    part = memoryview(data)[extent.start - offset : extent.stop - offset]
                    await self._in_thread(extent.start, [part])
                # ATOMIC: to the end of the method; what was written over meanwhile stays.
                for extent in self._base_slices(offset, data):
                    self.extents.put(extent.start, extent.stop, Kind.SPILLED)
                    used += extent.length
        finally:
            self._room.give_disk(len(data) - used)

    def _base_slices(self, offset: int, data: bytes) -> list[Extent]:
        """Return the extents under `data` that are still only in the base."""
        slices = self.extents.slices(offset, offset + len(data))
        return [extent for extent in slices if extent.kind is Kind.BASE]

    async def _in_thread(self, offset: int, buffers: list[bytes] | list[memoryview]) -> None:
        """Write buffers to the spill file; a cancelled caller waits for the end of it."""
        await trio.to_thread.run_sync(self.spill.write, offset, buffers, limiter=self._limiter)

    def _to_spilled(self, written: Extent) -> int:
        """Say that `written` is on disk where it is still the file's; return how many bytes are."""
        moved = 0
        for extent in self.extents.slices(written.start, written.stop):
            if extent[2:] == written[2:]:
                self._release(self.extents.put(extent.start, extent.stop, Kind.SPILLED))
                moved += extent.length
        return moved

    def _pin(self, token: object, start: int, stop: int) -> Extents:
        """Copy the map of a range and keep its bytes in the spill file until `token` is let go."""
        extents = self.extents.copy(start, stop)
        ranges = Ranges()
        for extent in extents:
            if extent.kind is Kind.SPILLED:
                ranges.add(extent.start, extent.stop)
        self._pins[token] = ranges
        return extents

    async def _unpin(self, token: object) -> None:
        """Let go of what `token` pinned. Raises: CacheDirectoryError."""
        del self._pins[token]
        self._unpinned.set()
        self._unpinned = trio.Event()
        if self._is_drop_due:
            with trio.CancelScope(shield=True):
                await self.drop_spill()

    def _is_pinned(self, start: int, stop: int) -> bool:
        return any(ranges.overlaps(start, stop) for ranges in self._pins.values())

    def _release(self, removed: Iterable[Extent]) -> None:
        """Give back what extents held that are no longer the file's."""
        for extent in removed:
            if extent.kind is Kind.SPILLED:
                self._room.give_disk(extent.length)
            elif extent.piece is not None:
                piece = extent.piece
                piece.live_bytes -= extent.length
                if not piece.live_bytes:
                    charged, piece.charged_bytes = piece.charged_bytes, 0
                    self._room.give_memory(charged)


@asynccontextmanager
async def reading(pages: Pages, start: int, stop: int) -> AsyncIterator[Sequence[Extent]]:
    """Give the extents of a range; those that are spilled stay where they are meanwhile."""
    extents = pages.extents.slices(start, stop)
    spilled = [extent for extent in extents if extent.kind is Kind.SPILLED]
    if not spilled:
        yield extents
        return
    token = object()
    pages._pins[token] = ranges = Ranges()
    for extent in spilled:
        ranges.add(extent.start, extent.stop)
    try:
        yield extents
    finally:
        await pages._unpin(token)


def _runs(extents: list[Extent]) -> Iterator[list[Extent]]:
    """Yield the extents in groups without gaps."""
    run: list[Extent] = []
    for extent in extents:
        if run and run[-1].stop != extent.start:
            yield run
            run = []
        run.append(extent)
    if run:
        yield run
