"""Renaming, a protocol of its own: objects cannot be renamed, so they are copied, then deleted.

A file is one copy that carries the new ctime (or a native move). A directory is every key below it,
in parallel; the old tree stays whole until all copies are there, and inodes stay what they were.
Either is a job of the journal, so that after a crash one of the names has everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace

from bucketfs.errors import (
    DirectoryNotEmpty,
    EntryExists,
    EntryNotFound,
    InvalidOperation,
    IsADirectory,
    NotADirectory,
)
from bucketfs.namespace import jobs
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.dentries import Dentries, decoded
from bucketfs.namespace.gate import Place, hold_places
from bucketfs.namespace.nodes import Node, is_below, key_of, prefix_of, walk
from bucketfs.namespace.parallel import for_each
from bucketfs.namespace.removal import Removal, removed_places
from bucketfs.namespace.saving import Saver
from bucketfs.namespace.transfer import TreeTransfer
from bucketfs.storage.interface import ABSENT, ObjectInfo, ObjectStore, Precondition

NOREPLACE = 1
EXCHANGE = 2


@dataclass(slots=True)
class _Move:
    """One rename under way; all of it is decided while the names are held."""

    source: Node
    target: Node | None
    parent: Node
    name: str
    former_parent: Node
    former_name: str
    is_exclusive: bool


class Renamer:
    """Renames files and directories by POSIX's rules."""

    def __init__(
        self,
        store: ObjectStore,
        dentries: Dentries,
        saver: Saver,
        removal: Removal,
        *,
        concurrency: int,
    ) -> None:
        self._store = store
        self._dentries = dentries
        self._saver = saver
        self._removal = removal
        self._concurrency = concurrency

    async def rename(
        self, parent: Node, name: bytes, new_parent: Node, new_name: bytes, flags: int
    ) -> None:
        """Give an entry another name, replacing what has it. `flags`: 0 or NOREPLACE.

        On failure nothing is lost: the entry is under its old name, or (where the deletes of a
        directory failed) whole under the new one with remains under the old. Raises:
        EntryNotFound, EntryExists (NOREPLACE), DirectoryNotEmpty, NotADirectory, IsADirectory,
        InvalidOperation (into itself, EXCHANGE), ObjectChanged, StorageError.
        """
        self._saver.check_writable()
        if flags & ~NOREPLACE:
            raise InvalidOperation("names cannot be exchanged in a bucket")
        old, new = decoded(name), decoded(new_name)
        replaced: Node | None = None
        is_done = False
        while not is_done:
            source = await self._source(parent, old)
            places, trees = _to_hold(source, (parent, old), (new_parent, new))
            async with hold_places(self._saver.gate, *places, trees=trees):
                if await self._dentries.find(parent, old) is not source:
                    continue  # it changed while this waited
                if new_parent.is_detached:
                    raise EntryNotFound(f"the directory {new_parent.name!r} was removed")
                target = await self._dentries.find(new_parent, new)
                exclusive = bool(flags & NOREPLACE)
                move = _Move(source, target, new_parent, new, parent, old, exclusive)
                replaced = await self._rename_held(move)
                is_done = True
        if replaced is not None:
            await self._removal.end_unused(replaced)

    async def _source(self, parent: Node, name: str) -> Node:
        node = await self._dentries.find(parent, name)
        if node is None:
            raise EntryNotFound(f"no entry {name!r}")
        return node

    async def _rename_held(self, move: _Move) -> Node | None:
        """Carry a rename out with all its names held; return the node that it replaced."""
        source, target = move.source, move.target
        if move.is_exclusive and target is not None:
            raise EntryExists(f"{move.name!r} is there already")
        if target is source:
            return None
        _check_kinds(move)
        pinned = [node for node in (source, target) if node is not None]
        for node in pinned:
            node.busy += 1
        try:
            if target is not None and not target.is_directory:
                await self._removal.keep_bytes(target)
            if move.parent is not move.former_parent:
                await self._saver.make_marker(move.former_parent)
            with self._unseen(move):
                if source.is_directory:
                    await self._rename_directory(move)
                else:
                    await self._rename_file(move)
        finally:
            for node in pinned:
                node.busy -= 1
        return target

    @contextmanager
    def _unseen(self, move: _Move) -> Iterator[None]:
        """Show no half of a rename here: the new name is absent until the rename gives it away.

        A name that something has is shown by the node that has it, which is busy.
        """
        if move.target is not None:
            yield
            return
        finder, prefix = self._dentries.finder, prefix_of(move.parent)
        finder.removed(prefix, move.name, is_deferred=True)
        try:
            yield
        finally:
            if finder.is_hidden(prefix_of(move.parent), move.name):
                finder.removed(prefix_of(move.parent), move.name)

    async def _rename_file(self, move: _Move) -> None:
        source = move.source
        old_key = key_of(source)
        new_key = self._new_key(move)
        await self._saver.hidden.settle(new_key)
        if source.is_new and not (source.content is not None and source.content.is_streaming):
            await self._rename_unsaved(move, old_key)
            return
        if source.is_dirty:
            await self._saver.save_held(source)
        former = source.attributes
        renamed = replace(former, ctime_ns=self._saver.now_ns())
        async with self._file_job(move, old_key, new_key, renamed) as job:
            job.is_settled = True  # who sees an error decides what happens to either name
            info = await self._transfer_file(move, old_key, new_key, renamed)
            if source.content is not None:
                source.content.rebased(info)
            source.attributes = replace(source.attributes, ctime_ns=renamed.ctime_ns)
            self._rename_node(move)
            # A native move takes the metadata along as it is: the new ctime is known here only.
            stored = former if self._store.capabilities.move else renamed
            self._saver.note_stored(source, info, stored)
            await self._saver.kept.moved([], move.target)

    def _file_job(
        self, move: _Move, old_key: str, new_key: str, renamed: Attributes
    ) -> AbstractAsyncContextManager[jobs.Job]:
        """Have the next mount delete the old object should this one die when it has the copy.

        Not durable: a commit of the journal would cost as much as a request, and after a power cut
        in that very moment both names are there whole. A native move is one step; it is noted only
        where the file that it replaces is in the journal.
        """
        source, target = move.source, move.target
        is_native = self._store.capabilities.move
        if is_native and (target is None or target.record is None):
            return jobs.journalled(jobs.NothingLogged(), jobs.RENAME_FILE, {})
        wanted = None if is_native else self._saver.stored_attributes(source, renamed, move.name)
        info = source.info
        details = {
            "old": old_key,
            "new": new_key,
            "version": info.version if info is not None else "",
            "modified_ns": str(info.modified_ns if info is not None else 0),
            "metadata": json.dumps(None if wanted is None else dict(wanted.metadata)),
        }
        return jobs.journalled(self._saver.jobs, jobs.RENAME_FILE, details, is_durable=False)

    async def _rename_unsaved(self, move: _Move, old_key: str) -> None:
        """Rename a file that only this mount has, and delete what it was to replace."""
        expected = move.source.expected
        if expected == ABSENT:
            await self._take_unsaved(move)
            return
        version = expected.version if expected is not None else None
        log = self._saver.jobs if version is not None else jobs.NothingLogged()
        details = {"key": old_key, "version": version or "", "modified_ns": "0"}
        finder = self._dentries.finder
        async with jobs.journalled(log, jobs.DELETE, details, is_durable=False):
            await self._take_unsaved(move)
            finder.removed(prefix_of(move.former_parent), move.former_name, is_deferred=True)
            try:
                await self._store.delete(old_key)
            finally:
                finder.removed(prefix_of(move.former_parent), move.former_name)

    async def _take_unsaved(self, move: _Move) -> None:
        """Give an unsaved file its new name; its save will replace the target's object."""
        source, target = move.source, move.target
        if target is None:
            source.expected = ABSENT
        elif target.is_new:
            source.expected = target.expected
        else:
            source.expected = Precondition(target.info.version) if target.info else None
        source.attributes = replace(source.attributes, ctime_ns=self._saver.now_ns())
        self._rename_node(move)
        await self._saver.kept.moved([source], target)

    async def _transfer_file(
        self, move: _Move, old_key: str, new_key: str, renamed: Attributes
    ) -> ObjectInfo:
        source = move.source
        if self._store.capabilities.move:
            await self._retype(move, old_key)
            return await self._store.move(old_key, new_key)
        info = await self._store.copy(
            old_key,
            new_key,
            attributes=self._saver.stored_attributes(source, renamed, move.name),
            source_version=source.info.version if source.info is not None else None,
            precondition=ABSENT if move.is_exclusive else None,
        )
        try:
            await self._store.delete(old_key)
        except BaseException:
            # Both names are there now: what was known of the new one is not true any more.
            prefix = prefix_of(move.parent)
            self._dentries.finder.stored(prefix, move.name, info, renamed)
            raise
        return info

    async def _retype(self, move: _Move, old_key: str) -> None:
        """Give a file the content type of its new extension: a native move keeps the old one.

        Before the move: should that fail, a file under its old name has another type, no more.
        """
        source = move.source
        wanted = self._saver.stored_attributes(source, name=move.name)
        if source.info is None or source.info.content_type in (None, wanted.content_type):
            return
        version = source.info.version
        info = await self._store.copy(old_key, old_key, attributes=wanted, source_version=version)
        if source.content is not None:
            source.content.rebased(info)
        self._saver.note_stored(source, info, source.attributes)

    def _rename_node(self, move: _Move) -> None:
        """Change the names here. The bucket has them already, or will with the next save."""
        # ATOMIC: table, finder and times of both directories
        source, target = move.source, move.target
        if target is not None:
            self._removal.forget_name(target)
        self._dentries.finder.removed(prefix_of(move.former_parent), move.former_name)
        self._dentries.inodes.move(source, move.parent, move.name)
        self._saver.touch_directory(move.former_parent)
        if move.parent is not move.former_parent:
            self._saver.touch_directory(move.parent)

    async def _rename_directory(self, move: _Move) -> None:
        source, target = move.source, move.target
        if target is not None:
            await self._removal.check_empty(target)
        old_prefix, new_prefix = prefix_of(source), self._new_key(move)
        transfer = TreeTransfer(self._store, old_prefix, new_prefix, concurrency=self._concurrency)
        await self._saver.hidden.settle_below(old_prefix)
        await self._saver.hidden.settle(new_prefix.rstrip("/"))
        await self._save_below(source)
        await transfer.check_keys(key_of(node) for node in walk(source) if node.is_new)
        has_marker = target is not None and not target.is_new
        details = {
            "old": old_prefix,
            "new": new_prefix,
            "phase": jobs.MOVING if self._store.capabilities.move else jobs.COPYING,
            "replaces": "1" if has_marker else "",
        }
        async with jobs.journalled(self._saver.jobs, jobs.RENAME_DIRECTORY, details) as job:
            try:
                await transfer.copy_all()
                stored = replace(source.attributes, ctime_ns=self._saver.now_ns())
                transfer.has_new_marker = not has_marker
                marker = await self._write_new_marker(source, stored, transfer)
                await job.update(phase=jobs.DELETING, newest_ns=str(transfer.newest_ns))
            except BaseException:
                job.is_settled = await transfer.undo()
                raise
            self._take_new_names(move, transfer, marker, stored)
            await self._end_old_tree(move, transfer)

    def _take_new_names(
        self, move: _Move, transfer: TreeTransfer, marker: ObjectInfo, stored: Attributes
    ) -> None:
        """Show a tree under its new name, of which the bucket has everything."""
        # ATOMIC: from the last copy to the new names no look-up sees half of it
        source = move.source
        for node in walk(source):
            copied = transfer.done.get(key_of(node))
            # Another version than the node's is the file of others: it must not pass for its bytes.
            if copied is None or node.info is None or node.info.version != copied.old_version:
                continue
            node.info = replace(
                node.info,
                key=transfer.new_key(key_of(node)),
                version=copied.version,
                modified_ns=copied.modified_ns,
                is_appendable=copied.is_appendable,
            )
            if node.content is not None:
                node.content.rebased(node.info)
        source.attributes = replace(source.attributes, ctime_ns=stored.ctime_ns)
        self._rename_node(move)
        self._dentries.finder.renamed_tree(transfer.old_prefix, transfer.new_prefix)
        source.is_new, source.sent = False, ()
        self._saver.note_stored(source, marker, stored)

    async def _end_old_tree(self, move: _Move, transfer: TreeTransfer) -> None:
        """Delete the old objects; until the last one is gone the bucket shows the old name."""
        finder, prefix = self._dentries.finder, prefix_of(move.former_parent)
        finder.removed(prefix, move.former_name, is_deferred=True)
        try:
            kept = self._saver.kept
            await kept.moved([move.source, *walk(move.source)], move.target)
            await kept.saved(move.source)
            await transfer.delete_old()
        finally:
            finder.removed(prefix_of(move.former_parent), move.former_name)

    async def _save_below(self, directory: Node) -> None:
        """Save what is unsaved below; files that were never saved just get other keys."""

        async def save(node: Node) -> None:
            content = node.content
            if not node.is_new or (content is not None and content.is_streaming):
                await self._saver.save_held(node)

        await for_each([n for n in walk(directory) if n.is_dirty], save, limit=self._concurrency)

    async def _write_new_marker(
        self, source: Node, stored: Attributes, transfer: TreeTransfer
    ) -> ObjectInfo:
        attributes = self._saver.stored_attributes(source, stored)
        if source.info is not None and source.info.size > 0:
            return await self._store.copy(
                transfer.old_prefix, transfer.new_prefix, attributes=attributes
            )
        return await self._saver.write_empty(transfer.new_prefix, attributes)

    def _new_key(self, move: _Move) -> str:
        """Spell the key at the new name. Raises: NameTooLong."""
        return self._dentries.key_at(move.parent, move.name, move.source.is_directory)


def _to_hold(source: Node, old: Place, new: Place) -> tuple[list[Place], list[Place]]:
    """Return the names and trees that a rename needs for itself."""
    places = [*removed_places(*old), new]
    return places, ([old, new] if source.is_directory else [])


def _check_kinds(move: _Move) -> None:
    """Refuse what POSIX refuses. Raises: InvalidOperation, NotADirectory, IsADirectory."""
    source, target = move.source, move.target
    if source.is_directory and is_below(move.parent, source):
        raise InvalidOperation("a directory cannot move into itself")
    if target is None:
        return
    if is_below(move.former_parent, target):
        raise DirectoryNotEmpty(f"{move.name!r} holds what is to replace it")
    if source.is_directory and not target.is_directory:
        raise NotADirectory(f"{move.name!r} is not a directory")
    if target.is_directory and not source.is_directory:
        raise IsADirectory(f"{move.name!r} is a directory")
