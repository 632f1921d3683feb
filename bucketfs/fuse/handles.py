"""Handles: open files and directories; the only place where a name meets its bytes.

`namespace` never sees bytes and `pagecache` never sees names; here a node gets its content when it
is opened, and the content learns by a `NodeTarget` under which key it is to be stored.

Lock order of the whole mount: handle, node, table. A task that holds a lock takes only locks
further right. Handle: a `DirectoryHandle` locks its snapshot. Node: the key gate of the namespace,
then the lock of a content. Table: the tables of handles and inodes are changed only between awaits
and need no lock.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable
from typing import NewType, Protocol, cast

import trio

from bucketfs.counting import causes
from bucketfs.errors import BucketfsError, ObjectChanged, StaleHandle
from bucketfs.fuse.directories import DirectoryHandle
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.names_only import NamesOnly
from bucketfs.namespace.nodes import FileBytes, Inode, Node, key_of
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.target import Target
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo

log = logging.getLogger(__name__)

HandleNumber = NewType("HandleNumber", int)

PAGE_BYTES = 4096


class OpenBytes(FileBytes, Protocol):
    """What a handle does with a file's content; `pagecache.content.Content` is one."""

    target: Target | None

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return `length` bytes, fewer at the end of the file."""

    async def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`."""

    async def truncate(self, size: int) -> None:
        """Make the file `size` bytes long."""

    def note_appender(self, *, is_synced: bool) -> None:
        """Say that a handle that only appends has it saved next; `is_synced`: and stays open."""


class Contents(Protocol):
    """Where contents come from; `pagecache.cache.PageCache` is one."""

    def open(self, info: ObjectInfo, data: bytes | None = None) -> OpenBytes:
        """Return the content of an object (`data`: all of it, if that is known already)."""

    def create(self) -> OpenBytes:
        """Return the content of a file that is not in the bucket yet."""


class NodeTarget:
    """Tells a content that streams its upload where it goes, at the moment when it begins."""

    def __init__(self, tree: Tree, node: Node) -> None:
        self._tree = tree
        self._node = node

    def key(self) -> str:
        """Return the key that the node's path spells now."""
        return key_of(self._node)

    def attributes(self) -> ObjectAttributes:
        """Return what would be stored beside the object now."""
        return self._tree.stored_attributes(self._node)


class FileHandle:
    """One open file. It follows its node through renames and outlives the node's name."""

    __slots__ = ("content", "is_appending", "is_writer", "node")

    def __init__(self, node: Node, content: OpenBytes, flags: int) -> None:
        self.node = node
        self.content = content
        self.is_writer = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        self.is_appending = bool(flags & os.O_APPEND)


class Handles:
    """The table of what is open, and the operations on bytes."""

    def __init__(
        self, tree: Tree, contents: Contents, durability: Durability, *, ttl_s: float
    ) -> None:
        self._tree = tree
        self._durability = durability
        self._contents = contents
        self._ttl_s = ttl_s
        self._numbers = itertools.count(1)
        self._files: dict[HandleNumber, FileHandle] = {}
        self._directories: dict[HandleNumber, DirectoryHandle] = {}
        self._names_only = NamesOnly()
        self.pids: dict[int, int] = {}
        """The processes that opened what is open, by the numbers of the handles."""

    def __len__(self) -> int:
        return len(self._files) + len(self._directories)

    async def open(self, node: Node, flags: int) -> HandleNumber:
        """Open a file as the bucket has it now, at most ttl old.

        Raises: StaleHandle where it was replaced, or deleted since the kernel looked it up: the
        kernel then looks the path up anew.
        """
        await self._tree.refresh(node)
        # A removed file that is open can be opened again, by /proc/self/fd.
        if node.is_stale or (node.is_removed and not node.opens):
            raise StaleHandle(f"{node.name!r} was replaced or deleted")
        number = self.opened(node, flags)
        if flags & os.O_TRUNC:
            # libfuse asks for FUSE_ATOMIC_O_TRUNC: the kernel sends no setattr of its own.
            try:
                await self._empty(self.file(number))
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self.close(number)
                raise
        return number

    async def _empty(self, handle: FileHandle) -> None:
        if handle.content.size:
            await handle.content.truncate(0)
        self._tree.touched(handle.node)

    def opened(self, node: Node, flags: int) -> HandleNumber:
        """Open a file whose node is known to be current (just made, or refreshed)."""
        # ATOMIC: a node has one content, and it is counted before anything else runs
        handle = FileHandle(node, self._content_of(node), flags)
        self._tree.opened(node, is_writer=handle.is_writer)
        number = self._new_number()
        self._files[number] = handle
        return number

    def open_directory(self, node: Node) -> HandleNumber:
        """Open a directory."""
        # ATOMIC: as above
        self._tree.opened(node, is_writer=False)
        number = self._new_number()
        self._directories[number] = DirectoryHandle(self._tree, node, self._ttl_s, self._names_only)
        return number

    def file(self, number: int) -> FileHandle:
        """Return an open file. Raises: StaleHandle."""
        try:
            return self._files[HandleNumber(number)]
        except KeyError:
            raise StaleHandle(f"file handle {number} is not open") from None

    def directory(self, number: int) -> DirectoryHandle:
        """Return an open directory. Raises: StaleHandle."""
        try:
            return self._directories[HandleNumber(number)]
        except KeyError:
            raise StaleHandle(f"directory handle {number} is not open") from None

    async def read(self, number: int, offset: int, length: int) -> bytes | memoryview:
        """Return `length` bytes from `offset`, fewer at the end of the file.

        Raises: ObjectChanged where others replaced it since it was opened; who opens it then gets
        the new one, whatever the ttl.
        """
        handle = self.file(number)
        node = handle.node
        try:
            return await handle.content.read(offset, length)
        except ObjectChanged:
            if not (node.sent and node.is_dirty):
                self._tree.doubt(node)
                raise
        # An earlier save may have arrived without our knowing: the next one finds out whose it is.
        await self._durability.save(node)
        return await handle.content.read(offset, length)

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Write all of `data`; return how many bytes that is."""
        handle = self.file(number)
        content, node = handle.content, handle.node
        if handle.is_appending:
            offset = _append_offset(offset, content.size)
        if node.is_removed:
            content.target = None  # it will never be stored: begin no upload
        await content.write(offset, data)
        self._tree.touched(node)
        return len(data)

    async def flush(self, number: int) -> None:
        """Make a file durable at close(2), if this handle may have written."""
        handle = self.file(number)
        if handle.is_writer and handle.node.is_dirty:
            if handle.is_appending:
                handle.content.note_appender(is_synced=False)
            await self._durability.close(handle.node)

    async def sync(self, number: int) -> None:
        """Have everything of a file in the bucket."""
        handle = self.file(number)
        if handle.node.is_dirty:
            if handle.is_appending:
                handle.content.note_appender(is_synced=True)
            await self._durability.save(handle.node)

    async def sync_directory(self, number: int) -> None:
        """Have a directory, and all that is unsaved below it, in the bucket."""
        await self._durability.save_below(self.directory(number).node)

    async def close(self, number: int) -> None:
        """Release a file. What could not be saved stays here and is tried again later."""
        handle = self.file(number)
        del self._files[HandleNumber(number)], self.pids[number]
        node = handle.node
        try:
            # A shared mapping may have been written after the last flush.
            if handle.is_writer and node.is_dirty:
                await self._durability.close(node)
        except BucketfsError as exc:
            log.warning("could not save at close, will try again: %s", exc)
        finally:
            await self._closed(handle)

    async def close_all(self) -> None:
        """Release every file that is still open when the kernel is gone and will not say so."""
        for number in list(self._files):
            await self.close(number)

    async def _closed(self, handle: FileHandle) -> None:
        """Take a handle back, also under cancellation; what that leaves undone is tried again."""
        with trio.CancelScope(shield=True):
            try:
                await self._tree.closed(handle.node, is_writer=handle.is_writer)
            except BucketfsError as exc:
                log.warning("could not delete a removed file, will try again: %s", exc)
        self._durability.closed(handle.node)

    async def close_directory(self, number: int) -> None:
        """Release a directory."""
        handle = self.directory(number)
        del self._directories[HandleNumber(number)], self.pids[number]
        with trio.CancelScope(shield=True):
            await handle.aclose()
            await self._tree.closed(handle.node, is_writer=False)

    async def truncate(self, node: Node, size: int, number: int | None) -> None:
        """Change a file's size; with no handle (truncate(2) by path) it is saved at once."""
        if number is not None:
            await self.file(number).content.truncate(size)
            self._tree.touched(node)
            return
        own = await self.open(node, os.O_WRONLY)
        try:
            await self.file(own).content.truncate(size)
            self._tree.touched(node)
            await self._durability.close(node)
        finally:
            with trio.CancelScope(shield=True):
                await self.close(own)

    def forget(self, lookups: Iterable[tuple[int, int]]) -> None:
        """Give lookups back to the tree, less those of entries that were names only."""
        for inode, count in lookups:
            left = count - self._names_only.take_forgets(inode, count)
            if left:
                self._tree.forget(Inode(inode), left)

    def _new_number(self) -> HandleNumber:
        number = HandleNumber(next(self._numbers))
        self.pids[number] = causes.current().pid
        return number

    def _content_of(self, node: Node) -> OpenBytes:
        """Return the node's content, making it from what the node knows of its object."""
        if node.content is not None:
            return cast("OpenBytes", node.content)
        data, node.data = node.data, None
        content = (
            self._contents.create() if node.info is None else self._contents.open(node.info, data)
        )
        content.target = NodeTarget(self._tree, node)
        node.content = content
        return content


def _append_offset(offset: int, size: int) -> int:
    """Return where an O_APPEND handle's bytes go: to the end, whatever the kernel thinks that is.

    What begins at a page inside the file is no append but the kernel writing back a shared mapping,
    for which it takes any handle that may write.
    """
    is_page_inside = offset % PAGE_BYTES == 0 and offset < size
    return offset if is_page_inside else size
