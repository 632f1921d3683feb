"""Removing names: unlink, rmdir, and what becomes of files that are open when their name goes.

The name goes at once. An open handle may still need bytes that only the object has: those are
fetched before the DELETE where they are few, else the DELETE waits for the last close and the key
is hidden meanwhile (`hiding`). It is a job, so that the next mount deletes it should this
one die.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bucketfs.errors import (
    DirectoryNotEmpty,
    EntryNotFound,
    InvalidOperation,
    IsADirectory,
    NotADirectory,
)
from bucketfs.namespace.dentries import Dentries, decoded
from bucketfs.namespace.gate import Place, hold_node, hold_places, place_of
from bucketfs.namespace.nodes import Node, key_of, prefix_of, walk
from bucketfs.namespace.saving import Saver
from bucketfs.storage.interface import ABSENT, ObjectStore

FETCH_LIMIT_BYTES = 16 << 20
"""Up to this size the bytes of an open file are fetched so that its object can go at once."""


class Removal:
    """Takes names away, and ends what the last close ends.

    `later`, where set, is given removed files whose objects are to be deleted in the background:
    then an unlink waits for the journal only.
    """

    def __init__(
        self,
        store: ObjectStore,
        dentries: Dentries,
        saver: Saver,
        later: Callable[[Node], None] | None = None,
    ) -> None:
        self._later = later
        self._store = store
        self._dentries = dentries
        self._saver = saver

    async def unlink(self, parent: Node, name: bytes) -> None:
        """Remove a file's name. Raises: EntryNotFound, IsADirectory, StorageError."""
        self._saver.check_writable()
        text = decoded(name)
        async with hold_places(self._saver.gate, *removed_places(parent, text)):
            node = await self._dentries.find(parent, text)
            if node is None:
                raise EntryNotFound(f"no entry {name!r}")
            if node.is_directory:
                raise IsADirectory(f"{name!r} is a directory")
            node.busy += 1
            try:
                await self._saver.make_marker(parent)
                await self._delete(node)
            finally:
                node.busy -= 1
        if self._later is not None and node.waits_for_delete:
            self._later(node)
        else:
            await self.end_unused(node)

    async def remove_directory(self, parent: Node, name: bytes) -> None:
        """Remove an empty directory. Raises: EntryNotFound, NotADirectory, DirectoryNotEmpty."""
        self._saver.check_writable()
        text = decoded(name)
        if text in (".", ".."):
            raise InvalidOperation("a directory cannot be removed as '.' or '..'")
        places = removed_places(parent, text)
        async with hold_places(self._saver.gate, *places, trees=[(parent, text)]):
            node = await self._dentries.find(parent, text)
            if node is None:
                raise EntryNotFound(f"no entry {name!r}")
            if not node.is_directory:
                raise NotADirectory(f"{name!r} is not a directory")
            await self.check_empty(node)
            await self._saver.make_marker(parent)
            if node.sent or not node.is_new:  # else its marker never was in the bucket
                await self._store.delete(key_of(node))
            self.forget_name(node)
            self._saver.touch_directory(parent)
            await self._saver.kept.removed(node)

    async def check_empty(self, directory: Node) -> None:
        """Refuse a directory that has entries, here or in the bucket; its tree must be held.

        Raises: DirectoryNotEmpty, StorageError.
        """
        if any(node.is_pinned for node in walk(directory)):
            raise DirectoryNotEmpty(f"{directory.name!r} is not empty")
        prefix = prefix_of(directory)
        await self._saver.hidden.settle_below(prefix)
        if not await self._dentries.finder.is_empty(prefix):
            raise DirectoryNotEmpty(f"{directory.name!r} is not empty")

    def forget_name(self, node: Node) -> None:
        """Note that a name is gone; handles of the node go on working."""
        # ATOMIC: node, table and finder say the same
        parent = node.parent
        assert parent is not None
        node.is_removed = True
        node.has_unsaved_attributes = False
        node.attributes = replace(node.attributes, ctime_ns=self._saver.now_ns())
        self._dentries.finder.removed(
            prefix_of(parent), node.name, is_deferred=node.has_deferred_delete
        )
        self._dentries.inodes.detach(node)

    async def keep_bytes(self, node: Node) -> None:
        """Fetch what open handles of a file need before its object is replaced or deleted."""
        if node.opens and node.content is not None and node.content.base is not None:
            await node.content.fetch_all()

    async def end_unused(self, node: Node) -> None:
        """Drop the bytes of a removed file that nobody has open, and its waiting object."""
        if not node.is_removed or node.opens:
            return
        await self._drop_bytes(node)
        if node.has_deferred_delete:
            async with hold_node(self._saver.gate, node):
                for key in self._saver.hidden.keys_of(node):
                    await self._saver.hidden.delete(key, node)
        self._dentries.inodes.drop_unused(node)

    async def end_many(self, nodes: Sequence[Node]) -> None:
        """Do as `end_unused` for many files, whose objects go together. Raises: StorageError."""
        unused = [node for node in nodes if node.is_removed and not node.opens]
        for node in unused:
            await self._drop_bytes(node)
        async with hold_places(self._saver.gate, *map(place_of, unused)):
            hidden = self._saver.hidden
            await hidden.delete_many({key: node for node in unused for key in hidden.keys_of(node)})
        for node in unused:
            self._dentries.inodes.drop_unused(node)

    async def _drop_bytes(self, node: Node) -> None:
        content, node.content = node.content, None
        if content is not None:
            await content.discard()

    def opened(self, node: Node, *, is_writer: bool = False) -> None:
        """Count a handle. `is_writer`: it may write, so that the node answers for itself."""
        node.opens += 1
        node.writers += is_writer
        if node.parent is not None and not (is_writer or node.is_directory):
            self._dentries.finder.opened(prefix_of(node.parent), node.name)

    async def closed(self, node: Node, *, is_writer: bool = False) -> None:
        """Take a handle back. The last one ends what waited for it.

        The content of a clean or removed file is discarded; an unsaved one stays for the next save.
        Raises: StorageError, where the waiting object of a removed file could not be deleted.
        """
        node.opens -= 1
        node.writers -= is_writer
        if node.opens:
            return
        if node.is_removed:
            await self.end_unused(node)
        else:
            await self.end_idle(node)

    async def end_idle(self, node: Node) -> None:
        """Drop the content of a file that nobody has open and of which the bucket has all."""
        # ATOMIC: a new handle either sees the content or none
        if node.opens or node.is_dirty:
            return
        await self._drop_bytes(node)
        self._dentries.inodes.drop_unused(node)

    async def _delete(self, node: Node) -> None:
        """Take a file's name away, and its object if it has one (its place is held)."""
        parent = node.parent
        assert parent is not None
        content, key = node.content, key_of(node)
        has_object = not node.is_new or node.expected != ABSENT
        if node.is_refused:
            has_object = False  # what is there is the file of others: only our bytes go
        await self._saver.hidden.settle(key)
        if has_object and self._later is not None and node.info is not None:
            await self._saver.hidden.hide(key, node, node.info.version, is_durable=False)
            has_object = False
        elif content is not None and node.opens and content.base is not None:
            if content.base.size > FETCH_LIMIT_BYTES:
                await self._saver.hidden.hide(key, node, content.base.version)
                has_object = False
            else:
                await content.fetch_all()
        if has_object:
            await self._store.delete(key)
        self.forget_name(node)
        self._saver.touch_directory(parent)
        await self._saver.kept.removed(node)


def removed_places(parent: Node, name: str) -> Sequence[Place]:
    """Return what to hold to remove a name: its place, and the parent's if that is implicit."""
    places = [(parent, name)]
    if parent.info is None and parent.parent is not None:
        places.append(place_of(parent))
    return places
