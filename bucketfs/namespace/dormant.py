"""Dormant nodes: what the kernel holds and nobody uses, in a fifth of the memory; pure.

The kernel remembers as many names as it has memory for; a program that looks at a million files
leaves a million nodes. One that nobody else refers to can be packed into a few bytes, and is made
anew, with the same number, when it is asked for.
"""

from __future__ import annotations

import marshal
import re
import sys
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

from bucketfs.namespace.attributes import Attributes, to_metadata
from bucketfs.storage.interface import ObjectInfo, Version

if TYPE_CHECKING:
    from bucketfs.namespace.nodes import Node

Packed = NewType("Packed", bytes)

_NUMBERS = Struct("<qqdIIIqqqQqq???")
_HEX_DIGITS = re.compile("(?:[0-9a-f]{2})+")

_OWN_REFERENCES = 4
"""To a node that only its directory has: that one, the caller's, the parameter's, and the look."""


class Children(dict[str, "Node"]):
    """The known entries of a directory. Dormant ones wake up when they are got.

    `len`, truth and `in` count only those awake; `dormant` has the numbers of the others. A plain
    loop (`awake`) leaves them asleep, `values` and `items` wake all.
    """

    __slots__ = ("_wake", "dormant")

    def __init__(self, wake: Callable[[int], Node] | None = None) -> None:
        super().__init__()
        self.dormant: dict[str, int] = {}
        self._wake = wake

    def get(self, name: str, default: Node | None = None) -> Node | None:  # type: ignore[override]
        """Return the node of a name."""
        node = super().get(name)
        if node is None and self._wake is not None:
            inode = self.dormant.get(name)
            if inode is not None:
                return self._wake(inode)
        return node if node is not None else default

    def awake(self) -> list[Node]:
        """Return the nodes that are not dormant."""
        return list(super().values())

    def all(self) -> list[Node]:
        """Return all nodes, awake."""
        for name in list(self.dormant):
            self.get(name)
        return self.awake()


def is_packable(node: Node) -> bool:
    """Whether nothing would be lost if a node were packed: it is what the kernel was told of it.

    The caller has one reference to it, its directory another one; whoever else has one, a handle or
    a request under way, keeps it as it is.
    """
    if sys.getrefcount(node) > _OWN_REFERENCES or not hasattr(sys, "getrefcount"):
        return False
    if node.opens or node.children or node.children.dormant or node.content is not None:
        return False
    if node.is_pinned or node.is_detached or node.data is not None or node.sent:
        return False
    if node.changes != node.stored_changes or node.record is not None or node.is_refused:
        return False
    attributes = node.attributes
    is_as_stored = node.stored_times == (attributes.mtime_ns, attributes.ctime_ns)
    return is_as_stored and not (node.has_deferred_delete or node.has_explicit_times)


def pack(node: Node, key: str) -> Packed:
    """Return all that is to be known of a node that `is_packable`, but for its number.

    `key` is what its path spells now.
    """
    info, attributes, parent = node.info, node.attributes, node.parent
    assert parent is not None
    numbers = _NUMBERS.pack(
        parent.inode,
        node.lookups,
        node.fresh_until_s,
        attributes.mode,
        attributes.uid,
        attributes.gid,
        attributes.mtime_ns,
        attributes.ctime_ns,
        attributes.atime_ns,
        attributes.rdev,
        0 if info is None else info.size,
        0 if info is None else info.modified_ns,
        node.is_directory,
        attributes.holds_special,
        info is not None and info.is_appendable,
    )
    rest = (attributes.xattrs or None, dict(attributes.foreign) or None)
    texts = None if info is None else _texts(info, attributes, key)
    fields: Any = (node.name, rest if any(rest) else None, texts)
    return Packed(numbers + marshal.dumps(fields))


class Unpacked(NamedTuple):
    """What was packed of a node, but for the object it stands for, which `info_of` tells."""

    parent: int
    lookups: int
    fresh_until_s: float
    name: str
    is_directory: bool
    attributes: Attributes
    texts: tuple[Any, ...] | None
    numbers: tuple[int, int, bool]

    def info_of(self, key: str) -> ObjectInfo | None:
        """Return the object; `key` is what the path of the node spells."""
        if self.texts is None:
            return None
        other_key, version, content_type, storage_class, metadata = self.texts
        size, modified_ns, is_appendable = self.numbers
        if metadata is True:
            metadata = to_metadata(self.attributes, sys.maxsize)
        return ObjectInfo(
            other_key or key,
            size,
            Version(version.hex() if isinstance(version, bytes) else version),
            modified_ns,
            metadata,
            content_type,
            storage_class,
            is_appendable,
        )


def unpack(packed: Packed) -> Unpacked:
    """Return what was packed."""
    parent, lookups, fresh_until_s, *numbers = _NUMBERS.unpack_from(packed)
    size, modified_ns, is_directory, holds_special, is_appendable = numbers[7:]
    name, rest, texts = marshal.loads(memoryview(packed)[_NUMBERS.size :])
    xattrs, foreign = rest or (None, None)
    mode, uid, gid, mtime_ns, ctime_ns, atime_ns, rdev = numbers[:7]
    attributes = Attributes(
        mode,
        uid,
        gid,
        mtime_ns,
        ctime_ns,
        atime_ns,
        rdev,
        xattrs or {},
        holds_special,
        foreign or {},
    )
    found = (size, modified_ns, is_appendable)
    return Unpacked(parent, lookups, fresh_until_s, name, is_directory, attributes, texts, found)


def _texts(info: ObjectInfo, attributes: Attributes, key: str) -> tuple[Any, ...]:
    """Return what is known of an object besides numbers; metadata True: as `attributes` make it."""
    version: str | bytes = info.version
    if _HEX_DIGITS.fullmatch(info.version):
        version = bytes.fromhex(info.version)
    metadata: Any = None if info.metadata is None else dict(info.metadata)
    if metadata and metadata == to_metadata(attributes, sys.maxsize):
        metadata = True
    other_key = None if info.key == key else info.key
    return other_key, version, info.content_type, info.storage_class, metadata
