"""Orphans: multipart uploads that nobody will finish. They cost money, and no listing shows them.

Two kinds, with different rights. Those that our journal names and no file of it needs are ours, and
are aborted at once. Of all others nothing is known but their age: another mount, machine or program
may be busy with one. Only those below the mounted prefix that were begun long ago (the option
`abort_uploads_after`) are aborted. Nothing that anybody can read is lost by it: a program that was
still sending has to begin again, as a bucketfs mount does by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence

import trio

from bucketfs.errors import BucketfsError, NotSupported
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import UploadRecord
from bucketfs.storage.interface import ObjectAttributes, ObjectStore, PendingUpload, UploadLister

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""What is old already can wait until a mount that has just begun has done what it was asked."""


def needed_uploads(journal: Journal) -> Mapping[int, UploadRecord]:
    """Return the uploads that were in the journal and that its files go on with, by file."""
    files = {file.number for file in journal.files}
    return {
        upload.file_number: upload
        for upload in journal.uploads  # ascending by when they were begun: the last one counts
        if upload.file_number in files and upload.file_number is not None
    }


class Orphans:
    """What to abort, as the journal shows it when this is made: before any file of it is saved."""

    def __init__(self, store: ObjectStore, journal: Journal) -> None:
        needed = {upload.upload_id for upload in needed_uploads(journal).values()}
        self._store = store
        self._journal = journal
        self._own = [item for item in journal.uploads if item.upload_id not in needed]

    async def abort(self, after_s: float) -> None:
        """Abort our own orphans, and others that were begun `after_s` seconds ago (0: none).

        For the background: a failure is logged, and the next mount tries again.
        """
        await self._abort_own(self._own)
        if after_s > 0:
            before_ns = time.time_ns() - int(after_s * 1e9)
            await trio.sleep(PATIENCE_S)
            await self._abort_others(before_ns)

    async def _abort_own(self, uploads: Sequence[UploadRecord]) -> None:
        for record in uploads:
            try:
                await self._abort_one(record)
                self._journal.drop_upload(record.upload_id)
            except BucketfsError as exc:
                log.warning("an abandoned upload to %r stays: %s", record.key, exc)

    async def _abort_one(self, record: UploadRecord) -> None:
        try:
            upload = await self._store.resume_upload(
                record.key, record.upload_id, record.attributes
            )
        except NotSupported as exc:
            log.debug("an upload to %r ended with its process: %s", record.key, exc)
        else:
            await upload.abort()

    async def _abort_others(self, before_ns: int) -> None:
        known = {upload.upload_id for upload in self._journal.uploads}
        for pending in await self._listed():
            if pending.upload_id in known or not 0 < pending.begun_ns < before_ns:
                continue
            try:
                upload = await self._store.resume_upload(
                    pending.key, pending.upload_id, ObjectAttributes()
                )
                await upload.abort()
            except BucketfsError as exc:
                log.info("an old upload to %r stays: %s", pending.key, exc)
                continue
            begun = time.strftime("%Y-%m-%d", time.gmtime(pending.begun_ns / 1e9))
            log.info("aborted an upload to %r that was begun on %s", pending.key, begun)

    async def _listed(self) -> Collection[PendingUpload]:
        if not isinstance(self._store, UploadLister):
            return ()
        try:
            return await self._store.list_uploads("")
        except BucketfsError as exc:
            log.info("old uploads cannot be listed: %s", exc)
            return ()
