"""The tree: the one door to names. `fuse` calls this and nothing below it in the namespace.

Every rule lives in a module of its own (dentries, entries, links, rename, changes, xattrs, saving);
the tree builds them around one table of nodes and shows their operations under one roof.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bucketfs.namespace.attributes import Defaults, implicit_directory
from bucketfs.namespace.conflicts import FAIL
from bucketfs.namespace.dentries import Dentries
from bucketfs.namespace.entries import Entries
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.gate import KeyGate
from bucketfs.namespace.inodes import Inodes
from bucketfs.namespace.jobs import JobLog
from bucketfs.namespace.kept import KeptFiles
from bucketfs.namespace.links import Links
from bucketfs.namespace.nodes import Inode, Node
from bucketfs.namespace.removal import Removal
from bucketfs.namespace.rename import Renamer
from bucketfs.namespace.replaying import Replayer
from bucketfs.namespace.restoring import Restorer
from bucketfs.namespace.saving import Saver
from bucketfs.namespace.setattr import Changer
from bucketfs.namespace.xattrs import ExtendedAttributes
from bucketfs.storage.interface import ObjectStore


class Tree:
    """All names of one mount. Operations may run at once; each is safe under cancellation.

    Dentries are counted here: `lookup`, `create`, `make_directory`, `make_node`, `make_symlink` and
    `adopt` return a node with one lookup more, which the kernel gives back by `forget`. Names are
    the kernel's bytes.

    - `await lookup(parent, name) -> Node`  Raises: EntryNotFound
    - `await refresh(node)` asks the bucket again once ttl has passed  Raises: StaleHandle
    - `doubt(node)` it was seen to be replaced: the next `refresh` asks, whatever the ttl
    - `pages(directory) -> AsyncIterator[list[Child]]` without "." and ".."
    - `adopt(directory, child) -> Node | None` the node of a listed child; None where its attributes
      are not proved, so that only its name may be told
    - `await create(parent, name, mode, caller) -> Node`  Raises: EntryExists
    - `await make_directory(parent, name, mode, caller) -> Node`
    - `await make_node(parent, name, mode, rdev, caller) -> Node`
    - `await make_symlink(parent, name, target, caller) -> Node`
    - `await read_symlink(node) -> bytes`
    - `await unlink(parent, name)`; `await remove_directory(parent, name)`
    - `await rename(parent, name, new_parent, new_name, flags)`
    - `await change(node, changes, caller)`; `touched(node)` after bytes were written
    - `await save(node)` everything of the node is in the bucket afterwards
    - `stored_attributes(node) -> ObjectAttributes` what an upload that begins now sends
    - `opened(node, is_writer=...)`; `await closed(node, is_writer=...)`
    - `await replay(kind, details) -> Outcome` a job that an earlier mount has left half done
    - `restorer` puts back what an earlier mount left, before this one answers
    - `await end_removed(nodes)` deletes the objects of many removed files, together
    - `xattrs.get/set/list/remove`
    """

    def __init__(
        self,
        store: ObjectStore,
        finder: Finder,
        *,
        defaults: Defaults,
        ttl_s: float,
        is_read_only: bool = False,
        has_acl: bool = False,
        concurrency: int = 16,
        clock_ns: Callable[[], int] = time.time_ns,
        kept: KeptFiles | None = None,
        jobs: JobLog | None = None,
        conflict: str = FAIL,
        later: Callable[[Node], None] | None = None,
    ) -> None:
        self.inodes = Inodes(implicit_directory(defaults, clock_ns()))
        max_key = store.capabilities.max_key
        dentries = Dentries(finder, self.inodes, ttl_s=ttl_s, max_key_bytes=max_key)
        saver = Saver(
            store,
            dentries,
            KeyGate(),
            clock_ns=clock_ns,
            is_read_only=is_read_only,
            kept=kept,
            jobs=jobs,
            conflict=conflict,
            later=later,
        )
        self.replay = Replayer(store, saver.gate, concurrency=concurrency).replay
        self.restorer = Restorer(self.inodes, defaults)
        removal = Removal(store, dentries, saver, later)
        entries = Entries(dentries, saver, has_acl=has_acl)
        self._show_names(dentries, saver, entries, removal, Links(store, finder, entries))
        self.rename = Renamer(store, dentries, saver, removal, concurrency=concurrency).rename
        changer = Changer(saver, has_acl=has_acl)
        self.xattrs = ExtendedAttributes(changer, has_acl=has_acl)
        self.change, self.touched = changer.change, changer.touched
        self._saver, self._removal = saver, removal

    def _show_names(
        self, dentries: Dentries, saver: Saver, entries: Entries, removal: Removal, links: Links
    ) -> None:
        """Give the operations on names to the outside."""
        self.stored_attributes = saver.stored_attributes
        self.own = saver.own
        self.lookup = dentries.lookup
        self.refresh = dentries.refresh
        self.doubt = dentries.doubt
        self.pages = dentries.pages
        self.adopt = dentries.adopt
        self.create = entries.create
        self.make_directory = entries.make_directory
        self.make_node = entries.make_node
        self.make_symlink = links.make_symlink
        self.read_symlink = links.read_symlink
        self.unlink = removal.unlink
        self.remove_directory = removal.remove_directory
        self.end_removed = removal.end_many
        self.opened = removal.opened
        self.closed = removal.closed

    @property
    def root(self) -> Node:
        """The mount's own directory."""
        return self.inodes.root

    def node(self, inode: Inode) -> Node:
        """Return the node of a number. Raises: StaleHandle."""
        return self.inodes.node(inode)

    def parent_of(self, node: Node) -> Node:
        """Return the directory that a node is in; the root is its own."""
        return node if node.parent is None else node.parent

    def forget(self, inode: Inode, count: int) -> None:
        """Take lookups back from the kernel."""
        self.inodes.forget(inode, count)

    async def save(self, node: Node) -> None:
        """Have everything of a node in the bucket; the object of a removed, closed file is deleted.

        Raises: ObjectChanged where others wrote the object meanwhile (the bytes are kept),
        StorageError.
        """
        if node.is_removed:
            await self._removal.end_unused(node)
        else:
            await self._saver.save(node)
            await self._removal.end_idle(node)

    def unsaved(self) -> list[Node]:
        """Return the nodes of which the bucket does not have bytes, attributes or the removal."""
        return [node for node in self.inodes if node.is_dirty or node.waits_for_delete]
