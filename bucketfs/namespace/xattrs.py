"""Extended attributes: `user.*`, and POSIX ACLs where the mount has them."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from bucketfs.errors import (
    AttributeNotFound,
    AttributesTooLarge,
    EntryExists,
    InvalidOperation,
    NameTooLong,
    NotImplementedHere,
    NotPermitted,
)
from bucketfs.namespace import acl
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.setattr import Changer

TOLD = b"user.bucketfs."
"""What these names say is told by `fuse.describing`: it can be read, but is not the file's own.

They are in no list, so that cp -a, rsync -X and tar do not copy them, and nothing sets them."""

XATTR_CREATE = 1
XATTR_REPLACE = 2
NAME_MAX_BYTES = 255
VALUE_MAX_BYTES = 65536
"""XATTR_SIZE_MAX of Linux; the store's room for metadata is smaller (AttributesTooLarge)."""


class ExtendedAttributes:
    """Reads and changes extended attributes; names are the kernel's bytes."""

    def __init__(self, changer: Changer, *, has_acl: bool) -> None:
        self._changer = changer
        self._has_acl = has_acl

    async def get(self, node: Node, name: bytes) -> bytes:
        """Return a value. Raises: AttributeNotFound, NotImplementedHere (other namespaces)."""
        try:
            return node.attributes.xattrs[self._checked(name)]
        except KeyError:
            raise AttributeNotFound(f"no extended attribute {name!r}") from None

    async def list(self, node: Node) -> list[bytes]:
        """Return the names that can be read here."""
        names = (os.fsencode(name) for name in node.attributes.xattrs)
        return [name for name in names if self._is_served(name) and not name.startswith(TOLD)]

    async def set(self, node: Node, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set a value; `flags`: XATTR_CREATE, XATTR_REPLACE or 0.

        Raises: EntryExists (CREATE), AttributeNotFound (REPLACE), AttributesTooLarge,
        NotPermitted (`user.` on what is no file or directory), NotImplementedHere.
        """
        text = self._changeable(name)
        if flags & ~(XATTR_CREATE | XATTR_REPLACE):
            raise InvalidOperation(f"unknown flags {flags:#x}")
        if len(value) > VALUE_MAX_BYTES:
            raise AttributesTooLarge(f"a value over {VALUE_MAX_BYTES} bytes")
        _check_kind(node, name)
        attributes = node.attributes
        if flags & XATTR_CREATE and text in attributes.xattrs:
            raise EntryExists(f"the extended attribute {name!r} is there already")
        if flags & XATTR_REPLACE and text not in attributes.xattrs:
            raise AttributeNotFound(f"no extended attribute {name!r}")
        if acl.is_acl(text):
            mode, xattrs = acl.after_set(attributes.xattrs, attributes.mode, text, value)
        else:
            mode, xattrs = attributes.mode, {**attributes.xattrs, text: bytes(value)}
        await self._changer.apply(node, replace(attributes, mode=mode, xattrs=xattrs))

    async def remove(self, node: Node, name: bytes) -> None:
        """Remove an attribute. Raises: AttributeNotFound, NotImplementedHere."""
        text = self._changeable(name)
        xattrs = dict(node.attributes.xattrs)
        if xattrs.pop(text, None) is None:
            raise AttributeNotFound(f"no extended attribute {name!r}")
        await self._changer.apply(node, replace(node.attributes, xattrs=xattrs))

    def _changeable(self, name: bytes) -> str:
        if name.startswith(TOLD):
            raise NotImplementedHere(f"{name!r} is told by the mount, it cannot be changed")
        return self._checked(name)

    def _checked(self, name: bytes) -> str:
        if len(name) > NAME_MAX_BYTES:
            raise NameTooLong(f"an attribute's name over {NAME_MAX_BYTES} bytes")
        if name == b"user.":
            raise InvalidOperation("an attribute's name needs more than its namespace")
        if not self._is_served(name):
            raise NotImplementedHere(f"extended attributes like {name!r} are not kept here")
        return os.fsdecode(name)

    def _is_served(self, name: bytes) -> bool:
        return name.startswith(b"user.") or (self._has_acl and acl.is_acl(os.fsdecode(name)))


def _check_kind(node: Node, name: bytes) -> None:
    """Refuse what Linux refuses: `user.` on links, fifos, sockets, devices; ACLs of links."""
    if node.kind == stat.S_IFLNK and acl.is_acl(os.fsdecode(name)):
        raise NotImplementedHere("symlinks have no ACL")
    if name.startswith(b"user.") and node.kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise NotPermitted("only files and directories have user attributes")
