"""Nodes: the inodes that the kernel knows, and their places in the tree; their table is `inodes`.

Pure bookkeeping without requests. A node is one file or directory for as long as the kernel, an
open handle or unsaved bytes need it. Its key is never stored: it is spelled by walking the parents,
so that renaming a directory re-keys everything below it at once.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NewType, Protocol

from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.dormant import Children
from bucketfs.storage.interface import ABSENT, ObjectAttributes, ObjectInfo, Precondition

Inode = NewType("Inode", int)
ROOT_INODE = Inode(1)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the process behind a request. `groups`: supplementary ones, None unknown."""

    uid: int
    gid: int
    umask: int = 0o022
    pid: int = 0
    groups: frozenset[int] | None = None

    def may_set_group_id(self, gid: int) -> bool:
        """Tell whether the caller may give a file of group `gid` the set-group-ID bit.

        With unknown `groups` the answer is yes: the kernel, which knows them, has checked already.
        """
        return self.uid == 0 or self.groups is None or gid == self.gid or gid in self.groups


@dataclass(frozen=True, slots=True)
class Changes:
    """What one setattr asks for; None leaves a field as it is. `mode` has permission bits only."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class SavedBytes(Protocol):
    """What a save left in the bucket."""

    @property
    def info(self) -> ObjectInfo:
        """The object as it is now."""

    @property
    def attributes(self) -> ObjectAttributes:
        """What really stands beside it (a streamed upload has the attributes of its begin)."""


class FileBytes(Protocol):
    """What the namespace needs of a file's content; `pagecache.content.Content` is one."""

    @property
    def size(self) -> int:
        """Bytes now, written ones included."""

    @property
    def is_dirty(self) -> bool:
        """Whether it holds bytes that the bucket has not."""

    @property
    def is_streaming(self) -> bool:
        """Whether an upload under the file's present key has begun already."""

    @property
    def base(self) -> ObjectInfo | None:
        """The object that it rests on; None: never saved."""

    async def save(
        self,
        key: str,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        *,
        may_append: bool = False,
    ) -> SavedBytes:
        """Send everything; on failure everything is still dirty.

        `may_append`: what stands beside the object may stay as it is, but for its times.
        """

    async def fetch_all(self) -> None:
        """Bring every byte that only the object has here, so that the object may vanish."""

    async def shared_with(self, found: ObjectInfo) -> int | None:
        """Return up to where an object that grew from its base has its bytes; None: others."""

    def rest_on(self, info: ObjectInfo) -> None:
        """Be what an object is: nothing is left of what was written."""

    def rebased(self, info: ObjectInfo) -> None:
        """Say that the same bytes are now this key and version."""

    async def discard(self) -> None:
        """Drop everything, unsaved bytes included."""


class Node:
    """One file or directory that the kernel, a handle or unsaved bytes hold.

    `lookups` is what the kernel will forget; `opens` and `writers` are handles (writers: those that
    may write); `busy` counts changes in flight. `is_new`: made here and never saved (a file);
    `expected` is then what must hold at its key when it is. `has_unsaved_attributes`: `attributes`
    are newer than those in the bucket; `has_explicit_times`: somebody set its times after the last
    write. `is_removed`: its name is gone, handles go on. `is_stale`: others replaced or deleted it.
    `data` is the whole object where a small GET did the stat; the first open takes it (a symlink
    keeps its target there). `changes` counts explicit changes of attributes (`stored_changes`:
    those that the bucket has), `entry_changes` those of a directory's entries. `record` is its
    number in the journal, None: it is not there. `sent`: attributes under which a save that failed,
    or is under way, may have reached the bucket. `is_refused`: others changed its object, so it is
    not saved by itself. `attributes` are replaced, never changed in place: others share them; their
    mtime and ctime may be newer than `stored_times`, which are those in the bucket.
    """

    __slots__ = (
        "attributes",
        "busy",
        "changes",
        "children",
        "content",
        "data",
        "entry_changes",
        "expected",
        "fresh_until_s",
        "has_deferred_delete",
        "has_explicit_times",
        "has_unsaved_attributes",
        "info",
        "inode",
        "is_directory",
        "is_new",
        "is_refused",
        "is_removed",
        "is_stale",
        "lookups",
        "name",
        "opens",
        "parent",
        "record",
        "sent",
        "stored_changes",
        "stored_times",
        "writers",
    )

    def __init__(
        self,
        inode: Inode,
        name: str,
        parent: Node | None,
        attributes: Attributes,
        *,
        is_directory: bool,
        info: ObjectInfo | None = None,
        data: bytes | None = None,
        fresh_until_s: float = 0.0,
    ) -> None:
        self.inode = inode
        self.name = name
        self.parent = parent
        self.attributes = attributes
        self.stored_times = times_of(attributes)
        self.is_directory = is_directory
        self.info = info
        self.data = data
        self.fresh_until_s = fresh_until_s
        self.children = Children() if is_directory else _NO_CHILDREN
        self.content: FileBytes | None = None
        self.lookups = 0
        self.opens = 0
        self.writers = 0
        self.busy = 0
        self.changes = 0
        self.stored_changes = 0
        self.entry_changes = 0
        self.is_new = False
        self.expected: Precondition | None = ABSENT
        self.is_removed = False
        self.is_stale = False
        self.has_unsaved_attributes = False
        self.has_explicit_times = False
        self.has_deferred_delete = False
        self.record: int | None = None
        self.sent: tuple[ObjectAttributes, ...] = ()
        self.is_refused = False

    @property
    def kind(self) -> int:
        """The type bits of its mode (`stat.S_IFREG` ...)."""
        return stat.S_IFMT(self.attributes.mode)

    @property
    def size(self) -> int:
        """Return st_size: written bytes included; a symlink's is its target's length."""
        if self.content is not None:
            return self.content.size
        if self.info is None or self.is_directory:
            return 0
        return self.info.size

    @property
    def is_dirty(self) -> bool:
        """Whether bytes or attributes are not in the bucket yet."""
        if self.is_removed:
            return False
        is_written = self.content is not None and self.content.is_dirty
        return self.is_new or self.has_unsaved_attributes or is_written

    @property
    def waits_for_delete(self) -> bool:
        """Whether it is a removed file that nobody has open and whose object is still there."""
        return self.has_deferred_delete and not self.opens

    @property
    def is_pinned(self) -> bool:
        """Whether the mount knows better than the bucket, so that the bucket is not asked."""
        return self.busy > 0 or self.writers > 0 or self.parent is None or self.is_dirty

    @property
    def is_detached(self) -> bool:
        """Whether no name leads here any more."""
        return self.is_removed or self.is_stale


_NO_CHILDREN = Children()
"""Of all that are no directories."""


def times_of(attributes: Attributes) -> tuple[int, int]:
    """Return mtime and ctime, by which two states of an object's metadata are told apart."""
    return attributes.mtime_ns, attributes.ctime_ns


def prefix_of(directory: Node) -> str:
    """Return the prefix of everything in a directory: "" for the root, else ending in "/"."""
    if directory.parent is None:
        return ""
    return keys.directory_prefix(prefix_of(directory.parent), directory.name)


def key_of(node: Node) -> str:
    """Return the node's key: a directory's is that of its marker. The root has none ("")."""
    if node.is_directory or node.parent is None:
        return prefix_of(node)
    if node.info is not None and keys.is_digest(node.name):
        # Only the listing knew the segment behind a name that is too long to be shown.
        return prefix_of(node.parent) + keys.split_key(node.info.key)[1]
    return keys.file_key(prefix_of(node.parent), node.name)


def is_below(node: Node, directory: Node) -> bool:
    """Tell whether `node` is `directory` or lies somewhere in it."""
    step: Node | None = node
    while step is not None:
        if step is directory:
            return True
        step = step.parent
    return False


def walk(directory: Node) -> Iterator[Node]:
    """Yield every known node below a directory, dormant ones too, parents before children."""
    pending = directory.children.all()
    while pending:
        node = pending.pop()
        yield node
        pending.extend(node.children.all())
