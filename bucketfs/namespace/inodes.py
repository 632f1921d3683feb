"""The table of inodes: numbers, lookup counts, and what is dropped when nothing needs it any more.

Pure bookkeeping without requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from bucketfs.errors import StaleHandle
from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.dormant import Children, Packed, is_packable, pack, unpack
from bucketfs.namespace.nodes import ROOT_INODE, Inode, Node, key_of
from bucketfs.storage.interface import ObjectInfo

AWAKE = 20_000
"""Nodes that are held as they are, some 25 MB; more become dormant where they are not in use."""

_AT_ONCE = 4
"""Nodes that are looked at whenever one is made: so many may be in use for one that is not."""


class Inodes:
    """The table of inode numbers. Numbers are never used twice while the mount lives.

    Beyond `AWAKE` nodes those that came first and are not in use become dormant.
    """

    def __init__(self, root_attributes: Attributes) -> None:
        self.root = Node(ROOT_INODE, "", None, root_attributes, is_directory=True)
        self.root.children = Children(self.node)
        self._nodes: dict[int, Node] = {ROOT_INODE: self.root}
        self._dormant: dict[int, Packed] = {}
        self._last = int(ROOT_INODE)

    def __len__(self) -> int:
        """Return how many nodes are known."""
        return len(self._nodes) + len(self._dormant)

    def __iter__(self) -> Iterator[Node]:
        """Yield every node that is awake, from a copy: the table may change meanwhile.

        A dormant one has nothing that is not in the bucket.
        """
        return iter(list(self._nodes.values()))

    def node(self, inode: int) -> Node:
        """Return the node of a number. Raises: StaleHandle for one that was forgotten."""
        node = self._nodes.get(inode)
        if node is None:
            packed = self._dormant.pop(inode, None)
            if packed is None:
                raise StaleHandle(f"inode {inode} is not known any more")
            node = self._wake(Inode(inode), packed)
        return node

    def holds(self, node: Node) -> bool:
        """Tell whether a node is still in the table."""
        return self._nodes.get(node.inode) is node

    def add(
        self,
        parent: Node,
        name: str,
        attributes: Attributes,
        *,
        is_directory: bool,
        info: ObjectInfo | None = None,
        data: bytes | None = None,
        fresh_until_s: float = 0.0,
    ) -> Node:
        """Make a node under a name, in the place of one that was there (which goes stale)."""
        # ATOMIC: table and directory change together
        former = parent.children.get(name)
        if former is not None:
            former.is_stale = not former.is_removed
            self.detach(former)
        self._last += 1
        node = Node(
            Inode(self._last),
            name,
            parent,
            attributes,
            is_directory=is_directory,
            info=info,
            data=data,
            fresh_until_s=fresh_until_s,
        )
        if is_directory:
            node.children = Children(self.node)
        self._nodes[node.inode] = node
        parent.children[name] = node
        if len(self._nodes) > AWAKE:
            self._put_to_sleep()
        return node

    def detach(self, node: Node) -> None:
        """Take a node's name away; its parent stays known to it, the number stays valid."""
        parent = node.parent
        if parent is not None and parent.children.get(node.name) is node:
            del parent.children[node.name]
        self.drop_unused(node)

    def move(self, node: Node, parent: Node, name: str) -> None:
        """Give a node another name; a node that has that name goes stale."""
        # ATOMIC: no moment with two names or none
        replaced, former = parent.children.get(name), node.parent
        if replaced is node:
            return
        if replaced is not None:
            replaced.is_stale = not replaced.is_removed
            self.detach(replaced)
        if former is not None and former.children.get(node.name) is node:
            del former.children[node.name]
        node.parent, node.name = parent, name
        parent.children[name] = node
        if former is not None:
            self.drop_unused(former)

    def forget(self, inode: Inode, count: int) -> None:
        """Take `count` lookups back; drop what nothing needs any more."""
        if inode in self._nodes or inode in self._dormant:
            node = self.node(inode)
            node.lookups = max(0, node.lookups - count)
            self.drop_unused(node)

    def drop_unused(self, node: Node) -> None:
        """Drop a node, and parents that were kept for it only, once nothing needs them."""
        step: Node | None = node
        while step is not None and self._is_unused(step):
            self._nodes.pop(step.inode, None)
            parent = step.parent
            if parent is not None and parent.children.get(step.name) is step:
                del parent.children[step.name]
            step = parent

    @staticmethod
    def _is_unused(node: Node) -> bool:
        if node.parent is None or node.lookups or node.opens:
            return False
        if node.children or node.children.dormant:
            return False
        return not (node.is_pinned or node.has_deferred_delete)

    def _put_to_sleep(self) -> None:
        """Let a few of the oldest nodes become dormant, where nobody uses them."""
        for inode in list(islice(self._nodes, _AT_ONCE)):
            node = self._nodes.pop(inode)
            parent = node.parent
            if parent is None or not is_packable(node):
                self._nodes[inode] = node  # the youngest again
                continue
            if self._is_unused(node):
                self.drop_unused(node)
                continue
            self._dormant[inode] = pack(node, _spelled_key(node))
            del parent.children[node.name]
            parent.children.dormant[node.name] = inode

    def _wake(self, inode: Inode, packed: Packed) -> Node:
        found = unpack(packed)
        parent = self.node(found.parent)
        node = Node(
            inode,
            found.name,
            parent,
            found.attributes,
            is_directory=found.is_directory,
            fresh_until_s=found.fresh_until_s,
        )
        node.lookups = found.lookups
        node.info = found.info_of(_spelled_key(node))
        if node.is_directory:
            node.children = Children(self.node)
        # ATOMIC: it is known as one or the other
        self._nodes[inode] = node
        del parent.children.dormant[node.name]
        parent.children[node.name] = node
        return node


def _spelled_key(node: Node) -> str:
    """Return the key that a node's path spells, "" where only a listing knew it."""
    return "" if keys.is_digest(node.name) else key_of(node)
