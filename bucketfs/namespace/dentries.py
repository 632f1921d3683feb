"""Look-ups and listings: from what the bucket has to the nodes that the kernel is told of.

A pinned node (open for writing, unsaved, or with a change in flight) answers for itself. All else
is what the finder says; an object that others replaced becomes a new inode, and its old node goes
stale.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple, cast

import trio

from bucketfs.errors import EntryNotFound, NameTooLong, NotADirectory, StaleHandle
from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.inodes import Inodes
from bucketfs.namespace.listings import Entry, Found
from bucketfs.namespace.nodes import Inode, Node, prefix_of, times_of, walk
from bucketfs.namespace.questions import MAYBE_SPECIAL_BYTES
from bucketfs.storage.interface import ObjectInfo

UNPROVED_INODES = 1 << 62
"""Where the numbers of listed names begin that have no node yet; real inodes never get there."""


class Child(NamedTuple):
    """One listed name. `node` is set where one is known and up to date.

    `kind_mode` has the type bits, guessed where the listing proves nothing (0: unknown). `inode`
    of a name without node is a stand-in for d_ino, ascending in a directory: programs that sort by
    it then walk in the order of the listing. `changes` is the directory's count of changes of
    entries when the name was listed.
    """

    name: bytes
    node: Node | None
    is_directory: bool
    kind_mode: int
    inode: int
    entry: Entry | None
    changes: int


class Dentries:
    """Finds nodes by name. Any number of look-ups may run at once, beside changes too."""

    def __init__(self, finder: Finder, inodes: Inodes, *, ttl_s: float, max_key_bytes: int) -> None:
        self.finder = finder
        self.inodes = inodes
        self._ttl_s = ttl_s
        self._max_key_bytes = max_key_bytes

    def fresh_until(self) -> float:
        """Return until when what is known now may be believed, on trio's clock."""
        return trio.current_time() + self._ttl_s

    def key_at(self, parent: Node, name: str, is_directory: bool) -> str:
        """Spell the key of a name that something is to have. Raises: NameTooLong."""
        spell = keys.directory_prefix if is_directory else keys.file_key
        return spell(prefix_of(parent), name, self._max_key_bytes)

    async def lookup(self, parent: Node, name: bytes) -> Node:
        """Return the node of a name, counting one lookup. Raises: EntryNotFound."""
        node = await self.find(parent, decoded(name))
        if node is None:
            raise EntryNotFound(f"no entry {name!r}")
        node.lookups += 1
        return node

    async def find(self, parent: Node, name: str) -> Node | None:
        """Return the node of a name, None if the server says that there is nothing.

        Nothing is counted: only for use until the next await. Raises: NotADirectory, StorageError.
        """
        if not parent.is_directory:
            raise NotADirectory(f"{parent.name!r} is not a directory")
        while not parent.is_detached:
            known = parent.children.get(name)
            if known is not None and known.is_pinned:
                return known
            prefix = prefix_of(parent)
            found = await self.finder.find(prefix, name)
            # ATOMIC: nothing may change between this answer and the node made of it
            if not parent.is_detached and prefix_of(parent) == prefix:
                return self._settle(parent, name, found)
        return None

    async def refresh(self, node: Node) -> None:
        """Ask the bucket again about a node whose time is up.

        A replaced file that is open keeps the attributes of its version; callers that open one
        must look at `is_stale`. Raises: StaleHandle (others replaced or deleted it; not open).
        """
        if node.is_pinned or node.is_removed or node.parent is None:
            return
        if not node.is_stale and trio.current_time() >= node.fresh_until_s:
            await self.find(node.parent, node.name)
        if node.is_stale and not node.opens:
            raise StaleHandle(f"{node.name!r} was replaced or deleted by others")

    def doubt(self, node: Node) -> None:
        """Note that a file's object was seen to be replaced: the next `refresh` asks the bucket."""
        if node.parent is not None:
            node.fresh_until_s = float("-inf")
            self.finder.doubt(prefix_of(node.parent), node.name)

    async def pages(self, directory: Node) -> AsyncIterator[list[Child]]:
        """Yield every entry once, a page at a time as the bucket lists them, then names that only
        this mount has.

        Raises: NotADirectory, StorageError (in the middle too).
        """
        if not directory.is_directory:
            raise NotADirectory(f"{directory.name!r} is not a directory")
        if directory.is_detached:
            return
        changes = directory.entry_changes
        local = {node.name: node for node in directory.children.awake() if node.is_pinned}
        listing = self.finder.pages(prefix_of(directory))
        inode = UNPROVED_INODES
        async with aclosing(cast("AsyncGenerator[Sequence[Entry], None]", listing)) as pages:
            async for entries in pages:
                for entry in entries if local else ():
                    local.pop(entry.name, None)
                yield [
                    self._child(directory, entry, number, changes)
                    for number, entry in enumerate(entries, inode)
                ]
                inode += len(entries)
        left = [node for node in local.values() if node.parent is directory]
        yield [_child_of(node, changes) for node in left if not node.is_detached]

    def adopt(self, directory: Node, child: Child) -> Node | None:
        """Return the node of a listed child, counting one lookup; None: tell only its name.

        A name without node gets one if its attributes are proved and the directory did not change
        since it was listed.
        """
        # ATOMIC: what is decided here is what the kernel is told
        node = child.node
        if node is None and not directory.children and not _is_proved(child):
            return None  # one that is dormant is no more than the kernel knows already
        if node is None or not self._is_still(node, directory, child):
            node = self._adoptable(directory, child)
        if node is not None:
            node.lookups += 1
        return node

    def _is_still(self, node: Node, directory: Node, child: Child) -> bool:
        """Tell whether a listed name still leads to the node that it led to."""
        if node.is_detached or not self.inodes.holds(node):
            return False
        return node.parent is directory and os.fsencode(node.name) == child.name

    def _adoptable(self, directory: Node, child: Child) -> Node | None:
        name = decoded(child.name)
        known = directory.children.get(name)
        if known is not None and known.is_pinned:
            return known
        entry = child.entry
        if entry is None or entry.attributes is None or directory.is_detached:
            return None
        if directory.entry_changes != child.changes:
            return None
        found = Found(
            is_directory=entry.is_directory,
            info=entry.info,
            attributes=entry.attributes,
            data=None,
            fresh_until_s=entry.fresh_until_s,
        )
        return self._settle(directory, name, found)

    def _child(self, directory: Node, entry: Entry, inode: int, changes: int) -> Child:
        node = directory.children.get(entry.name)
        if node is not None and node.is_pinned:
            return _child_of(node, changes)
        attributes = entry.attributes
        if node is not None and attributes is not None and _is_same(node, entry.info, attributes):
            _update(node, entry.info, attributes, entry.fresh_until_s)
            return _child_of(node, changes)
        kind = stat.S_IFMT(attributes.mode) if attributes is not None else _guess(directory, entry)
        name = entry.name.encode("utf-8", "surrogateescape")
        return Child(name, None, entry.is_directory, kind, Inode(inode), entry, changes)

    def _settle(self, parent: Node, name: str, found: Found | None) -> Node | None:
        """Bring the table in line with the server's answer about one name."""
        node = parent.children.get(name)
        if node is not None and node.is_pinned:
            return node
        if found is None:
            return None if node is None else self._lost(node)
        if node is not None and _is_same(node, found.info, found.attributes):
            _update(node, found.info, found.attributes, found.fresh_until_s)
            if found.data is not None:
                node.data = found.data
            return node
        return self.inodes.add(
            parent,
            name,
            found.attributes,
            is_directory=found.is_directory,
            info=found.info,
            data=found.data,
            fresh_until_s=found.fresh_until_s,
        )

    def _lost(self, node: Node) -> Node | None:
        """Let a node go that the server does not have, unless unsaved files in it keep it."""
        if node.is_directory and any(below.is_pinned for below in walk(node)):
            return node
        node.is_stale = True
        self.inodes.detach(node)
        return None


def decoded(name: bytes) -> str:
    """Return the kernel's name as text (surrogate escapes). Raises: NameTooLong."""
    if len(name) > keys.NAME_MAX_BYTES:
        raise NameTooLong(f"a name over {keys.NAME_MAX_BYTES} bytes")
    return os.fsdecode(name)


def _is_proved(child: Child) -> bool:
    return child.entry is not None and child.entry.attributes is not None


def _guess(directory: Node, entry: Entry) -> int:
    """Return the type bits to tell of a name that is not proved; 0 makes programs ask.

    The hint that a directory may hold symlinks or fifos stands in its marker. The root has none, so
    its small files are of unknown type until somebody looks.
    """
    if entry.is_directory:
        return stat.S_IFDIR
    may_be_special = entry.info is None or entry.info.size < MAYBE_SPECIAL_BYTES
    return 0 if directory.parent is None and may_be_special else stat.S_IFREG


def _child_of(node: Node, changes: int) -> Child:
    name = os.fsencode(node.name)
    return Child(name, node, node.is_directory, node.kind, node.inode, None, changes)


def _is_same(node: Node, info: ObjectInfo | None, attributes: Attributes) -> bool:
    """Tell whether an answer of the bucket is about the node's own bytes, and of its type."""
    if node.kind != stat.S_IFMT(attributes.mode):
        return False
    if node.is_directory:
        return True
    return node.info is not None and info is not None and node.info.version == info.version


def _update(
    node: Node, info: ObjectInfo | None, attributes: Attributes, fresh_until_s: float
) -> None:
    """Take the bucket's word for a node; times that only this mount knows are kept.

    A directory's times change with its entries, and ctime with a native move, which costs no
    request: until the object is written for another reason they are newer here than there.
    """
    stored_times = times_of(attributes)
    if stored_times == node.stored_times:
        known = node.attributes
        attributes = replace(attributes, mtime_ns=known.mtime_ns, ctime_ns=known.ctime_ns)
    node.stored_times = stored_times
    node.info = info
    node.attributes = attributes
    node.fresh_until_s = fresh_until_s
