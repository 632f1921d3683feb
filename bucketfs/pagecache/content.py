"""The content of one open file: reads merge what was written with the base, writes go to pages.

A content rests on one version of an object (its base) or on nothing, and keeps every written byte
until a save has put it into the bucket. All handles of a file share one content.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio

from bucketfs.errors import ObjectChanged, ObjectNotFound, Transient
from bucketfs.pagecache.appending import AppendPolicy, Growth, has_same_bytes
from bucketfs.pagecache.base_version import FETCH_BYTES, Bases, BaseVersion
from bucketfs.pagecache.bodies import zeros
from bucketfs.pagecache.extents import END, Extent, Kind, Ranges, held
from bucketfs.pagecache.images import Image, take
from bucketfs.pagecache.pages import Pages, reading
from bucketfs.pagecache.records import UploadRecord
from bucketfs.pagecache.sending import Saved, Sender, Snapshot
from bucketfs.pagecache.target import Target
from bucketfs.pagecache.unfinished import Unfinished
from bucketfs.pagecache.uploader import Stream, is_full
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Precondition

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all contents of a mount share."""

    sender: Sender
    nursery: trio.Nursery
    bases: Bases
    keep_bytes: int
    """So many of a file's bytes stay in memory after its save, as long as there is room."""
    append: AppendPolicy = "auto"


class Content:
    """The bytes of one file. Its methods may run concurrently; in trio's thread only.

    `target`, where set, lets a growing file begin its upload while it is written. `is_restored`:
    `pages` have what an earlier mount left unsaved, over the base `info`.
    """

    def __init__(
        self,
        shared: Surroundings,
        pages: Pages,
        info: ObjectInfo | None,
        data: bytes | None = None,
        *,
        is_restored: bool = False,
    ) -> None:
        self.target: Target | None = None
        self._shared = shared
        self._pages = pages
        self._base = None if info is None else self._new_base(info, data)
        self._stream: Stream | None = None
        self._finishing: Stream | None = None
        # A file that was never saved has to be, even if empty; so has what a mount left unsaved.
        self._changes = 1 if info is None or is_restored else 0
        self._saved_changes = 0
        self._changed_ranges: Ranges | None = None  # written during the running save
        self._save_lock = trio.Lock()
        self._growth = Growth(shared.append)
        self._unfinished = Unfinished()
        self.record: int | None = None  # its number in the journal
        if info is not None and not is_restored:
            pages.rest_on_base(info.size)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self._pages.size

    @property
    def is_dirty(self) -> bool:
        """Whether there is anything that the bucket does not have."""
        return self._changes != self._saved_changes

    @property
    def base(self) -> ObjectInfo | None:
        """The version in the bucket that it rests on; None where it was never saved."""
        return self._base.info if self._base else None

    @property
    def is_streaming(self) -> bool:
        """Whether an upload is under way under the key that `target` named."""
        return self._stream is not None

    @property
    def changes(self) -> int:
        """How often it was changed: equal numbers, equal bytes."""
        return self._changes

    @property
    def streamed_attributes(self) -> ObjectAttributes | None:
        """What stands beside the object that an upload under way would make."""
        return (self._stream or self._unfinished).attributes

    @property
    def dirty_bytes(self) -> int:
        """How many bytes only this content has."""
        return self._pages.dirty_bytes if self.is_dirty else 0

    def figures(self) -> dict[str, int]:
        """Return how many bytes are where; `sent_bytes`: of the save or upload under way."""
        sending = self._stream or self._finishing or self._unfinished
        read_bytes = self._base.held_bytes if self._base else 0
        found = {**held(self._pages.extents), "sent_bytes": sending.sent_bytes}
        return {**found, "memory_bytes": found["memory_bytes"] + read_bytes}

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file.

        Raises: StorageError, ObjectChanged (others replaced the base), CacheDirectoryError.
        """
        while True:
            base = self._base
            try:
                return await self._read(offset, length)
            except ObjectChanged:
                async with self._save_lock:  # a save may be what replaced it: read on from there
                    if self._base is base:
                        raise

    async def _read(self, offset: int, length: int) -> bytes | memoryview:
        stop = min(offset + length, self._pages.size)
        if offset >= stop:
            return b""
        if self._pages.extents.is_all_base and self._base is not None:
            views = await self._base.read(offset, stop - offset)
            return views[0] if len(views) == 1 else b"".join(views)
        pieces: list[bytes | memoryview] = []
        async with reading(self._pages, offset, stop) as extents:
            for extent in extents:
                await self._read_extent(extent, pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`; a gap before it reads as zeros.

        Waits while too much is on its way to the bucket. `data` is kept as it is and must not
        change. Cancelled while waiting for space, nothing was written.
        Raises: FileTooLarge, NoSpace, CacheDirectoryError.
        """
        stop = offset + len(data)
        if stop == offset:
            return
        self._shared.sender.grid.check_size(stop)
        if not self._pages.write_now(offset, data):
            await self._pages.write(offset, data)
        # ATOMIC: up to `_feed` nobody sees the bytes without the marks.
        self._mark(offset, stop)
        if stop > self._shared.sender.grid.first_bytes:
            await self._feed(stop)

    async def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; what is new reads as zeros. Raises: FileTooLarge."""
        self._shared.sender.grid.check_size(size)
        if size == self._pages.size:
            return
        # ATOMIC: to the end.
        old_size = self._pages.size
        self._pages.truncate(size)
        self._mark(min(size, old_size), END)
        if self._stream is not None and size < self._stream.covered_bytes:
            self._drop_stream()

    def note_appender(self, *, is_synced: bool) -> None:
        """Note that a handle that only appends has it saved next; `is_synced`: and stays open."""
        self._growth.note_appender(is_synced=is_synced)

    def resume(self, upload: UploadRecord) -> None:
        """Have the next save go on with an upload that an earlier mount began for this file."""
        self._unfinished.restore(upload)

    async def save(
        self,
        key: str,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        *,
        may_append: bool = False,
    ) -> Saved:
        """Put the file into the bucket under `key`; a second save waits for the first.

        It saves the state of its beginning; bytes written meanwhile leave the content dirty. What
        was streamed has the attributes of its beginning: compare those returned. `may_append`: the
        object may grow by an append of the store, which keeps what stood beside it. Failed or
        cancelled, nothing is lost: still dirty, all bytes kept.
        Raises: StorageError, ObjectChanged, ObjectExists (both by the precondition).
        """
        async with self._save_lock, self._pages.frozen(0, END) as extents:
            # ATOMIC: from the frozen map to the end of `_begin_save`.
            changes = self._begin_save(key)
            snapshot = Snapshot(extents, self._pages.spill, self._base, self.record)
            append_at = self._append_at(snapshot, key, precondition) if may_append else None
            try:
                with self._shared.sender.room.uploading():
                    saved = await self._finish(snapshot, key, precondition)
                    if saved is None:
                        saved = await self._shared.sender.send(
                            snapshot, key, attributes, precondition, append_at, self._unfinished
                        )
            except BaseException:
                self._changed_ranges = None
                raise
            # ATOMIC: to the end of `_settle`.
            self._shared.sender.relief.forget(self._pages)
            self._settle(saved.info, snapshot.size, changes)
        await self._pages.drop_spill()
        return saved

    async def image(self) -> Image:
        """Have everything that only this has on disk, durably, and return what it consists of.

        Raises: NoSpace, CacheDirectoryError.
        """
        if self._stream is not None:
            await self._stream.own(self.record)
        await self._shared.sender.uploads.owned(self._unfinished.ongoing, self.record)
        while True:
            base = self._base
            image = await take(self._pages, base.info if base else None)
            # ATOMIC: on to the caller's next step. A save that ended meanwhile moved the base.
            if self._base is base:
                return image

    async def fetch_all(self) -> None:
        """Bring every byte that only the bucket has here; afterwards the base may vanish.

        The content does not become dirty. Failed, what was fetched so far stays.
        Raises: StorageError, ObjectChanged, NoSpace.
        """
        async with self._save_lock:
            self._pages.own_clean()
            offset = 0
            while offset < self._pages.size:
                at, stop = offset, min(offset + FETCH_BYTES, self._pages.size)
                for extent in self._pages.extents.slices(at, stop):
                    if extent.kind is Kind.BASE:
                        data = await self._read_base(extent.start, extent.length)
                        await self._pages.fill(extent.start, data)
                offset = stop

    async def shared_with(self, found: ObjectInfo) -> int | None:
        """Return how far an object that grew from the base has the same bytes; None: it has others.

        That is the end of the shorter one. Where not both have grown, nothing can be said. Raises:
        StorageError, ObjectChanged.
        """
        start = self._base.info.size if self._base is not None else 0
        stop = min(found.size, self.size)
        is_edited = any(e.is_changed for e in self._pages.extents.slices(0, min(start, stop)))
        if not found.is_appendable or is_edited or (start >= stop and self._pages.size):
            return None
        grown = self._new_base(found, None)
        try:
            return stop if await has_same_bytes(grown.read, self.read, start, stop) else None
        finally:
            grown.retire()

    def rest_on(self, info: ObjectInfo) -> None:
        """Be what an object is, with nothing of one's own. Only while nobody writes."""
        # ATOMIC: to the end.
        self._pages.rest_on_base(info.size)
        old, self._base = self._base, self._new_base(info, None)
        if old is not None:
            old.retire()
        self._saved_changes = self._changes

    def rebased(self, info: ObjectInfo) -> None:
        """Note that the bytes of the base are now at this key and version (rename, attributes)."""
        if self._base is None:
            self._base = self._new_base(info, None)
        else:
            self._base.moved(info)

    async def discard(self) -> None:
        """Forget everything: bytes, spill file, a streaming upload. No method may follow.

        Raises: CacheDirectoryError (the spill file cannot be removed).
        """
        if self._stream is not None:
            self._drop_stream()
        self._shared.sender.relief.forget(self._pages)
        async with self._save_lock:
            self._shared.sender.drop(self._unfinished)
            if self._base is not None:
                self._base.retire()
                self._base = None
            await self._pages.discard()

    async def _read_extent(self, extent: Extent, pieces: list[bytes | memoryview]) -> None:
        """Add the bytes of `extent` to `pieces`."""
        if extent.kind is Kind.BASE:
            assert self._base is not None, "an extent of the base, but no base"
            pieces += await self._base.read(extent.start, extent.length)
        elif extent.kind is Kind.ZERO:
            pieces.append(zeros(extent.length))
        elif extent.kind is Kind.SPILLED:
            pieces.append(await self._pages.read_spilled(extent.start, extent.length))
        else:
            pieces.append(extent.view())

    async def _read_base(self, start: int, length: int) -> bytes:
        assert self._base is not None, "an extent of the base, but no base"
        return b"".join(await self._base.read(start, length))

    def _mark(self, start: int, stop: int) -> None:
        """Note that the bytes from `start` to `stop` are not what they were."""
        self._changes += 1
        self._unfinished.touch(start, stop)
        if self._changed_ranges is not None:
            self._changed_ranges.add(start, stop)
        if self._stream is not None:
            self._stream.touch(start, stop)

    async def _feed(self, written_stop: int) -> None:
        """Send what is full of a growing file; begin to where that is worth it."""
        if self._changed_ranges is not None or self._unfinished.attributes is not None:
            return  # being saved, or an upload goes on: the rest is for the next save
        if self._stream is None:
            first = self._shared.sender.grid.first_bytes
            is_growing = written_stop == self._pages.size
            if self.target is None or not is_growing or not is_full(self._pages, 0, first):
                return
            target = self.target
            sender = self._shared.sender
            self._stream = Stream(sender, self._pages, target.key(), target.attributes())
            self._shared.nursery.start_soon(self._stream.run)
        await self._stream.feed()

    def _begin_save(self, key: str) -> int:
        """Note which state is saved; a stream to another key is dropped."""
        self._changed_ranges = Ranges()
        self._unfinished.freeze()
        if self._stream is not None and self._stream.key != key:
            self._drop_stream()
        return self._changes

    def _append_at(
        self, snapshot: Snapshot, key: str, precondition: Precondition | None
    ) -> int | None:
        """Return where the object at `key` may grow by an append, None: it may not."""
        base = snapshot.base.info if snapshot.base is not None else None
        if base is not None and base.key != key:
            return None
        capabilities = self._shared.sender.store.capabilities
        return self._growth.position(snapshot.extents, base, precondition, capabilities)

    async def _finish(
        self, snapshot: Snapshot, key: str, precondition: Precondition | None
    ) -> Saved | None:
        """Finish the stream; None where there is none, or none any more."""
        # From here on the stream is out of reach of writes: it belongs to the snapshot.
        stream, self._stream = self._stream, None
        self._finishing = stream
        if stream is not None and await stream.has_begun():
            try:
                info = await stream.finish(snapshot, precondition)
            except Transient:
                self._unfinished.ongoing = stream.ongoing()  # the next save goes on
                raise
            except ObjectNotFound as exc:
                log.info("the upload to %r is gone; sending all again: %s", key, exc)
                self._shared.nursery.start_soon(stream.abort)
            except BaseException:
                self._shared.nursery.start_soon(stream.abort)
                raise
            else:
                return Saved(info, stream.attributes)
        return None

    def _settle(self, info: ObjectInfo, saved_size: int, changes: int) -> None:
        """Rest on what was saved; only what was written since is still dirty."""
        changed, self._changed_ranges = self._changed_ranges, None
        assert changed is not None, "the end of a save that never began"
        saved = changed.gaps(min(saved_size, self._pages.size))
        self._pages.settle(saved, self._shared.keep_bytes)
        old, self._base = self._base, self._new_base(info, None)
        if old is not None:
            old.retire()
        self._saved_changes = changes

    def _drop_stream(self) -> None:
        """Abort the streaming upload in the background."""
        assert self._stream is not None
        self._shared.nursery.start_soon(self._stream.abort)
        self._stream = None

    def _new_base(self, info: ObjectInfo, data: bytes | None) -> BaseVersion:
        return self._shared.bases.open(info, data)
