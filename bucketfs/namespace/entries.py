"""Making names: files, directories and special files.

A created file is local until its first save; everything else is one PUT that must find nothing at
its key. Owner, group and mode follow Linux's rules for set-group-ID directories.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from bucketfs.errors import EntryExists, EntryNotFound, InvalidOperation, ObjectExists
from bucketfs.namespace import acl
from bucketfs.namespace.attributes import Attributes, is_special
from bucketfs.namespace.dentries import Dentries, decoded
from bucketfs.namespace.gate import Place, hold_places, place_of
from bucketfs.namespace.nodes import Caller, Node, key_of, prefix_of
from bucketfs.namespace.saving import Saver
from bucketfs.storage.interface import ABSENT, BytesBody


class Entries:
    """Makes entries, never over one that is there, as far as the server's word goes."""

    def __init__(self, dentries: Dentries, saver: Saver, *, has_acl: bool) -> None:
        self._dentries = dentries
        self._saver = saver
        self._has_acl = has_acl

    async def create(self, parent: Node, name: bytes, mode: int, caller: Caller) -> Node:
        """Make a regular file that is only here until it is saved; one lookup is counted.

        Raises: EntryExists, EntryNotFound (the directory is gone), NameTooLong, StorageError.
        """
        text = decoded(name)
        async with self._vacant(parent, text):
            node = self._add(parent, text, stat.S_IFREG | stat.S_IMODE(mode), 0, caller)
            node.is_new = True
        return node

    async def make_directory(self, parent: Node, name: bytes, mode: int, caller: Caller) -> Node:
        """Make a directory; one lookup is counted. Raises: as `create`.

        Its marker is in the bucket then, or with write-back in the journal.
        """
        text = decoded(name)
        async with self._vacant(parent, text):
            mode = stat.S_IFDIR | stat.S_IMODE(mode)
            return await self._put(parent, text, mode, 0, caller, b"")

    async def make_node(
        self, parent: Node, name: bytes, mode: int, rdev: int, caller: Caller
    ) -> Node:
        """Make a fifo, socket, device node or empty regular file; one lookup is counted.

        Raises: InvalidOperation (another type), and as `create`.
        """
        if stat.S_IFMT(mode) == 0:
            mode |= stat.S_IFREG
        if stat.S_IFMT(mode) in (stat.S_IFDIR, stat.S_IFLNK):
            raise InvalidOperation("mknod makes no directories or symlinks")
        return await self.put(parent, name, mode, rdev, caller, b"")

    async def put(
        self, parent: Node, name: bytes, mode: int, rdev: int, caller: Caller, data: bytes
    ) -> Node:
        """Make an entry whose object is written at once. Raises: as `create`."""
        text = decoded(name)
        hint = is_special(mode) and not parent.attributes.holds_special
        async with self._vacant(parent, text, *([place_of(parent)] if hint else [])):
            return await self._put(parent, text, mode, rdev, caller, data)

    @asynccontextmanager
    async def _vacant(self, parent: Node, name: str, *more: Place) -> AsyncIterator[None]:
        """Hold a vacant name, and `more`. Raises: EntryExists, EntryNotFound, ReadOnly."""
        self._saver.check_writable()
        async with hold_places(self._saver.gate, (parent, name), *more):
            if parent.is_detached:
                raise EntryNotFound(f"the directory {parent.name!r} was removed")
            if await self._dentries.find(parent, name) is not None:
                raise EntryExists(f"{name!r} is there already")
            if parent.is_detached:
                raise EntryNotFound(f"the directory {parent.name!r} was removed")
            yield

    def _add(self, parent: Node, name: str, mode: int, rdev: int, caller: Caller) -> Node:
        """Put a new node into the table; moves its directory's times. Raises: NameTooLong."""
        # ATOMIC: the name is there from here on, for look-ups too
        is_directory = stat.S_ISDIR(mode)
        self._dentries.key_at(parent, name, is_directory)
        attributes = self._new_attributes(parent, mode, rdev, caller)
        node = self._dentries.inodes.add(parent, name, attributes, is_directory=is_directory)
        node.lookups = 1
        self._saver.touch_directory(parent)
        return node

    async def _put(
        self, parent: Node, name: str, mode: int, rdev: int, caller: Caller, data: bytes
    ) -> Node:
        if is_special(mode):
            await self._hint_special(parent)
        node = self._add(parent, name, mode, rdev, caller)
        node.busy += 1
        try:
            key = key_of(node)
            await self._saver.hidden.settle(key.rstrip("/"))
            wanted = self._saver.stored_attributes(node)
            if node.is_directory and await self._put_off(node):
                return node
            info = await self._saver.store.write(key, BytesBody(data), wanted, ABSENT)
            if stat.S_ISLNK(mode):
                node.data = data
            self._saver.note_stored(node, info, node.attributes, is_new=True)
            if node.data is not None:
                self._dentries.finder.learned_target(info, node.data)
        except ObjectExists as exc:
            self._drop(node)
            raise EntryExists(f"{name!r} was made by others at this moment") from exc
        except BaseException:
            self._drop(node)
            with trio.CancelScope(shield=True):
                await self._saver.kept.removed(node)
            raise
        finally:
            node.busy -= 1
        return node

    async def _put_off(self, directory: Node) -> bool:
        """Leave the marker of a new directory to later, where the mount may; say whether."""
        directory.is_new = True
        if not await self._saver.put_off(directory):
            directory.is_new = False
            return False
        # ATOMIC: nothing can be below what is only here.
        parent = directory.parent
        assert parent is not None
        self._dentries.finder.made_directory(
            prefix_of(parent), directory.name, None, directory.attributes, is_new=True
        )
        return True

    async def _hint_special(self, parent: Node) -> None:
        """Let the marker say that listings of this directory need proof of types; once."""
        if parent.attributes.holds_special or parent.parent is None:
            return
        parent.attributes = replace(parent.attributes, holds_special=True)
        try:
            await self._saver.write_marker(parent)
        except BaseException:
            parent.attributes = replace(parent.attributes, holds_special=False)
            raise

    def _drop(self, node: Node) -> None:
        """Take back a node that was not made after all."""
        node.is_removed = True
        node.lookups = 0
        self._dentries.inodes.detach(node)

    def _new_attributes(self, parent: Node, mode: int, rdev: int, caller: Caller) -> Attributes:
        now = self._saver.now_ns()
        gid = caller.gid
        if parent.attributes.mode & stat.S_ISGID:
            gid = parent.attributes.gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        is_executable_setgid = mode & stat.S_ISGID and mode & stat.S_IXGRP
        if not stat.S_ISDIR(mode) and is_executable_setgid and not caller.may_set_group_id(gid):
            mode &= ~stat.S_ISGID
        xattrs: dict[str, bytes] = {}
        if self._has_acl and not stat.S_ISLNK(mode):
            mode, xattrs = acl.inherit(parent.attributes.xattrs, mode)
        return Attributes(mode, caller.uid, gid, now, now, now, rdev, xattrs)
