"""Restoring: what an earlier mount left unsaved has its names back before anybody asks."""

from __future__ import annotations

from dataclasses import dataclass

from bucketfs.errors import InvalidOperation
from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Defaults, from_metadata, implicit_directory
from bucketfs.namespace.inodes import Inodes
from bucketfs.namespace.nodes import FileBytes, Node, key_of
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Precondition, Version


@dataclass(frozen=True, slots=True)
class UnsavedFile:
    """What an earlier mount knew of a file, or of a directory, that it had not saved.

    A directory's `key` is that of its marker. `base` is the version that it rests on, None for a
    new one, for which `expected` must hold at its key. `sent`: attributes under which a save of it
    may have reached the bucket already.
    """

    record: int
    key: str
    base: ObjectInfo | None
    expected: Precondition | None
    attributes: ObjectAttributes
    sent: tuple[ObjectAttributes, ...]
    is_refused: bool


class Restorer:
    """Puts unsaved files into a table of inodes that the kernel does not know yet."""

    def __init__(self, inodes: Inodes, defaults: Defaults) -> None:
        self._inodes = inodes
        self._defaults = defaults

    def restore(self, file: UnsavedFile, content: FileBytes) -> Node:
        """Return the node of an unsaved file, under its name and with its bytes.

        Directories above it are as if they had no marker; a look-up sees those that they have.
        Raises: InvalidOperation (its name is taken by another unsaved file, or by a directory).
        """
        prefix, segment = keys.split_key(file.key)
        parent = self._directory(prefix)
        name = keys.shown_file(segment)
        taken = parent.children.get(name)
        if taken is not None and taken.is_directory:
            name = keys.shown_file(segment, is_shadowed=True)
            taken = parent.children.get(name)
        if taken is not None:
            raise InvalidOperation(f"another unsaved file has the name {name!r}")
        version = file.base.version if file.base is not None else Version("")
        beside = file.attributes
        described = ObjectInfo(
            file.key, content.size, version, 0, beside.metadata, beside.content_type
        )
        attributes = from_metadata(described, self._defaults, False)
        node = self._inodes.add(parent, name, attributes, is_directory=False, info=file.base)
        node.content = content
        node.is_new = file.base is None
        node.expected = file.expected
        node.has_unsaved_attributes = node.has_explicit_times = True
        node.changes += 1
        node.record = file.record
        node.sent = (file.attributes, *file.sent)
        node.is_refused = file.is_refused
        if key_of(node) != file.key:
            node.content = None
            node.is_removed = True
            self._inodes.detach(node)
            raise InvalidOperation(f"no name leads to the key {file.key!r}")
        return node

    def restore_directory(self, unsaved: UnsavedFile) -> Node:
        """Return the node of a directory whose marker is not in the bucket as it is to be.

        Raises: InvalidOperation (its name is taken by an unsaved file).
        """
        node = self._directory(unsaved.key)
        beside = unsaved.attributes
        described = ObjectInfo(unsaved.key, 0, Version(""), 0, beside.metadata, beside.content_type)
        node.attributes = from_metadata(described, self._defaults, True)
        node.info = unsaved.base
        node.is_new = unsaved.base is None
        node.has_unsaved_attributes = True
        node.changes += 1
        node.record = unsaved.record
        node.sent = (beside,) if node.is_new else ()
        return node

    def _directory(self, prefix: str) -> Node:
        """Return the node of a directory, made with all above it where it is not known."""
        if not prefix:
            return self._inodes.root
        above, segment = keys.split_key(prefix)
        parent = self._directory(above)
        name = keys.shown_segment(segment)
        known = parent.children.get(name)
        if known is not None and known.is_directory:
            return known
        if known is not None:
            raise InvalidOperation(f"{name!r} is an unsaved file and a directory of others")
        attributes = implicit_directory(self._defaults)
        return self._inodes.add(parent, name, attributes, is_directory=True)
