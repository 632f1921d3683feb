"""Carry out a plan: one PUT, one append, or the parts of a multipart upload, some at a time.

What is sent is a frozen map of the file; bytes of the base that have to be sent anew are fetched
just before. Whoever calls holds the pages frozen until it returns.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import trio

from bucketfs.errors import (
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    Transient,
)
from bucketfs.pagecache.base_version import BaseVersion
from bucketfs.pagecache.bodies import Hole, Source, SourcesBody, Spilled
from bucketfs.pagecache.extents import Extents, Kind
from bucketfs.pagecache.planner import Grid, plan
from bucketfs.pagecache.plans import Append, CopyPart, Multipart, Put, UploadPart
from bucketfs.pagecache.records import UploadRecord
from bucketfs.pagecache.relief import Relief
from bucketfs.pagecache.room import Room
from bucketfs.pagecache.spill import SpillFile
from bucketfs.pagecache.unfinished import Ongoing, Unfinished
from bucketfs.pagecache.upload_log import UploadLog
from bucketfs.storage.interface import (
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Upload,
)

log = logging.getLogger(__name__)

ABORT_TIMEOUT_S = 20.0
"""An upload that cannot be aborted in this time is left to the bucket's lifecycle rules."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save left in the bucket: the object, and the attributes that it really has."""

    info: ObjectInfo
    attributes: ObjectAttributes


class Snapshot:
    """A frozen map of a file, where its bytes come from, and its number in the journal."""

    def __init__(
        self,
        extents: Extents,
        spill: SpillFile,
        base: BaseVersion | None,
        file_number: int | None = None,
    ) -> None:
        self.extents = extents
        self.base = base
        self.file_number = file_number
        self._spill = spill

    @property
    def size(self) -> int:
        """The file's size in bytes when it was frozen."""
        return self.extents.size

    def needs_fetching(self, start: int, stop: int) -> bool:
        """Tell whether bytes in that range have to come from the base."""
        return any(extent.kind is Kind.BASE for extent in self.extents.slices(start, stop))

    async def body(self, start: int, stop: int) -> SourcesBody:
        """Return the bytes from `start` to `stop`, those of the base fetched into memory.

        Raises: StorageError, ObjectChanged.
        """
        sources: list[Source] = []
        for extent in self.extents.slices(start, stop):
            if extent.kind is Kind.BASE:
                assert self.base is not None, "an extent of the base, but no base"
                sources.append(memoryview(await self.base.fetch(extent.start, extent.length)))
            elif extent.kind is Kind.ZERO:
                sources.append(Hole(extent.length))
            elif extent.kind is Kind.SPILLED:
                sources.append(Spilled(self._spill, extent.start, extent.length))
            else:
                sources.append(extent.view())
        return SourcesBody(sources)


class Sender:
    """Sends files of one mount to its store; `concurrency` parts at once over all files."""

    def __init__(
        self,
        store: ObjectStore,
        room: Room,
        nursery: trio.Nursery,
        *,
        grid: Grid,
        concurrency: int,
    ) -> None:
        self.store = store
        self.grid = grid
        self.room = room
        self.relief = Relief(room, nursery)
        self.uploads = UploadLog()
        self._nursery = nursery
        self._concurrency = concurrency
        self._parts = trio.CapacityLimiter(concurrency)
        # Fetched bytes are in no budget: two parts of them at a time is little enough.
        self._fetches = trio.CapacityLimiter(2)

    async def send(
        self,
        snapshot: Snapshot,
        key: str,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        append_at: int | None = None,
        unfinished: Unfinished | None = None,
    ) -> Saved:
        """Bring the file into the bucket; return what is there now.

        `append_at`: the object may grow by an append from there on. Failed or cancelled, nothing of
        it is visible. An upload begun for it is aborted, or, if the failure may pass, is kept in
        `unfinished` for the next call to go on with.
        Raises: StorageError, ObjectChanged, ObjectExists.
        """
        unfinished = unfinished or Unfinished()
        while True:
            capabilities = self.store.capabilities
            how = self.plan(snapshot, append_at)
            try:
                if isinstance(how, Append):
                    return await self._append(how, snapshot, key, attributes)
                if isinstance(how, Multipart):
                    way = MultipartSave(self, how, snapshot, unfinished)
                    return await way.save(key, attributes, precondition)
                info = await self._put(snapshot, key, attributes, precondition)
            except NotSupported as exc:
                # Some servers show only in an answer that they do not copy parts, or that an object
                # is none that grows: we know now, and the next plan is another.
                if self.store.capabilities == capabilities and not isinstance(how, Append):
                    raise
                log.info("saving %r in another way: %s", key, exc)
                append_at = None
            else:
                self.drop(unfinished)
                return Saved(info, attributes)

    def plan(self, snapshot: Snapshot, append_at: int | None = None) -> Put | Append | Multipart:
        """Return how the file would be sent now, and what that costs."""
        unchanged = [extent for extent in snapshot.extents if not extent.is_changed]
        remote = [extent for extent in unchanged if extent.kind is Kind.BASE]
        base = snapshot.base
        return plan(
            snapshot.size,
            [(extent.start, extent.stop) for extent in unchanged],
            self.store.capabilities,
            self.grid,
            remote=[(extent.start, extent.stop) for extent in remote],
            append_at=append_at,
            # The clouds refuse to copy what appends made, or we would have to fetch it for them.
            can_copy=base is not None and not base.info.is_appendable,
        )

    async def send_part(
        self, upload: Upload, part: UploadPart | CopyPart, snapshot: Snapshot
    ) -> Part:
        """Send or copy one part. Raises: StorageError, ObjectChanged."""
        if isinstance(part, CopyPart):
            return await self._copy_part(upload, part, snapshot)
        if snapshot.needs_fetching(part.start, part.stop):
            async with self._fetches:
                return await self._add_part(upload, part, snapshot)
        return await self._add_part(upload, part, snapshot)

    async def send_parts(
        self,
        upload: Upload,
        parts: Sequence[UploadPart | CopyPart],
        snapshot: Snapshot,
        note: Callable[[UploadPart | CopyPart, Part], None],
    ) -> None:
        """Send parts, several at a time, and `note` each that the store has.

        The first failure ends all of it. Raises: StorageError, ObjectChanged.
        """

        def job(part: UploadPart | CopyPart) -> Callable[[], Awaitable[None]]:
            async def send() -> None:
                note(part, await self.send_part(upload, part, snapshot))

            return send

        await run_all([job(part) for part in parts], self._concurrency)

    async def begin(
        self, key: str, attributes: ObjectAttributes, file_number: int | None
    ) -> Upload:
        """Begin an upload that the journal knows. Raises: StorageError."""
        with trio.CancelScope(shield=True):
            # Shielded: an upload that was begun without our knowing its id would stay forever.
            upload = await self.store.begin_upload(key, attributes)
            await self.uploads.begun(upload, key, attributes, file_number)
        return upload

    async def commit(
        self, upload: Upload, parts: Sequence[Part], precondition: Precondition | None
    ) -> ObjectInfo:
        """Make the object of `parts`. Raises: StorageError, ObjectChanged, ObjectExists."""
        info = await upload.commit(parts, precondition)
        await self.uploads.ended(upload)
        return info

    def drop(self, unfinished: Unfinished) -> None:
        """Abort what is unfinished, if anything, in the background."""
        known = unfinished.take()
        if isinstance(known, Ongoing):
            self._nursery.start_soon(self.abort, known.upload)
        elif known is not None:
            self._nursery.start_soon(self._abort_recorded, known)

    async def abort(self, upload: Upload) -> None:
        """Abort `upload`, also under cancellation; a failure is logged: nothing depends on it."""
        with trio.CancelScope(shield=True), trio.move_on_after(ABORT_TIMEOUT_S):
            try:
                await upload.abort()
                await self.uploads.ended(upload)
            except StorageError as exc:
                log.warning("cannot abort the upload %s: %s", upload.upload_id, exc)

    async def _abort_recorded(self, record: UploadRecord) -> None:
        try:
            upload = await self.store.resume_upload(record.key, record.upload_id, record.attributes)
        except NotSupported as exc:
            log.debug("an upload to %r ended with its process: %s", record.key, exc)
        else:
            await self.abort(upload)

    async def _append(
        self, how: Append, snapshot: Snapshot, key: str, attributes: ObjectAttributes
    ) -> Saved:
        """Let the object grow, or make it: the position says which it must be.

        On most stores an object that has grown keeps what stood beside it.
        """
        body = await snapshot.body(how.position, how.size)
        info = await self.store.append(key, how.position, body, attributes)
        if info.metadata is not None or snapshot.base is None:
            return Saved(info, ObjectAttributes(info.metadata or {}, info.content_type))
        old = snapshot.base.info
        known = ObjectAttributes(old.metadata or {}, old.content_type)
        info = replace(info, metadata=old.metadata, content_type=old.content_type)
        return Saved(replace(info, storage_class=old.storage_class), known)

    async def _put(
        self,
        snapshot: Snapshot,
        key: str,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        body = await snapshot.body(0, snapshot.size)
        return await self.store.write(key, body, attributes, precondition)

    async def _add_part(self, upload: Upload, part: UploadPart, snapshot: Snapshot) -> Part:
        async with self._parts:
            with self.room.uploading():
                body = await snapshot.body(part.start, part.stop)
                sent = await upload.add_part(part.number, body)
        self.room.sent_bytes += part.stop - part.start
        await self.uploads.sent(upload, part, sent, body)
        return sent

    async def _copy_part(self, upload: Upload, part: CopyPart, snapshot: Snapshot) -> Part:
        assert snapshot.base is not None, "a part of the base, but no base"
        info = snapshot.base.info
        try:
            async with self._parts:
                return await upload.copy_part(
                    part.number, info.key, part.start, part.stop - part.start, info.version
                )
        except ObjectNotFound as exc:
            raise ObjectChanged(
                "the object that the file rests on was deleted", key=info.key, operation="copy"
            ) from exc


class MultipartSave:
    """One save of a file by parts: with what is good of an unfinished upload, or by a new one."""

    def __init__(
        self, sender: Sender, how: Multipart, snapshot: Snapshot, unfinished: Unfinished
    ) -> None:
        self._sender = sender
        self._how = how
        self._snapshot = snapshot
        self._unfinished = unfinished

    async def save(
        self, key: str, attributes: ObjectAttributes, precondition: Precondition | None
    ) -> Saved:
        """Send what is missing, and commit. What goes on has the attributes of its beginning.

        Raises: StorageError, ObjectChanged, ObjectExists.
        """
        sender, unfinished = self._sender, self._unfinished
        ongoing = await unfinished.find(sender.store, key, self._how, self._snapshot)
        if ongoing is not None:
            try:
                return await self._finish(ongoing, precondition)
            except ObjectNotFound as exc:
                log.info("the upload to %r is gone; sending all again: %s", key, exc)
        sender.drop(unfinished)
        number = self._snapshot.file_number
        upload = await sender.begin(key, attributes, number)
        unfinished.ongoing = Ongoing(upload, key, attributes, number)
        return await self._finish(unfinished.ongoing, precondition)

    async def _finish(self, ongoing: Ongoing, precondition: Precondition | None) -> Saved:
        sender, upload, snapshot = self._sender, ongoing.upload, self._snapshot
        ongoing.was_checked = False  # whoever goes on after a failure has to ask
        try:
            await sender.uploads.owned(ongoing, snapshot.file_number)
            missing = [span for span in self._how.parts if ongoing.good(span) is None]
            await sender.send_parts(upload, missing, snapshot, ongoing.note)
            parts = [ongoing.parts[span.number][1] for span in self._how.parts]
            info = await sender.commit(upload, parts, precondition)
        except Transient:
            raise
        except BaseException as exc:
            is_known = ongoing.file_number is not None and sender.uploads.journal is not None
            if not (isinstance(exc, trio.Cancelled) and is_known):
                sender.drop(self._unfinished)
            raise
        self._unfinished.take()
        return Saved(info, ongoing.attributes)


async def run_all(jobs: Sequence[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Run `jobs`, at most `limit` at once.

    The first failure cancels the others and is raised as it is, not in a group.
    """
    failures: list[Exception] = []
    waiting = iter(jobs)

    async def work(scope: trio.CancelScope) -> None:
        for job in waiting:
            try:
                await job()
            except Exception as exc:
                failures.append(exc)
                scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(limit, len(jobs))):
            nursery.start_soon(work, nursery.cancel_scope)
    if failures:
        raise failures[0]
