"""Open directories: a snapshot of their names that grows as pages of the listing come.

Positions (cookies) are indexes into the snapshot, so that telldir and seekdir work as long as the
directory is open. What a reader has passed is kept in few bytes: a name and its type.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pyfuse3
import trio

from bucketfs.fuse import replies
from bucketfs.fuse.names_only import NamesOnly
from bucketfs.namespace.dentries import UNPROVED_INODES, Child
from bucketfs.namespace.nodes import Inode, Node
from bucketfs.namespace.tree import Tree

BLOCK = 512
"""Names that are packed together once they are passed."""

_KIND_SHIFT = 12
"""Where the type bits of a mode begin: S_IFMT is 0o170000."""


class Snapshot:
    """The names of a directory by their position. Those far behind the reader are packed.

    A packed name has lost its node and its attributes: it is told as a name only.
    """

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, bytes]] = []
        self._children: list[Child] = []
        self._unpacked: tuple[int, Sequence[Child]] = (-1, ())

    def __len__(self) -> int:
        return len(self._packed) * BLOCK + len(self._children)

    def extend(self, children: Sequence[Child]) -> None:
        """Add the names of a page."""
        self._children.extend(children)

    def __getitem__(self, position: int) -> Child:
        first = len(self._packed) * BLOCK
        if position >= first:
            return self._children[position - first]
        number, place = divmod(position, BLOCK)
        if self._unpacked[0] != number:
            inode = UNPROVED_INODES + number * BLOCK
            self._unpacked = (number, _unpacked(*self._packed[number], inode))
        return self._unpacked[1][place]

    def passed(self, position: int) -> None:
        """Note that a reader is at `position`: what is behind it will hardly be asked for again."""
        while position - len(self._packed) * BLOCK >= 2 * BLOCK:
            self._packed.append(_packed(self._children[:BLOCK]))
            del self._children[:BLOCK]


def _packed(children: Sequence[Child]) -> tuple[bytes, bytes]:
    """Return names and types. Names hold neither NUL nor slash."""
    kinds = bytes(child.kind_mode >> _KIND_SHIFT for child in children)
    return b"\0".join([child.name for child in children]), kinds


def _unpacked(names: bytes, kinds: bytes, inode: int) -> list[Child]:
    children = []
    for place, (name, kind) in enumerate(zip(names.split(b"\0"), kinds, strict=True)):
        mode = kind << _KIND_SHIFT
        children.append(Child(name, None, stat.S_ISDIR(mode), mode, Inode(inode + place), None, 0))
    return children


class DirectoryHandle:
    """One open directory. Position 0 (rewinddir) begins a new snapshot, as POSIX wants."""

    def __init__(self, tree: Tree, node: Node, ttl_s: float, names_only: NamesOnly) -> None:
        self.node = node
        self._tree = tree
        self._ttl_s = ttl_s
        self._names_only = names_only
        self._lock = trio.Lock()
        self._snapshot = Snapshot()
        self._rest: AsyncIterator[Sequence[Child]] | None = None
        self._is_complete = False

    async def aclose(self) -> None:
        """End a listing that was not read to its end."""
        rest, self._rest = self._rest, None
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()

    async def _restart(self) -> None:
        self._snapshot = Snapshot()
        self._is_complete = False
        await self.aclose()

    async def reply(self, position: int, token: pyfuse3.ReaddirToken) -> None:
        """Put the entries from `position` on into a readdir answer, as many as fit.

        What is listed already is answered at once: the next page is for the next request.
        """
        try:
            # A lock that is free is taken without a round through the scheduler.
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            await self._reply(position, token)
        finally:
            self._lock.release()

    async def _reply(self, position: int, token: pyfuse3.ReaddirToken) -> None:
        if position == 0 and (len(self._snapshot) or self._is_complete):
            await self._restart()
        first = max(position - 2, 0)
        await self._list_to(first + 1)
        snapshot = self._snapshot
        # ATOMIC: attributes are told as they are when the answer goes out
        for dots, name in enumerate((b".", b"..")):
            if position <= dots and not self._reply_dots(token, name, dots + 1):
                return
        for index in range(first, len(snapshot)):
            if not self._reply_child(token, snapshot[index], index + 3):
                break
        snapshot.passed(first)

    async def _list_to(self, count: int) -> None:
        """Let the snapshot have `count` entries, or all that there are."""
        while len(self._snapshot) < count and not self._is_complete:
            if self._rest is None:
                self._snapshot = Snapshot()
                self._rest = aiter(self._tree.pages(self.node))
            try:
                self._snapshot.extend(await anext(self._rest))
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
        node = self._tree.adopt(self.node, child)
        if node is None:
            return self._names_only.tell(token, child.name, child.inode, child.kind_mode, cookie)
        entry = replies.entry_attributes(node, self._ttl_s)
        has_room = pyfuse3.readdir_reply(token, pyfuse3.FileNameT(child.name), entry, cookie)
        if not has_room:
            self._tree.forget(node.inode, 1)
        return has_room
