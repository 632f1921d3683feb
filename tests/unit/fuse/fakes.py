"""Stand-ins for what is below the kernel door: a tree of names and contents, without a bucket."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Sequence

import trio

from bucketfs.errors import BucketfsError, StaleHandle
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.dentries import Child
from bucketfs.namespace.nodes import Inode, Node
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Version


def make_node(inode: int, name: str, parent: Node | None, *, mode: int = 0o100644) -> Node:
    """Return a node that the bucket has, of 0 bytes."""
    is_directory = stat.S_ISDIR(mode)
    info = None if is_directory else ObjectInfo(name, 0, Version("v1"), 0)
    attributes = Attributes(mode, 1, 2, 10, 20, 30)
    return Node(Inode(inode), name, parent, attributes, is_directory=is_directory, info=info)


class FakeContent:
    """A file's bytes in a bytearray; `is_dirty` as long as nothing saved them."""

    def __init__(self, base: ObjectInfo | None, data: bytes | None) -> None:
        self.base = base
        self.data = bytearray(data or b"")
        self.is_dirty = base is None
        self.is_streaming = False
        self.target: object = None
        self.appender_syncs: list[bool] = []
        self.read_error: Exception | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def dirty_bytes(self) -> int:
        return len(self.data) if self.is_dirty else 0

    async def read(self, offset: int, length: int) -> bytes:
        if self.read_error is not None:
            raise self.read_error
        return bytes(self.data[offset : offset + length])

    async def write(self, offset: int, data: bytes) -> None:
        self.data.extend(bytes(max(0, offset - len(self.data))))
        self.data[offset : offset + len(data)] = data
        self.is_dirty = True

    def note_appender(self, *, is_synced: bool) -> None:
        self.appender_syncs.append(is_synced)

    async def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.is_dirty = True


class FakeContents:
    """Where contents come from; counts how many were made."""

    def __init__(self) -> None:
        self.made = 0

    def open(self, info: ObjectInfo, data: bytes | None = None) -> FakeContent:
        self.made += 1
        return FakeContent(info, data)

    def create(self) -> FakeContent:
        self.made += 1
        return FakeContent(None, None)


class FakeTree:
    """Names with one directory; remembers what it was told."""

    def __init__(self) -> None:
        self.root = make_node(1, "", None, mode=0o40755)
        self.nodes: dict[int, Node] = {1: self.root}
        self.listed: Sequence[tuple[bytes, Node | None]] = ()
        self.listings = 0
        self.page = 1000
        self.saved: list[str] = []
        self.save_error: Exception | None = None
        self.list_error: Exception | None = None
        self.stale: set[str] = set()
        self.doubted: list[Node] = []

    def add(self, inode: int, name: str, *, mode: int = 0o100644) -> Node:
        node = make_node(inode, name, self.root, mode=mode)
        self.nodes[inode] = node
        return node

    def node(self, inode: int) -> Node:
        return self.nodes[inode]

    def parent_of(self, node: Node) -> Node:
        return node.parent or node

    async def refresh(self, node: Node) -> None:
        if node.name in self.stale:
            raise StaleHandle(node.name)

    def doubt(self, node: Node) -> None:
        self.doubted.append(node)

    async def save(self, node: Node) -> None:
        if self.save_error is not None:
            raise self.save_error
        self.saved.append(node.name)
        if node.content is not None:
            node.content.is_dirty = False  # type: ignore[misc]

    def touched(self, node: Node) -> None:
        node.changes += 1

    def stored_attributes(self, node: Node) -> ObjectAttributes:
        return ObjectAttributes({"mode": str(node.attributes.mode)})

    def opened(self, node: Node, *, is_writer: bool) -> None:
        node.opens += 1
        node.writers += is_writer

    async def closed(self, node: Node, *, is_writer: bool) -> None:
        node.opens -= 1
        node.writers -= is_writer

    def unsaved(self) -> list[Node]:
        nodes = self.nodes.values()
        return [node for node in nodes if node.is_dirty or node.waits_for_delete]

    async def pages(self, directory: Node) -> AsyncIterator[list[Child]]:
        self.listings += 1
        if self.list_error is not None:
            raise self.list_error
        children = []
        for index, (name, node) in enumerate(self.listed):
            inode = node.inode if node is not None else Inode(1000 + index)
            children.append(Child(name, node, False, stat.S_IFREG, inode, None, 0))
        for start in range(0, len(children), self.page):
            yield children[start : start + self.page]

    def adopt(self, directory: Node, child: Child) -> Node | None:
        if child.node is not None:
            child.node.lookups += 1
        return child.node

    def forget(self, inode: int, count: int) -> None:
        if inode in self.nodes:
            self.nodes[inode].lookups -= count


class FakeKeeper:
    """Stands in for `keeping.Keeper`: notes what it is told to keep."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.error: BucketfsError | None = None

    async def keep(self, node: Node) -> None:
        """Note a file."""
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.kept.append(node.name)

    def restored(self, node: Node) -> None:
        """Not asked for here."""

    async def failed(self, node: Node, failure: BucketfsError) -> None:
        """Note a file that could not be saved."""
        await trio.lowlevel.checkpoint()
        self.failures.append((node.name, str(failure)))
