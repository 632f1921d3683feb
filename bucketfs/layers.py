"""The layers of one mount above its store, put together: names, pages, handles, operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import trio

from bucketfs.counting import causes
from bucketfs.counting.statistics import Statistics
from bucketfs.fuse.boundary import InFlightTable
from bucketfs.fuse.describing import Describer
from bucketfs.fuse.door import Door
from bucketfs.fuse.draining import Drainer
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.fuse.jobs import JournalledJobs
from bucketfs.fuse.keeping import Keeper, restore
from bucketfs.fuse.operations import Operations
from bucketfs.fuse.pending import Pending
from bucketfs.fuse.writeback import WriteBack
from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.finder import AttributesPolicy, Finder
from bucketfs.namespace.remembered import Remembered
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.journal import Journal
from bucketfs.settings import MountSettings, mask_url, scheme_of
from bucketfs.storage.interface import ObjectStore


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one mount, from the kernel down."""

    operations: Operations
    in_flight: InFlightTable
    handles: Handles
    drainer: Drainer
    pending: Pending
    pages: PageCache
    tree: Tree
    journal: Journal
    jobs: JournalledJobs
    durability: Durability
    later: WriteBack | None
    remembered: Remembered
    statistics: Statistics
    is_writable: bool
    describer: Describer

    async def restore(self) -> None:
        """End the jobs of an earlier mount, and put what it left unsaved back, to be saved soon."""
        with causes.acting(causes.own("replay")):
            await self.jobs.replay_left(self.tree.replay, is_first=True)
            records = {record.number: record for record in self.journal.files}
            keeper = self.durability.keeper
            for node in await restore(self.journal, self.tree, self.pages, keeper):
                if node.record in records:
                    self.pending.restored(node, records[node.record])
                self.durability.closed(node)

    def start(self, nursery: trio.Nursery) -> None:
        """Start what goes on as long as the mount lives."""
        nursery.start_soon(self.in_flight.sweep_for_ever)
        nursery.start_soon(causes.attributed, "retry", self.drainer.retry_for_ever)
        nursery.start_soon(self.journal.write_later_ones)
        nursery.start_soon(self.remembered.write_for_ever)
        if self.is_writable:
            nursery.start_soon(
                causes.attributed, "replay", self.jobs.retry_for_ever, self.tree.replay
            )
        if self.later is not None:
            nursery.start_soon(self.later.run, self.durability)


def build(
    settings: MountSettings,
    store: ObjectStore,
    pages: PageCache,
    journal: Journal,
    nursery: trio.Nursery,
    statistics: Statistics | None = None,
    remembered: Remembered | None = None,
) -> Layers:
    """Put the layers above the store together."""
    remembered = remembered or Remembered(None)
    statistics = statistics or Statistics(scheme=scheme_of(settings.url))
    keeper, jobs = Keeper(journal), JournalledJobs(journal)
    later = _write_back(settings, statistics)
    tree = keeper.tree = _names(settings, store, keeper, jobs, later, nursery, remembered)
    pending, door = Pending(tree), Door()
    durability = Durability(tree, keeper, later, pending)
    handles = Handles(tree, pages, durability, ttl_s=settings.ttl_s)
    in_flight = InFlightTable(admission=statistics.crawlers)
    describer = Describer(store, pending, pages.blocks, mask_url(settings.url))
    operations = Operations(
        tree, handles, in_flight, describer, ttl_s=settings.ttl_s, has_acl=settings.acl, door=door
    )
    return Layers(
        operations=operations,
        in_flight=in_flight,
        handles=handles,
        drainer=Drainer(pending, durability, door, concurrency=settings.concurrency),
        pending=pending,
        pages=pages,
        tree=tree,
        journal=journal,
        durability=durability,
        later=later,
        remembered=remembered,
        jobs=jobs,
        statistics=statistics,
        is_writable=not settings.is_read_only,
        describer=describer,
    )


def _write_back(settings: MountSettings, statistics: Statistics) -> WriteBack | None:
    if not settings.is_write_back:
        return None
    return WriteBack(most=settings.concurrency, programs=statistics.programs)


def _names(
    settings: MountSettings,
    store: ObjectStore,
    keeper: Keeper,
    jobs: JournalledJobs,
    later: WriteBack | None,
    nursery: trio.Nursery,
    remembered: Remembered,
) -> Tree:
    """Return the names of the bucket, which tell `keeper` what becomes of kept files."""
    defaults = Defaults(
        settings.owner_uid, settings.owner_gid, settings.file_mode, settings.directory_mode
    )
    finder = Finder(
        store,
        ttl_s=settings.ttl_s,
        defaults=defaults,
        attributes_policy=cast("AttributesPolicy", settings.attributes_policy),
        concurrency=settings.concurrency,
        nursery=nursery,
        remembered=remembered,
    )
    return Tree(
        store,
        finder,
        defaults=defaults,
        ttl_s=settings.ttl_s,
        is_read_only=settings.is_read_only,
        has_acl=settings.acl,
        concurrency=settings.concurrency,
        kept=keeper,
        jobs=jobs,
        conflict=settings.conflict,
        later=later.add if later is not None else None,
    )
