"""Mounts without the kernel over one bucket in memory, which can be killed at every step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.fuse.jobs import JournalledJobs
from bucketfs.fuse.keeping import Keeper, restore
from bucketfs.fuse.writeback import WriteBack
from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.nodes import Caller, Node
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.group_commit import GroupCommit
from bucketfs.pagecache.journal import Journal
from bucketfs.storage.interface import (
    BytesBody,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Version,
)
from bucketfs.storage.memory import MemoryStore

ME = Caller(0, 0)
DEFAULTS = Defaults(0, 0)
CHANGING = ("write", "copy", "move", "delete", "delete_many")
ASKING = ("stat", "list_page", "read_range")


class Killed(Exception):
    """Ends a call where a kill would end everything."""


class Death:
    """Comes at step `at` (None: never), and from then on nothing is done any more."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.steps = 0

    def step(self) -> None:
        """Count a moment at which a process may die."""
        self.steps += 1
        if self.at is not None and self.steps >= self.at:
            raise Killed

    def begin(self, at: int | None) -> None:
        """Count anew."""
        self.steps, self.at = 0, at

    def around(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return `call` with a moment to die before it and one after it."""

        async def mortal(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = await call(*arguments, **named)
            self.step()
            return result

        return mortal


class MortalStore(MemoryStore):
    """A bucket whose users may die before and after each request. `has_etags`: as clouds have."""

    def __init__(self, capabilities: Capabilities, *, has_etags: bool) -> None:
        super().__init__(capabilities=capabilities)
        self.death = Death()
        self._has_etags = has_etags
        for name in CHANGING:
            setattr(self, name, self.death.around(getattr(self, name)))
        for name in ASKING:
            setattr(self, name, self._asking(getattr(self, name)))

    def _asking(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asking(*arguments: Any, **named: Any) -> Any:
            if self.death.at is not None and self.death.steps >= self.death.at:
                raise Killed
            return await call(*arguments, **named)

        return asking

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete one after the other, so that half of them may be gone."""
        for key in list(keys):
            await self.delete(key)
        return {}

    def _put(
        self, key: str, data: bytes, attributes: ObjectAttributes, *, is_appendable: bool = False
    ) -> ObjectInfo:
        info = super()._put(key, data, attributes, is_appendable=is_appendable)
        if self._has_etags:
            info = replace(info, version=Version(hashlib.md5(data).hexdigest()))
            self._objects[key] = replace(self._objects[key], info=info)
        return info

    async def put(self, key: str, data: bytes) -> None:
        """Store an object as another client does, without metadata."""
        await MemoryStore.write(self, key, BytesBody(data), ObjectAttributes())

    async def contents(self) -> dict[str, bytes]:
        """Return every object's bytes."""
        found = {}
        for info in (await MemoryStore.list_page(self, "")).objects:
            buffer = bytearray(info.size)
            await MemoryStore.read_range(self, info.key, 0, info.size, MemorySink(buffer))
            found[info.key] = bytes(buffer)
        return found


@dataclass
class Life:
    """One mount of a bucket, without the kernel."""

    store: MortalStore
    tree: Tree
    pages: PageCache
    journal: Journal
    jobs: JournalledJobs
    handles: Handles
    restored: list[Node] = field(default_factory=list)

    @property
    def root(self) -> Node:
        """The directory that it shows."""
        return self.tree.root

    async def create(self, parent: Node, name: bytes, data: bytes, *, is_saved: bool) -> Node:
        """Write a file and close it; unsaved ones are in the journal then."""
        node = await self.tree.create(parent, name, 0o644, ME)
        number = self.handles.opened(node, os.O_RDWR)
        await self.handles.write(number, 0, data)
        await self.handles.flush(number)
        await self.handles.close(number)
        if is_saved:
            await self.tree.save(node)
        return node

    async def save_all(self) -> None:
        """Bring everything into the bucket."""
        for node in self.tree.unsaved():
            await self.tree.save(node)

    async def rest(self) -> None:
        """Live on for the moment after which the journal has forgotten what is done."""
        await GroupCommit.commit(self.journal._commits, is_durable=False)

    def die(self) -> None:
        """Leave everything as a killed process does, but for what the kernel closes."""
        self.journal._commits._connection.close()
        self.pages._folder.close()


async def live(store: MortalStore, folder: Path, nursery: trio.Nursery) -> Life:
    """Mount the bucket with write-back; what an earlier mount left is replayed and restored."""
    pages = PageCache(
        store,
        nursery,
        memory_bytes=8 << 20,
        disk_bytes=64 << 20,
        folder=folder,
        part_size=5 << 20,
        concurrency=2,
    )
    journal = Journal.open(folder, "memory://test")
    commits = journal._commits
    commits.commit = store.death.around(commits.commit)  # type: ignore[method-assign, assignment]
    keeper, jobs = Keeper(journal), JournalledJobs(journal)
    finder = Finder(store, ttl_s=0, defaults=DEFAULTS, concurrency=2, nursery=nursery)
    tree = Tree(store, finder, defaults=DEFAULTS, ttl_s=0, concurrency=2, kept=keeper, jobs=jobs)
    keeper.tree = tree
    handles = Handles(tree, pages, Durability(tree, keeper, WriteBack(most=2)), ttl_s=0)
    life = Life(store, tree, pages, journal, jobs, handles)
    try:
        await jobs.replay_left(tree.replay, is_first=True)
        life.restored = await restore(journal, tree, pages, keeper)
    except Killed:
        life.die()
        raise
    return life
