"""Keeping: unsaved files in the journal, and back from it at the next mount.

Here names and bytes meet once more: a record of the journal has both. What is kept survives the
process; who closed a file that could not be saved, or that is saved later, relies on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Sequence
from typing import Protocol, cast

import trio

from bucketfs.errors import BucketfsError, CacheDirectoryError, ObjectChanged
from bucketfs.fuse.durability import Keeping
from bucketfs.fuse.handles import NodeTarget
from bucketfs.namespace.nodes import Inode, Node, key_of
from bucketfs.namespace.parallel import for_each
from bucketfs.namespace.restoring import UnsavedFile
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.images import BASE, Image
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord
from bucketfs.storage.interface import ObjectAttributes

log = logging.getLogger(__name__)

_LOOKING_S = 10.0
_LOOKS_AT_ONCE = 16


class Restorable(Protocol):
    """Where restored contents come from; `pagecache.cache.PageCache` is one."""

    async def restore(self, image: Image, record: int | None = None) -> Content:
        """Return the content that an earlier mount left unsaved, as `record` in its journal."""


_State = tuple[int, int]
"""Changes of bytes and of attributes: what tells one state of a file from the next."""


class Keeper:
    """Writes the journal's records of files; a `KeptFiles` of the namespace.

    `tree` is set once it is built, since it is told of the keeper first.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: dict[int, _State] = {}
        self._known: dict[int, tuple[ObjectAttributes, ...]] = {}
        self._locks: dict[Inode, trio.Lock] = {}
        self._loose: set[str] = set()
        """Keys of saved files whose records may come back until the journal is durable. Before one
        of them is saved again, or loses its name, it is made so: an older state must not come back
        over what was acknowledged."""
        self.tree: Tree | None = None

    async def keep(self, node: Node) -> None:
        """Have everything of an unsaved file in the journal, durably.

        One that is there already as it is now costs nothing; one that is saved or removed meanwhile
        leaves nothing there. Raises: NoSpace, CacheDirectoryError (nothing can be promised).
        """
        await self._keep_once(node, None)

    async def _keep_once(self, node: Node, replaced: Node | None) -> None:
        """Keep a file; the record of the one that it has replaced goes in the same step."""
        if not _needs_record(node):
            return
        lock = self._locks.setdefault(node.inode, trio.Lock())
        try:
            async with lock:  # the later image is the later record
                if node.record is None or self._kept.get(node.record) != _state_of(node):
                    await self._keep(node, replaced)
        finally:
            if not lock.locked():
                self._locks.pop(node.inode, None)

    async def _keep(self, node: Node, replaced: Node | None) -> None:
        content = cast("Content | None", node.content)
        number = node.record or self._journal.new_number()
        if content is not None:
            content.record = number  # an upload under way is the next mount's to go on with
        state = _state_of(node)  # of before the image, which may lack what is written meanwhile
        image = await content.image() if content is not None else Image(0, (), None, b"", None)
        # ATOMIC: from the image to the record nothing is written, renamed or saved.
        if not _needs_record(node):
            return
        node.record = number
        record = self._record(node, number, image)
        gone = [] if replaced is None or replaced.record is None else [replaced.record]
        await self._durably(self._journal.put_file(record, gone))
        if replaced is not None:
            self._forget(replaced)
        self._kept[record.number] = state
        self._known[record.number] = (record.attributes, *record.sent)
        if not _needs_record(node):
            await self.removed(node)
        elif key_of(node) != record.key:
            await self.moved([node])

    def restored(self, node: Node) -> None:
        """Note that a node is as its record has it."""
        if node.record is not None:
            self._kept[node.record] = _state_of(node)

    async def failed(self, node: Node, failure: BucketfsError) -> None:
        """Keep a file whose save failed, and note why; a disk that refuses is logged only."""
        try:
            if not _needs_record(node):  # it was stored under another name
                await self.removed(node)
                return
            await self.keep(node)
            if node.record is not None:
                is_refused = isinstance(failure, ObjectChanged)
                self._journal.note_failure(node.record, str(failure), is_refused)
        except BucketfsError as exc:
            log.error("unsaved bytes of %r are in memory only: %s", node.name, exc)

    async def moved(self, nodes: Sequence[Node], replaced: Node | None = None) -> None:
        """Note new keys, what they expect there, and that what was at the new name is gone."""
        if self._loose:
            await self._durably(self._journal.make_durable())
        known = {node.record: node for node in nodes if node.record is not None}
        if not known:
            if replaced is not None:
                await self._replaced(nodes, replaced)
            return
        gone = replaced.record if replaced is not None else None
        await self._journal.rekey(
            {number: key_of(node) for number, node in known.items()},
            {number: node.expected for number, node in known.items() if node.is_new},
            [] if gone is None else [gone],
        )
        if replaced is not None:
            self._forget(replaced)

    async def _replaced(self, nodes: Sequence[Node], replaced: Node) -> None:
        """Forget a kept file that lost its name to one of `nodes`, none of which is kept.

        INVARIANT: a name that was there is there after a kill, with the old file or the new one.
        """
        for node in nodes if replaced.record is not None else ():
            await self._keep_once(node, replaced)
        await self.removed(replaced)

    async def changed(self, node: Node) -> None:
        """Note a kept file's new attributes."""
        if node.record is not None:
            number, wanted, sent, changes = node.record, self._wanted(node), node.sent, node.changes
            await self._journal.set_attributes(number, wanted, sent)
            if number in self._kept:
                self._kept[number] = (self._kept[number][0], changes)
            self._known[number] = (wanted, *sent)

    async def sending(self, node: Node) -> None:
        """Note under which attributes a kept file is sent: its next mount knows the object by them.

        Those that its record has cost nothing. Records of earlier states never come back from here.
        INVARIANT: no state is sent that is later than the record's. A file that rests on an object
        that an own save has replaced finds in it what it had unchanged of the one before.
        """
        await self._tighten(node)
        kept = self._kept.get(node.record or 0)
        if kept is not None and kept[0] != _state_of(node)[0]:
            await self.keep(node)
        number, sent = node.record, node.sent
        if number is None or not sent or sent[-1] in self._known.get(number, ()):
            return
        await self._journal.set_attributes(number, None, sent)
        self._known[number] = (*self._known.get(number, ()), *sent)

    async def saved(self, node: Node) -> None:
        """Drop the record of a file that is in the bucket now.

        One that was written and kept again meanwhile is kept anew, on the version that is there.
        """
        if node.is_dirty:
            await self.keep(node)
            return
        is_same = self._kept.get(node.record or 0) == _state_of(node)
        number = self._forget(node)
        if number is None:
            return
        # INVARIANT: an older state of a file never comes back over what a save was told of.
        if is_same:
            self._loose.add(key_of(node))
        await self._journal.drop_files([number], is_durable=not is_same, may_wait=is_same)

    async def removed(self, node: Node) -> None:
        """Drop the record of a file that nobody wants."""
        await self._tighten(node)
        number = self._forget(node)
        if number is not None:
            await self._journal.drop_files([number])

    async def _tighten(self, node: Node) -> None:
        """Make sure that no record of an earlier state of a file comes back."""
        if self._loose and key_of(node) in self._loose:
            await self._durably(self._journal.make_durable())

    async def _durably(self, change: Awaitable[None]) -> None:
        """Make a durable change of the journal: all that was asked for before is durable then."""
        loose, self._loose = self._loose, set()
        try:
            await change
        except BaseException:
            self._loose |= loose
            raise

    def _forget(self, node: Node) -> int | None:
        number, node.record = node.record, None
        if number is not None:
            self._kept.pop(number, None)
            self._known.pop(number, None)
        return number

    def _wanted(self, node: Node) -> ObjectAttributes:
        assert self.tree is not None, "the tree comes before the first file"
        return self.tree.stored_attributes(node)

    def _record(self, node: Node, number: int, image: Image) -> FileRecord:
        content = cast("Content | None", node.content)
        streamed = content.streamed_attributes if content is not None else None
        return FileRecord(
            number=number,
            key=key_of(node),
            size=image.size,
            ranges=image.ranges,
            spill=image.spill,
            data=image.data,
            base=image.base or node.info,
            expected=node.expected if node.is_new else None,
            attributes=self._wanted(node),
            sent=(*node.sent, streamed) if streamed is not None else node.sent,
            kept_ns=time.time_ns(),
            is_refused=node.is_refused,
        )


def _needs_record(node: Node) -> bool:
    return node.is_dirty and not node.is_removed


def _state_of(node: Node) -> _State:
    content = cast("Content | None", node.content)
    return (content.changes if content is not None else 0, node.changes)


async def restore(journal: Journal, tree: Tree, pages: Restorable, keeper: Keeping) -> list[Node]:
    """Put every file of the journal back into the tree; return their nodes, oldest first.

    What cannot be put back stays in the journal, with a WARNING.
    """
    nodes = []
    for record in sorted(journal.files, key=lambda record: record.kept_ns, reverse=True):
        try:
            nodes.append(await _restored(record, tree, pages))
            keeper.restored(nodes[-1])
        except CacheDirectoryError as exc:
            # The mount died between the end of a save and the end of its record, or bytes are lost.
            sent = (record.attributes, *record.sent)
            if await tree.own.was_saved(record.key, sent, record.size):
                await journal.drop_files([record.number])
            else:
                await _leave(journal, record, exc)
        except BucketfsError as exc:
            await _leave(journal, record, exc)
    nodes.reverse()
    has_base = {r.number for r in journal.files if any(where == BASE for *_, where in r.ranges)}
    asked = [node for node in nodes if node.record in has_base or tree.own.may_have_grown(node)]
    await _rest_on_own(tree, asked)
    done = [node for node in nodes if not node.is_dirty]
    await journal.drop_files([node.record for node in done if node.record is not None])
    for node in done:
        node.record = None
    left = [node for node in nodes if node.is_dirty]
    if left:
        log.warning("%d unsaved files of an earlier mount are being saved now", len(left))
    return left


async def _rest_on_own(tree: Tree, nodes: Sequence[Node]) -> None:
    """Have files rest on what earlier saves of them have left, so that they can be read at once.

    Where the bucket does not answer in time, the save finds that out.
    """

    async def rest(node: Node) -> None:
        try:
            await tree.own.rest(node)
        except BucketfsError as exc:
            log.info("what became of the last save of %r is not known yet: %s", node.name, exc)

    with trio.move_on_after(_LOOKING_S):
        await for_each(nodes, rest, limit=_LOOKS_AT_ONCE)


async def _leave(journal: Journal, record: FileRecord, failure: BucketfsError) -> None:
    log.warning("an unsaved file stays in the journal: %r: %s", record.key, failure)
    journal.note_failure(record.number, str(failure), is_refused=True)


async def _restored(record: FileRecord, tree: Tree, pages: Restorable) -> Node:
    if record.key.endswith("/"):
        return tree.restorer.restore_directory(_unsaved(record))
    image = Image(record.size, record.ranges, record.spill, record.data, record.base)
    content = await pages.restore(image, record.number)
    node = tree.restorer.restore(_unsaved(record), content)
    content.target = NodeTarget(tree, node)
    return node


def _unsaved(record: FileRecord) -> UnsavedFile:
    return UnsavedFile(
        record=record.number,
        key=record.key,
        base=record.base,
        expected=record.expected,
        attributes=record.attributes,
        sent=record.sent,
        is_refused=record.is_refused,
    )
