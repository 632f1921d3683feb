"""Unfinished: a file's multipart upload that failed for the moment, and goes on with the next save.

What was sent once is not sent again, unless it was written over since: after a failure that may
pass, and, with the journal, after the end of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from bucketfs.errors import NotSupported, ObjectNotFound
from bucketfs.pagecache.bodies import SourcesBody, md5_of
from bucketfs.pagecache.extents import END, Ranges
from bucketfs.pagecache.plans import CopyPart, Multipart, UploadPart
from bucketfs.pagecache.records import PartRecord, UploadRecord
from bucketfs.storage.interface import ObjectAttributes, ObjectStore, Part, Upload

log = logging.getLogger(__name__)

MOST_TOUCHES = 512
"""After so many writes between two saves nothing of an upload is held for good: keeping account of
more would cost more time than it is worth."""


class Readable(Protocol):
    """A frozen file; `sending.Snapshot` is one."""

    def needs_fetching(self, start: int, stop: int) -> bool:
        """Tell whether bytes in that range have to come from the bucket."""

    async def body(self, start: int, stop: int) -> SourcesBody:
        """Return the bytes from `start` to `stop`."""


@dataclass(slots=True)
class Ongoing:
    """An upload under way: what it is of, and its parts that are good, with where each begins.

    `attributes` are those it was begun with; `file_number` is the one that the journal knows.
    `was_checked`: the store was asked for its parts, or they were sent just now.
    """

    upload: Upload
    key: str
    attributes: ObjectAttributes
    file_number: int | None = None
    parts: dict[int, tuple[int, Part]] = field(default_factory=dict)
    was_checked: bool = True

    def good(self, span: UploadPart | CopyPart) -> Part | None:
        """Return the part that has these bytes already."""
        start, part = self.parts.get(span.number, (-1, None))
        is_same = part is not None and (start, start + part.size) == (span.start, span.stop)
        return part if is_same else None

    def keep_only(self, there: Collection[Part]) -> None:
        """Forget the parts that are not `there`."""
        self.parts = {
            number: (start, part) for number, (start, part) in self.parts.items() if part in there
        }

    def note(self, span: UploadPart | CopyPart, part: Part) -> None:
        """Note a part that the store has now."""
        self.parts[span.number] = (span.start, part)


class Unfinished:
    """What a content knows of such an upload. `touch` and `freeze` keep it true to later writes."""

    def __init__(self) -> None:
        self.ongoing: Ongoing | None = None
        self._record: UploadRecord | None = None
        self._touched: Ranges | None = None
        self._touches = 0

    @property
    def attributes(self) -> ObjectAttributes | None:
        """What would stand beside the object if the upload goes on; None: there is none."""
        known = self.ongoing or self._record
        return None if known is None else known.attributes

    @property
    def sent_bytes(self) -> int:
        """How many bytes the store has of it, in parts that are good."""
        parts = self.ongoing.parts if self.ongoing is not None else {}
        return sum(part.size for _, part in parts.values())

    def restore(self, record: UploadRecord) -> None:
        """Note the upload that an earlier mount had begun for this file."""
        self._record = record

    def touch(self, start: int, stop: int) -> None:
        """Note that bytes were written."""
        if self._touched is not None and self._touches <= MOST_TOUCHES:
            self._touches += 1
            is_last = self._touches > MOST_TOUCHES
            self._touched.add(*((0, END) if is_last else (start, stop)))

    def freeze(self) -> None:
        """Forget the parts that were written over; call it when the file is frozen for a save."""
        if self.ongoing is not None and self._touched:
            for number, (start, part) in list(self.ongoing.parts.items()):
                if self._touched.overlaps(start, start + part.size):
                    del self.ongoing.parts[number]
        self._touched, self._touches = Ranges(), 0

    def take(self) -> Ongoing | UploadRecord | None:
        """Return the upload (an earlier mount's as its record), and know of none any more."""
        known = self.ongoing or self._record
        self.ongoing = self._record = None
        return known

    async def find(
        self, store: ObjectStore, key: str, how: Multipart, file: Readable
    ) -> Ongoing | None:
        """Return the upload that may go on, with the parts that the store really has of it.

        None: there is none to `key` that the store knows. What is in `ongoing` then is of no use,
        and to be aborted. Raises: StorageError.
        """
        record, self._record = self._record, None
        if self.ongoing is None and record is not None:
            self.ongoing = await _resumed(store, record)
        ongoing = self.ongoing
        if ongoing is None or ongoing.key != key:
            return None
        if ongoing.was_checked or all(ongoing.good(span) for span in how.parts):
            return ongoing
        try:
            there = set(await ongoing.upload.list_parts())
        except ObjectNotFound:
            return None
        ongoing.keep_only(there)
        if record is not None:
            for known in [known for known in record.parts if known.as_part() in there]:
                if await _is_same(known, how, file):
                    ongoing.parts[known.number] = (known.start, known.as_part())
            log.info("%d parts of %r are in the bucket already", len(ongoing.parts), key)
        ongoing.was_checked = True
        return ongoing


async def _resumed(store: ObjectStore, record: UploadRecord) -> Ongoing | None:
    """Return the upload of an earlier mount, without any part yet."""
    try:
        upload = await store.resume_upload(record.key, record.upload_id, record.attributes)
    except NotSupported:
        return None
    number = record.file_number
    return Ongoing(upload, record.key, record.attributes, number, was_checked=False)


async def _is_same(known: PartRecord, how: Multipart, file: Readable) -> bool:
    """Tell whether a part has the bytes that it is to have now; fetched ones are fetched anew."""
    if UploadPart(known.number, known.start, known.stop) not in how.parts:
        return False
    if not known.md5 or file.needs_fetching(known.start, known.stop):
        return False
    return await md5_of(await file.body(known.start, known.stop)) == known.md5
