"""Saving: what brings a node's bytes and attributes into the bucket, and knows what is there.

Attributes travel with the bytes where there are any to send; else they are one copy of the object
onto itself, or one PUT where it is empty. A marker is made where a directory needs one.
"""

from __future__ import annotations

import logging
import socket
import stat
from collections.abc import Callable
from dataclasses import replace

from bucketfs.errors import (
    CacheDirectoryError,
    NoSpace,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ReadOnly,
    Transient,
)
from bucketfs.namespace.attributes import Attributes, Defaults, from_metadata, to_metadata
from bucketfs.namespace.conflicts import COPY, FAIL, OVERWRITE, conflict_name
from bucketfs.namespace.content_types import content_type
from bucketfs.namespace.dentries import Dentries
from bucketfs.namespace.gate import KeyGate, hold_node
from bucketfs.namespace.hiding import HiddenObjects
from bucketfs.namespace.jobs import JobLog, NothingLogged
from bucketfs.namespace.kept import KeptFiles, NothingKept
from bucketfs.namespace.nodes import FileBytes, Node, SavedBytes, key_of, prefix_of, times_of
from bucketfs.namespace.own import OwnObjects
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Precondition,
)

log = logging.getLogger(__name__)

_MARKER_ATTEMPTS = 3
_SENT_MOST = 4
"""So many saves of unknown outcome are remembered of a file."""


class Saver:
    """Saves nodes. Saves of one node wait for one another; the later ones find nothing to do.

    On failure or cancellation everything is as unsaved as before. Methods named `..._held` want the
    node's place held in `gate` by the caller. `later`, where set, is given nodes whose save may
    wait (write-back).
    """

    def __init__(
        self,
        store: ObjectStore,
        dentries: Dentries,
        gate: KeyGate,
        *,
        clock_ns: Callable[[], int],
        is_read_only: bool = False,
        kept: KeptFiles | None = None,
        jobs: JobLog | None = None,
        conflict: str = FAIL,
        later: Callable[[Node], None] | None = None,
    ) -> None:
        self._conflict = conflict
        self._later = later
        self._host = socket.gethostname()
        self.kept = kept or NothingKept()
        self.jobs = jobs or NothingLogged()
        self.store = store
        self.own = OwnObjects(store)
        self.dentries = dentries
        self.gate = gate
        self.now_ns = clock_ns
        self.hidden = HiddenObjects(store, dentries, self.jobs, clock_ns)
        self._is_read_only = is_read_only

    def check_writable(self) -> None:
        """Refuse changes of a read-only mount. Raises: ReadOnly."""
        if self._is_read_only:
            raise ReadOnly("the file system is mounted read-only")

    def stored_attributes(
        self, node: Node, attributes: Attributes | None = None, name: str | None = None
    ) -> ObjectAttributes:
        """Return what stands beside the node's object once it is saved.

        `attributes` and `name`: as if it had these. Raises: AttributesTooLarge.
        """
        limit = self.store.capabilities.max_metadata
        metadata = to_metadata(attributes or node.attributes, limit)
        return ObjectAttributes(metadata, content_type(node, name))

    async def save(self, node: Node) -> None:
        """Bring everything of a node into the bucket; a clean or removed one costs nothing.

        Raises: ObjectChanged where others wrote the object meanwhile (the bytes are kept),
        StorageError.
        """
        if not node.is_dirty:
            return
        async with hold_node(self.gate, node):
            await self.save_held(node)

    async def put_off(self, directory: Node) -> bool:
        """Have a directory in the journal, to be saved soon; False: it has to be saved now."""
        if self._later is None:
            return False
        try:
            await self.kept.keep(directory)
        except (NoSpace, CacheDirectoryError) as exc:
            log.warning("the journal cannot keep %r, so it is saved now: %s", directory.name, exc)
            return False
        self._later(directory)
        return True

    async def save_held(self, node: Node) -> None:
        """Do as `save` with the node's place held already."""
        if not node.is_dirty or node.parent is None:
            return
        node.busy += 1
        try:
            if node.is_directory:
                await self._save_directory(node)
                return
            await self.hidden.settle(key_of(node))
            if node.is_new or (node.content is not None and node.content.is_dirty):
                await self._save_bytes(node)
            if node.has_unsaved_attributes and not _is_written(node.content):
                await self._save_attributes(node)
            if node.record is not None:
                await self.kept.saved(node)
        finally:
            node.busy -= 1

    async def make_marker(self, directory: Node) -> None:
        """Make an implicit directory a real one, so that it outlives its last entry."""
        if directory.parent is None or directory.info is not None or directory.is_detached:
            return
        if not directory.is_new:  # else it has one soon
            await self.write_marker(directory)

    async def _save_directory(self, directory: Node) -> None:
        """Write a directory's marker. One that waited for it may have been removed by others."""
        try:
            await self.write_marker(directory)
        except ObjectNotFound:
            if directory.record is None:
                raise
            log.info("others removed %r, whose attributes were to be saved", directory.name)
            directory.has_unsaved_attributes = False
            await self.kept.removed(directory)

    async def write_marker(self, directory: Node) -> None:
        """Write a directory's marker with its attributes as they are now; its place is held.

        What others do with the marker meanwhile does not matter: nobody keeps bytes there.
        """
        changes, key, known = directory.changes, key_of(directory), directory.info
        for attempt in range(_MARKER_ATTEMPTS):
            wanted, stored = self.stored_attributes(directory), directory.attributes
            try:
                if known is None:
                    directory.sent = (wanted,)
                    info = await self.store.write(key, BytesBody(b""), wanted, ABSENT)
                else:
                    info = await self._replace_attributes(replace(known, key=key), wanted)
                break
            except ObjectChanged:
                if attempt == _MARKER_ATTEMPTS - 1:
                    raise
                known = await self.store.stat(key)
        directory.is_new, directory.sent = False, ()
        if directory.changes == changes:
            directory.has_unsaved_attributes = False
        self.note_stored(directory, info, stored)
        if directory.record is not None:
            await self.kept.saved(directory)

    def touch_directory(self, directory: Node) -> None:
        """Note that the entries of a directory changed: mtime, ctime and the count of changes.

        The times reach its marker when that is written for another reason: a request for every
        entry made would double the cost of all small files.
        """
        now = self.now_ns()
        directory.attributes = replace(directory.attributes, mtime_ns=now, ctime_ns=now)
        directory.entry_changes += 1

    def note_stored(
        self, node: Node, info: ObjectInfo, stored: Attributes, *, is_new: bool = False
    ) -> None:
        """Note that a node's object is `info` now, with `stored` beside it.

        `is_new`: nothing was at its key before, so that a new directory is known to be empty.
        """
        # ATOMIC: node, finder and parent say the same
        parent = node.parent
        assert parent is not None
        node.info = info
        node.stored_times = times_of(stored)
        node.data = None if not _is_link(node) else node.data
        node.fresh_until_s = self.dentries.fresh_until()
        parent.entry_changes += 1
        finder, prefix = self.dentries.finder, prefix_of(parent)
        if node.is_directory:
            finder.made_directory(prefix, node.name, info, node.attributes, is_new=is_new)
        else:
            finder.stored(prefix, node.name, info, node.attributes)

    async def _save_bytes(self, node: Node) -> None:
        """Send the bytes, if nobody else has changed the object meanwhile."""
        precondition = Precondition(node.info.version) if node.info is not None else None
        if node.is_new:
            precondition = node.expected
        try:
            await self._send_bytes(node, precondition)
        except ObjectChanged as exc:
            own = await self.own.found(key_of(node), node.sent)
            if own is None and len(node.sent) > 1:  # else this save is the first, and was refused
                own = await self.own.grown(node)
            if own is None:
                await self._settle_conflict(node, exc)
                return
            # An earlier save of it has arrived, though nobody heard so: go on from there.
            if node.content is not None:
                node.content.rebased(own)
            await self._send_bytes(node, Precondition(own.version))

    async def _settle_conflict(self, node: Node, failure: ObjectChanged) -> None:
        """Do as the mount was told to do where others changed the object.

        Raises: ObjectChanged (refused, or stored beside it). Bytes that only the replaced version
        had are gone with it: then the save is refused whatever was told.
        """
        try:
            if self._conflict == OVERWRITE:
                await self._send_bytes(node, None)
                return
            if self._conflict != COPY or node.content is None:
                raise failure
            await node.content.fetch_all()
            await self._save_beside(node)
        except ObjectChanged:
            node.is_refused = True
            raise
        raise ObjectChanged(
            f"others changed the object meanwhile; what was written here is in {node.name!r}",
            key=failure.key,
            operation="save",
        ) from failure

    async def _save_beside(self, node: Node) -> None:
        """Save a file under a name of its own; the name that it had shows the object of others."""
        # ATOMIC: from here to the new name nobody else gives the node one
        parent, former = node.parent, node.name
        assert parent is not None
        self.dentries.inodes.move(node, parent, conflict_name(former, self._host, self.now_ns()))
        node.info, node.is_new, node.expected, node.sent = None, True, ABSENT, ()
        self.dentries.finder.doubt(prefix_of(parent), former)
        self.touch_directory(parent)
        await self.kept.moved([node])
        log.warning("others changed %r; what was written here goes to %r", former, node.name)
        await self._send_bytes(node, ABSENT)

    async def _send_bytes(self, node: Node, precondition: Precondition | None) -> None:
        changes, stored = node.changes, node.attributes
        wanted = self.stored_attributes(node)
        key = key_of(node)
        node.sent = (*node.sent[-_SENT_MOST + 1 :], wanted)
        await self.kept.sending(node)
        if node.attributes is not stored:
            changes = -1  # what was written meanwhile goes along, its times do not
        content = node.content
        try:
            if content is None:
                info = await self.store.write(key, BytesBody(b""), wanted, precondition)
                saved_attributes = wanted
            else:
                saved = await content.save(key, wanted, precondition, may_append=_may_grow(node))
                info, saved_attributes = saved.info, saved.attributes
                if saved.attributes != wanted or info.is_appendable:
                    stored = self._take_saved_times(node, saved)
        except ObjectNotFound as exc:
            # An upload in parts that the store does not know any more; the file itself is here.
            raise Transient(
                f"the upload is gone, and is begun anew: {exc}", key=key, operation="save"
            ) from exc
        except ObjectExists as exc:
            raise ObjectChanged(
                "others made an object of this name while the file was being written;"
                " its bytes are kept",
                key=key,
                operation="save",
            ) from exc
        node.is_new = node.is_refused = False
        node.sent = ()
        if (saved_attributes == wanted or info.is_appendable) and node.changes == changes:
            node.has_unsaved_attributes = False
            node.stored_changes = changes
        elif not _is_written(content):
            node.has_unsaved_attributes = self.stored_attributes(node) != saved_attributes
        self.note_stored(node, info, stored)

    def _take_saved_times(self, node: Node, saved: SavedBytes) -> Attributes:
        """Let times that writes have set become those of the saved object; return its own.

        Attributes of a streamed upload were sent when it began, and an object that grew has none of
        its own but its age. So a time that was seen after the close never moves, and no second
        request is needed; times that somebody set are not touched.
        """
        info = replace(saved.info, metadata=saved.attributes.metadata)
        stored = from_metadata(info, Defaults(0, 0), False)
        if not (node.has_explicit_times or _is_written(node.content)):
            node.attributes = replace(
                node.attributes,
                mtime_ns=stored.mtime_ns,
                ctime_ns=stored.ctime_ns,
                atime_ns=stored.atime_ns,
            )
        return stored

    async def _save_attributes(self, node: Node) -> None:
        """Send the attributes of an object whose bytes are in the bucket."""
        changes, info, stored = node.changes, node.info, node.attributes
        assert info is not None
        await self.kept.sending(node)
        info = await self._replace_attributes(info, self.stored_attributes(node))
        if node.content is not None:
            node.content.rebased(info)
        if node.changes == changes:
            node.has_unsaved_attributes = False
            node.stored_changes = changes
        self.note_stored(node, info, stored)

    async def write_empty(self, key: str, attributes: ObjectAttributes) -> ObjectInfo:
        """Write an object without bytes, whatever is at its key."""
        return await self.store.write(key, BytesBody(b""), attributes)

    async def _replace_attributes(self, info: ObjectInfo, wanted: ObjectAttributes) -> ObjectInfo:
        if info.size == 0:
            expected = Precondition(info.version)
            return await self.store.write(info.key, BytesBody(b""), wanted, expected)
        return await self.store.copy(
            info.key, info.key, attributes=wanted, source_version=info.version
        )


def _is_written(content: FileBytes | None) -> bool:
    return content is not None and content.is_dirty


def _may_grow(node: Node) -> bool:
    """Whether an append, which sends no attributes, leaves right ones beside the object."""
    return not node.has_explicit_times and (node.is_new or node.changes == node.stored_changes)


def _is_link(node: Node) -> bool:
    return not node.is_directory and node.kind == stat.S_IFLNK
