"""UploadLog: multipart uploads as the journal knows them, so that the next mount can go on.

An upload is written down before its first part is sent: else a crash would leave parts that nobody
knows of, and that cost money for as long as the bucket exists. A disk that refuses stops no upload,
since uploads are what makes room on it.
"""

from __future__ import annotations

import logging
import re

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.bodies import SourcesBody, md5_of
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.plans import UploadPart
from bucketfs.pagecache.records import PartRecord
from bucketfs.pagecache.unfinished import Ongoing
from bucketfs.storage.interface import ObjectAttributes, Part, Upload

log = logging.getLogger(__name__)

_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


class UploadLog:
    """Tells the journal, where there is one, what became of each upload."""

    def __init__(self) -> None:
        self.journal: Journal | None = None

    async def begun(
        self, upload: Upload, key: str, attributes: ObjectAttributes, number: int | None
    ) -> None:
        """Note an upload, and the number of the file that it is of (None: it has none yet)."""
        if self.journal is not None:
            try:
                await self.journal.put_upload(upload.upload_id, key, attributes, number)
            except (NoSpace, CacheDirectoryError) as exc:
                log.warning("a crash would leave parts of %r in the bucket: %s", key, exc)

    async def owned(self, ongoing: Ongoing | None, number: int | None) -> None:
        """Note of which file an upload is, if that is not noted already."""
        if ongoing is not None and number is not None and ongoing.file_number != number:
            ongoing.file_number = number
            await self.begun(ongoing.upload, ongoing.key, ongoing.attributes, number)

    async def sent(self, upload: Upload, span: UploadPart, part: Part, body: SourcesBody) -> None:
        """Note a part and the MD5 of its bytes: its tag, where that is one, else it is made here.

        A tag that only looks like an MD5 makes the part be sent again after a crash, nothing worse.
        """
        if self.journal is None:
            return
        md5 = bytes.fromhex(part.tag) if _MD5.fullmatch(part.tag) else await md5_of(body)
        record = PartRecord(part.number, span.start, span.stop, part.tag, part.size, md5)
        try:
            await self.journal.put_part(upload.upload_id, record)
        except CacheDirectoryError as exc:
            log.info("after a crash part %d would be sent again: %s", part.number, exc)

    async def ended(self, upload: Upload) -> None:
        """Note that an upload was committed or aborted."""
        if self.journal is not None:
            try:
                self.journal.drop_upload(upload.upload_id)
            except CacheDirectoryError as exc:
                log.info("the next mount will look for an upload that is over: %s", exc)
