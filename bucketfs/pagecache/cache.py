"""The page cache of a mount: makes contents, and holds what they share.

Budgets, the cache folder, the sender and its limits, the threads for spill files.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from weakref import WeakSet

import trio

from bucketfs.pagecache.appending import AppendPolicy
from bucketfs.pagecache.base_version import Bases
from bucketfs.pagecache.blocks.source import BlockCache
from bucketfs.pagecache.blocks.warming import Warmer
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.content import Content, Surroundings
from bucketfs.pagecache.direct import Stages
from bucketfs.pagecache.folder import CacheFolder
from bucketfs.pagecache.images import Image, restore
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.orphans import Orphans, needed_uploads
from bucketfs.pagecache.pages import Pages
from bucketfs.pagecache.planner import Grid
from bucketfs.pagecache.records import UploadRecord
from bucketfs.pagecache.room import Room
from bucketfs.pagecache.sending import Sender
from bucketfs.pagecache.spill import SpillFile
from bucketfs.pagecache.window import ReadSettings
from bucketfs.storage.interface import ObjectInfo, ObjectStore

SPILL_THREADS = 4
"""Reads and writes of spill files at once: they are copies into the kernel's cache, mostly."""


class PageCache:
    """All file bytes of one mount, within `memory_bytes` of memory and `disk_bytes` of disk.

    `folder` is locked for this mount (None: a temporary one); `owner` is the name that others who
    want it are told; `append` says which files grow by native appends (see `appending`). Background
    tasks run in `nursery`. `read_cache_bytes`: disk for clean blocks (0: none) of the bucket called
    `identity`, which the next mount of it finds again. Making one blocks for a moment.
    Raises: CacheDirectoryError.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        memory_bytes: int,
        disk_bytes: int,
        folder: Path | None,
        part_size: int,
        concurrency: int,
        owner: str = "",
        append: AppendPolicy = "auto",
        read_cache_bytes: int = 0,
        identity: str = "",
    ) -> None:
        self.memory = Budget(memory_bytes)
        self._folder = CacheFolder.open(folder, owner)
        self._room = Room(self.memory, disk_bytes)
        self._spilling = trio.CapacityLimiter(SPILL_THREADS)
        self._stages = Stages()
        self._contents: WeakSet[Content] = WeakSet()
        self._begun: Mapping[int, UploadRecord] = {}
        self.blocks: BlockCache | None = None
        """The disk cache; None: there is none."""
        if read_cache_bytes:
            place = self._folder.blocks_path
            self.blocks = BlockCache(
                place, read_cache_bytes, identity, self.memory, concurrency=concurrency
            )
        reading = ReadSettings(concurrency=concurrency)
        grid = Grid(store.capabilities, part_size)
        self._shared = Surroundings(
            sender=Sender(store, self._room, nursery, grid=grid, concurrency=concurrency),
            nursery=nursery,
            bases=Bases(store, nursery, self.memory, reading, self.blocks),
            keep_bytes=min(part_size, memory_bytes // 8),
            append=append,
        )

    def open(self, info: ObjectInfo, data: bytes | None = None) -> Content:
        """Return the content of that version of an object; `data`: all its bytes, if known."""
        return self._content(info, data)

    def create(self) -> Content:
        """Return the content of a new file: empty, and dirty until its first save."""
        return self._content(None, None)

    def use_journal(self, journal: Journal, abort_after_s: float | None = None) -> None:
        """Have uploads written down in `journal` from now on, and go on with those in it.

        `abort_after_s` (None: nothing is aborted): see `orphans.Orphans.abort`.
        """
        self._shared.sender.uploads.journal = journal
        self._begun = needed_uploads(journal)
        if abort_after_s is not None:
            orphans = Orphans(self._shared.sender.store, journal)
            self._shared.nursery.start_soon(orphans.abort, abort_after_s)

    async def restore(self, image: Image, record: int | None = None) -> Content:
        """Return the content that an earlier mount of this cache folder left unsaved.

        `record` is its number in the journal: an upload begun for it goes on with its next save.
        Raises: CacheDirectoryError (its spill file is not there), NoSpace.
        """
        spill = self._spill()
        if image.spill is not None:
            name, stop = image.spill, image.spilled_stop
            await trio.to_thread.run_sync(spill.adopt, name, stop, limiter=self._spilling)
        pages = Pages(self._room, spill, self._spilling)
        await restore(pages, image)
        content = Content(self._shared, pages, image.base, is_restored=True)
        content.record = record
        begun = self._begun.get(record) if record is not None else None
        if begun is not None:
            content.resume(begun)
        return self._added(content)

    @property
    def folder(self) -> Path:
        """The cache folder, which is locked for this mount."""
        return self._folder.path

    def rescue(self, kept: Container[str] = ()) -> None:
        """Move spill files of dead mounts aside, but those named in `kept`. Blocks for a moment.

        Raises: CacheDirectoryError.
        """
        self._folder.rescue(kept)

    def statistics(self) -> Mapping[str, int]:
        """Return what is held now, in bytes, and how many requests are sending some."""
        return {
            "memory_bytes": self.memory.used_bytes,
            "written_memory_bytes": self._room.memory_bytes,
            "spilled_bytes": self._room.disk_bytes,
            "dirty_bytes": sum(content.dirty_bytes for content in self._contents),
            "uploads_in_flight": self._room.uploads,
            "sent_bytes": self._room.sent_bytes,
            **(self.blocks.statistics() if self.blocks is not None else {}),
        }

    def warmer(self) -> Warmer | None:
        """Return what brings objects to the disk cache; None: there is none."""
        if self.blocks is None:
            return None
        return Warmer(self.blocks, self._shared.sender.store, self.memory)

    async def aclose(self) -> None:
        """Let the cache folder go. Contents were saved or discarded before; none is used after.

        Spill files of contents that were not are left for the next mount's `lost+found`.
        """
        self._room.close()
        with trio.CancelScope(shield=True):
            if self.blocks is not None:
                await trio.to_thread.run_sync(self.blocks.close, limiter=self._spilling)
            await trio.to_thread.run_sync(self._folder.close, limiter=self._spilling)

    def _content(self, info: ObjectInfo | None, data: bytes | None) -> Content:
        spill = self._spill()
        return self._added(
            Content(self._shared, Pages(self._room, spill, self._spilling), info, data)
        )

    def _spill(self) -> SpillFile:
        return SpillFile(self._folder.spill_path, self._folder.new_spill_name, self._stages)

    def _added(self, content: Content) -> Content:
        self._contents.add(content)
        return content
