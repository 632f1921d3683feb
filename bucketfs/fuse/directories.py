"""Open directories: what one that is read shows, however its bucket changes meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

import pyfuse3
import trio

from bucketfs.fuse import replies
from bucketfs.namespace.dentries import Child
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

ENTRIES_AT_ONCE = 256
"""Entries of a directory that are waited for before an answer: about as many as fit into one."""


class DirectoryHandle:
    """One open directory: a snapshot of its names that grows as pages of the listing come.

    The cookie of a position is its index in the snapshot, so that telldir/seekdir work while it is
    open; position 0 (rewinddir) begins a new snapshot, as POSIX wants.
    """

    def __init__(self, tree: Tree, node: Node, ttl_s: float, unlinked: Counter[int]) -> None:
        self.node = node
        self._tree = tree
        self._ttl_s = ttl_s
        self._unlinked = unlinked
        self._lock = trio.Lock()
        self._children: list[Child] = []
        self._rest: AsyncIterator[Child] | None = None
        self._is_complete = False

    async def aclose(self) -> None:
        """End a listing that was not read to its end."""
        rest, self._rest = self._rest, None
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()

    async def _restart(self) -> None:
        self._children = []
        self._is_complete = False
        await self.aclose()

    async def reply(self, position: int, token: pyfuse3.ReaddirToken) -> None:
        """Put the entries from `position` on into a readdir answer, as many as fit."""
        async with self._lock:
            if position == 0 and (self._children or self._is_complete):
                await self._restart()
            first = max(position - 2, 0)
            await self._list_to(first + ENTRIES_AT_ONCE)
            # ATOMIC: attributes are told as they are when the answer goes out
            for dots, name in enumerate((b".", b"..")):
                if position <= dots and not self._reply_dots(token, name, dots + 1):
                    return
            for index in range(first, len(self._children)):
                if not self._reply_child(token, self._children[index], index + 3):
                    return

    async def _list_to(self, count: int) -> None:
        """Let the snapshot have `count` entries, or all that there are."""
        while len(self._children) < count and not self._is_complete:
            if self._rest is None:
                self._children = []
                self._rest = aiter(self._tree.children(self.node))
            try:
                self._children.append(await anext(self._rest))
            except StopAsyncIteration:
                self._is_complete = True
            except BaseException:
                # A generator that raised is spent: this request reports the error, the next one
                # lists anew.
                self._rest = None
                raise

    def _reply_dots(self, token: pyfuse3.ReaddirToken, name: bytes, cookie: int) -> bool:
        node = self.node if name == b"." else self._tree.parent_of(self.node)
        entry = replies.entry_attributes(node, self._ttl_s)
        return pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, cookie)

    def _reply_child(self, token: pyfuse3.ReaddirToken, child: Child, cookie: int) -> bool:
        """Add one entry; False where it does not fit. What was adopted in vain is given back."""
        # ATOMIC: the node that is told is under this name now
        name = pyfuse3.FileNameT(child.name)
        node = self._tree.adopt(self.node, child)
        if node is not None:
            entry = replies.entry_attributes(node, self._ttl_s)
            has_room = pyfuse3.readdir_reply(token, name, entry, cookie)
            if not has_room:
                self._tree.forget(node.inode, 1)
            return has_room
        entry = replies.name_only(child.inode, child.kind_mode)
        has_room = pyfuse3.readdir_reply(token, name, entry, cookie)
        if has_room:
            self._unlinked[child.inode] += 1
        return has_room
