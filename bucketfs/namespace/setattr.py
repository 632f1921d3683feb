"""Changes of attributes: what Linux does to mode and times, and when the bucket hears of it.

Permission is the kernel's business (`default_permissions`); here are the rules that follow from it.
"""

from __future__ import annotations

import stat
from dataclasses import replace

from bucketfs.namespace import acl
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.nodes import Caller, Changes, Node
from bucketfs.namespace.saving import Saver


class Changer:
    """Changes attributes of nodes.

    With unsaved bytes, or while open for writing, a change waits for the next save and costs
    nothing; with write-back those of directories are put off. Else it is in the bucket when the
    call returns, and undone here if sending it failed.
    """

    def __init__(self, saver: Saver, *, has_acl: bool) -> None:
        self._saver = saver
        self._has_acl = has_acl

    async def change(self, node: Node, changes: Changes, caller: Caller) -> None:
        """Carry out chmod, chown and utimens. Raises: ReadOnly, ObjectChanged, StorageError."""
        attributes = changed(node.attributes, changes, caller)
        if self._has_acl and changes.mode is not None and attributes.xattrs:
            xattrs = acl.after_chmod(attributes.xattrs, attributes.mode)
            attributes = replace(attributes, xattrs=xattrs)
        is_timed = changes.atime_ns is not None or changes.mtime_ns is not None
        await self.apply(node, attributes, is_timed=is_timed)

    async def apply(self, node: Node, attributes: Attributes, *, is_timed: bool = False) -> None:
        """Give a node new attributes with a new ctime. Raises: as `change`, AttributesTooLarge."""
        self._saver.check_writable()
        former = (node.attributes, node.has_unsaved_attributes, node.has_explicit_times)
        # ATOMIC: attributes and their marks
        node.attributes = replace(attributes, ctime_ns=self._saver.now_ns())
        node.changes += 1
        mine = node.changes
        if node.is_removed or node.parent is None:
            return
        node.has_unsaved_attributes = True
        node.has_explicit_times |= is_timed
        try:
            self._saver.stored_attributes(node)
            if _awaits_save(node):
                if node.record is not None:
                    await self._saver.kept.changed(node)
            elif not (node.is_directory and await self._saver.put_off(node)):
                await self._saver.save(node)
        except BaseException:
            if node.changes == mine:
                node.attributes, node.has_unsaved_attributes, node.has_explicit_times = former
            raise

    def touched(self, node: Node) -> None:
        """Note that bytes were written: mtime, ctime, and set-ID bits as after any write.

        Called for every write; no request.
        """
        now, attributes = self._saver.now_ns(), node.attributes
        mode = without_set_ids(attributes.mode)
        node.changes += mode != attributes.mode
        node.attributes = replace(attributes, mtime_ns=now, ctime_ns=now, mode=mode)
        node.has_explicit_times = False
        node.has_unsaved_attributes = True


def changed(attributes: Attributes, changes: Changes, caller: Caller) -> Attributes:
    """Return attributes after a setattr, as Linux changes them; pure."""
    uid = attributes.uid if changes.uid is None else changes.uid
    gid = attributes.gid if changes.gid is None else changes.gid
    mode = attributes.mode
    is_directory = stat.S_ISDIR(mode)
    if not is_directory and (changes.uid is not None or changes.gid is not None):
        mode = without_set_ids(mode)
    if changes.mode is not None:
        mode = stat.S_IFMT(mode) | stat.S_IMODE(changes.mode)
        if not caller.may_set_group_id(gid):
            mode &= ~stat.S_ISGID
    return replace(
        attributes,
        mode=mode,
        uid=uid,
        gid=gid,
        atime_ns=attributes.atime_ns if changes.atime_ns is None else changes.atime_ns,
        mtime_ns=attributes.mtime_ns if changes.mtime_ns is None else changes.mtime_ns,
    )


def without_set_ids(mode: int) -> int:
    """Return a mode without S_ISUID, and without S_ISGID where the group may execute.

    S_ISGID without group execution is the mark of mandatory locking, which Linux leaves alone.
    """
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode


def _awaits_save(node: Node) -> bool:
    """Whether a save is coming anyway."""
    is_written = node.content is not None and node.content.is_dirty
    return node.writers > 0 or node.is_new or is_written
