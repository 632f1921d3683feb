"""A tree over a bucket in memory, with a store that notes requests and can fail them."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import trio

from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.dentries import Child
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.nodes import Caller, Node
from bucketfs.namespace.tree import Tree
from bucketfs.storage.interface import (
    Body,
    BytesBody,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore

CALLER = Caller(1000, 1000)
ROOT = Caller(0, 0)
DEFAULTS = Defaults(1000, 1000)
NO_MOVE = replace(DEFAULT_CAPABILITIES, move=False)


async def listed(tree: Tree, directory: Node) -> list[Child]:
    """Return what a directory shows, in its order."""
    return [child async for page in tree.pages(directory) for child in page]


class NotingStore(MemoryStore):
    """A bucket that notes every change asked of it. `before` runs first and may raise or wait."""

    def __init__(self, capabilities: Capabilities) -> None:
        super().__init__(capabilities=capabilities)
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], object] = lambda operation, key: None

    async def _note(self, operation: str, key: str) -> None:
        self.requests.append((operation, key))
        wait = self.before(operation, key)
        if isinstance(wait, trio.Event):
            await wait.wait()

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        await self._note("write", key)
        return await super().write(key, body, attributes, precondition)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        await self._note("append", key)
        return await super().append(key, position, body, attributes)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        await self._note("copy", target)
        return await super().copy(
            source,
            target,
            attributes=attributes,
            source_version=source_version,
            precondition=precondition,
        )

    async def move(self, source: str, target: str) -> ObjectInfo:
        await self._note("move", target)
        return await super().move(source, target)

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        await self._note("delete", key)
        await super().delete(key, if_version)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        listed = list(keys)
        for key in listed:
            await self._note("delete", key)
        return await super().delete_many(listed)


@dataclass
class Saved:
    """What `FakeBytes.save` returns."""

    info: ObjectInfo
    attributes: ObjectAttributes


class FakeBytes:
    """A file's content in one bytearray. `began` plays an upload that began with attributes."""

    def __init__(self, store: MemoryStore, base: ObjectInfo | None = None) -> None:
        self._store = store
        self.data = bytearray()
        self.base = base
        self.is_dirty = False
        self.is_fetched = False
        self.is_discarded = False
        self.began: ObjectAttributes | None = None

    @property
    def size(self) -> int:
        return len(self.data) if self.base is None or self.data else self.base.size

    @property
    def is_streaming(self) -> bool:
        return self.began is not None

    def put(self, data: bytes) -> None:
        self.data[:] = data
        self.is_dirty = True

    async def save(
        self,
        key: str,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        *,
        may_append: bool = False,
    ) -> Saved:
        sent = self.began or attributes
        if may_append and self.base is not None and self.base.is_appendable:
            return await self._grow(key, self.base)
        info = await self._store.write(key, BytesBody(bytes(self.data)), sent, precondition)
        self.base, self.is_dirty, self.began = info, False, None
        return Saved(info, sent)

    async def _grow(self, key: str, old: ObjectInfo) -> Saved:
        body = BytesBody(bytes(self.data[old.size :]))
        info = await self._store.append(key, old.size, body)
        self.base, self.is_dirty = info, False
        return Saved(info, ObjectAttributes(info.metadata or {}, info.content_type))

    async def fetch_all(self) -> None:
        assert self.base is not None
        buffer = bytearray(self.base.size)
        sink = MemorySink(buffer)
        await self._store.read_range(
            self.base.key, 0, len(buffer), sink, if_version=self.base.version
        )
        self.data, self.is_fetched = buffer, True

    async def shared_with(self, found: ObjectInfo) -> int | None:
        buffer = bytearray(found.size)
        await self._store.read_range(found.key, 0, found.size, MemorySink(buffer))
        stop = min(len(buffer), len(self.data))
        return stop if found.is_appendable and self.data[:stop] == buffer[:stop] else None

    def rest_on(self, info: ObjectInfo) -> None:
        raise AssertionError("nothing here is restored")

    def rebased(self, info: ObjectInfo) -> None:
        self.base = info

    async def discard(self) -> None:
        self.is_discarded = True


@dataclass
class World:
    """One mount's names over one bucket, and what a person would do with it."""

    store: NotingStore
    tree: Tree
    finder: Finder
    clock: list[int] = field(default_factory=lambda: [10**18])

    @property
    def root(self) -> Node:
        return self.tree.root

    async def open_new(self, parent: Node, name: bytes, data: bytes = b"") -> Node:
        """Create a file and leave it open, written and unsaved."""
        node = await self.tree.create(parent, name, 0o644, CALLER)
        content = FakeBytes(self.store)
        content.put(data)
        node.content = content
        self.tree.opened(node, is_writer=True)
        return node

    async def file(self, parent: Node, name: bytes, data: bytes = b"x") -> Node:
        """Create, write, save and close a file."""
        node = await self.open_new(parent, name, data)
        await self.tree.save(node)
        await self.tree.closed(node, is_writer=True)
        return node

    async def directory(self, parent: Node, name: bytes) -> Node:
        """Make a directory."""
        return await self.tree.make_directory(parent, name, 0o755, CALLER)

    def reopen(self, node: Node, *, is_writer: bool = False) -> FakeBytes:
        """Open a file that is in the bucket."""
        assert node.info is not None
        content = FakeBytes(self.store, node.info)
        node.content = content
        self.tree.opened(node, is_writer=is_writer)
        return content

    async def others_put(self, key: str, data: bytes = b"", **metadata: str) -> ObjectInfo:
        """Put an object as another client of the bucket would."""
        return await MemoryStore.write(self.store, key, BytesBody(data), ObjectAttributes(metadata))

    async def keys(self) -> list[str]:
        """Return every key of the bucket."""
        page = await self.store.list_page("")
        return [info.key for info in page.objects]

    async def metadata(self, key: str) -> Mapping[str, str]:
        """Return the metadata of an object."""
        info = await self.store.stat(key)
        assert info.metadata is not None
        return info.metadata

    async def names(self, directory: Node) -> list[bytes]:
        """List a directory, in order."""
        return sorted([child.name for child in await listed(self.tree, directory)])

    async def lookup(self, *path: bytes) -> Node:
        """Walk down from the root."""
        node = self.root
        for name in path:
            node = await self.tree.lookup(node, name)
        return node


def make_world(
    nursery: trio.Nursery,
    *,
    capabilities: Capabilities = NO_MOVE,
    ttl_s: float = 0.0,
    is_read_only: bool = False,
    has_acl: bool = False,
    store: NotingStore | None = None,
) -> World:
    """Build a tree over a new bucket (or over `store`) whose clock advances 1 s at every look."""
    if store is None:
        store = NotingStore(capabilities)
    clock = [10**18]

    def now_ns() -> int:
        clock[0] += 10**9
        return clock[0]

    finder = Finder(store, ttl_s=ttl_s, defaults=DEFAULTS, nursery=nursery)
    tree = Tree(
        store,
        finder,
        defaults=DEFAULTS,
        ttl_s=ttl_s,
        is_read_only=is_read_only,
        has_acl=has_acl,
        clock_ns=now_ns,
    )
    return World(store, tree, finder, clock)


def mode_of(node: Node) -> int:
    """Return a node's permission bits."""
    return stat.S_IMODE(node.attributes.mode)
