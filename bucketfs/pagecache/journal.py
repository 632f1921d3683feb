"""The journal: what this machine still owes the bucket, so that a crash loses nothing of it.

One SQLite file in the cache folder: files whose bytes are not in the bucket, multipart uploads that
were begun, and jobs on several objects. A row is written before what it promises is relied on and
dropped after it has happened: a row that comes back after a crash is harmless to do again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bucketfs.pagecache.group_commit import GroupCommit
from bucketfs.pagecache.journal_file import FILE_NAME, OpenFile, open_file, read_contents
from bucketfs.pagecache.records import (
    Contents,
    FileRecord,
    JobRecord,
    PartRecord,
    UploadRecord,
    encode_attributes,
    encode_details,
    encode_expected,
    encode_file,
    encode_key,
    encode_sent,
    encode_text,
)
from bucketfs.storage.interface import ObjectAttributes, Precondition

NUMBERS_PER_OPENING = 1 << 32
"""Each opening has numbers of its own, so that none has to be written down when it is given out."""

_PUT_FILE = f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * 14)})"
_PUT_PART = f"INSERT OR REPLACE INTO parts VALUES ({', '.join('?' * 7)})"
_SET_KEY = "UPDATE files SET key = ? WHERE number = ?"
_SET_EXPECTED = "UPDATE files SET expected = ? WHERE number = ?"
_DROP_FILE = "DELETE FROM files WHERE number = ?"
_NOTE_FAILURE = """UPDATE files SET attempts = attempts + 1, last_error = ?, is_refused = ?
    WHERE number = ?"""


class Journal:
    """The journal of one mount, whose cache folder it has locked.

    Its methods may run concurrently, in trio's thread; changes are made in the order of the calls.
    When `put_file`, `rekey`, `set_attributes`, `put_upload`, `put_job` and `update_job` return, the
    change is on disk. The others may be undone by a power cut, and those that wait for nothing also
    by a kill within `group_commit.LATER_S`. Cancelled, a change is made or not, but whole. All that
    are durable raise: NoSpace, CacheDirectoryError (nothing was changed; a later call may succeed).
    What a change names and is not there (any more) is no error.
    """

    def __init__(self, file: OpenFile, path: Path) -> None:
        self._commits = GroupCommit(file.connection, path)
        self.write_later_ones = self._commits.write_later_ones
        self.make_durable = self._commits.make_durable
        self._numbers = itertools.count(file.opened_times * NUMBERS_PER_OPENING)
        self._files = {record.number: record for record in file.contents.files}
        self._uploads = file.contents.uploads
        self._jobs = file.contents.jobs

    @classmethod
    def open(cls, folder: Path, store_url: str) -> Journal:
        """Open the journal of a cache folder, or make one, for the bucket `store_url`.

        The caller holds the folder's lock, and has no spill file open yet. A file that is damaged,
        of another format or of another bucket is moved to `lost+found` with its spill files, and a
        WARNING says so. Blocks (an fsync; reads all rows).
        Raises: CacheDirectoryError, NoSpace.
        """
        return cls(open_file(folder, store_url), folder / FILE_NAME)

    @staticmethod
    def read(folder: Path) -> Contents:
        """Return what the journal of a folder holds, of a dead mount or a living one.

        Nothing is created or changed there. Blocks.
        Raises: CacheDirectoryError (no journal, damaged, unreadable).
        """
        return read_contents(folder)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The files that were in it when it was opened, but for those put anew or dropped since."""
        return tuple(self._files.values())

    @property
    def uploads(self) -> tuple[UploadRecord, ...]:
        """The uploads that were in it when it was opened."""
        return self._uploads

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """The jobs that were in it when it was opened."""
        return self._jobs

    @property
    def transactions(self) -> int:
        """How many transactions were committed since it was opened."""
        return self._commits.transactions

    def new_number(self) -> int:
        """Return a number (of a file, of its spill file) that this journal never gave before."""
        return next(self._numbers)

    async def put_file(self, record: FileRecord, gone: Iterable[int] = ()) -> None:
        """Remember a file, in place of what was known under its number.

        In the same step `gone`, files that lost their names to it, are forgotten.
        """
        lost = list(gone)
        drops = ((_DROP_FILE, (number,)) for number in lost)
        await self._commits.commit((_PUT_FILE, encode_file(record)), *drops, is_durable=True)
        for number in (record.number, *lost):
            self._files.pop(number, None)

    async def rekey(
        self,
        keys: Mapping[int, str],
        expected: Mapping[int, Precondition | None] | None = None,
        gone: Iterable[int] = (),
    ) -> None:
        """Set the keys under which files (by number) are to be saved, all at once.

        In the same step: `expected`, what must hold there for some of them; `gone`, files that lost
        their names to them and are forgotten.
        """
        expectations, lost = expected or {}, list(gone)
        await self._commits.commit(
            *((_SET_KEY, (encode_key(key), number)) for number, key in keys.items()),
            *((_SET_EXPECTED, (encode_expected(e), n)) for n, e in expectations.items()),
            *((_DROP_FILE, (number,)) for number in lost),
            is_durable=True,
        )
        for number in lost:
            self._files.pop(number, None)
        for number, key in keys.items():
            if number in self._files:
                self._files[number] = replace(self._files[number], key=key)
        for number, expectation in expectations.items():
            if number in self._files:
                self._files[number] = replace(self._files[number], expected=expectation)

    async def set_attributes(
        self,
        number: int,
        attributes: ObjectAttributes | None,
        sent: Sequence[ObjectAttributes] = (),
    ) -> None:
        """Set what is to stand beside a file's bytes (None: as it was), and what may do so already.

        `sent`: the attributes under which saves of it may have reached the bucket.
        """
        sql = "UPDATE files SET attributes = coalesce(?, attributes), sent = ? WHERE number = ?"
        beside = None if attributes is None else encode_attributes(attributes)
        await self._commits.commit((sql, (beside, encode_sent(sent), number)), is_durable=True)

    def note_failure(self, number: int, text: str, is_refused: bool = False) -> None:
        """Count an attempt to save a file that failed, and say why."""
        change = (_NOTE_FAILURE, (encode_text(text), int(is_refused), number))
        self._commits.later(change)

    async def drop_files(
        self, numbers: Iterable[int], *, is_durable: bool = False, may_wait: bool = False
    ) -> None:
        """Forget files. `is_durable`: they must not come back after a power cut.

        `may_wait`: until `make_durable` or another change they may come back after a kill, too.
        """
        gone = list(numbers)
        drops = [(_DROP_FILE, (number,)) for number in gone]
        if may_wait:
            self._commits.later(*drops)
        else:
            await self._commits.commit(*drops, is_durable=is_durable)
        for number in gone:
            self._files.pop(number, None)

    async def put_upload(
        self, upload_id: str, key: str, attributes: ObjectAttributes, file_number: int | None
    ) -> None:
        """Remember an upload that was begun at `key`, before its first part is sent."""
        beside = encode_attributes(attributes)
        row = (upload_id, encode_key(key), file_number, time.time_ns(), beside)
        change = ("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)", row)
        await self._commits.commit(change, is_durable=True)

    async def put_part(self, upload_id: str, part: PartRecord) -> None:
        """Remember a part that the store has."""
        row = (upload_id, part.number, part.start, part.stop, part.tag, part.size, part.md5)
        await self._commits.commit((_PUT_PART, row), is_durable=False)

    def drop_upload(self, upload_id: str) -> None:
        """Forget an upload (committed or aborted) and its parts."""
        self._commits.later(
            ("DELETE FROM parts WHERE upload_id = ?", (upload_id,)),
            ("DELETE FROM uploads WHERE upload_id = ?", (upload_id,)),
        )

    async def put_job(
        self, kind: str, details: Mapping[str, str], *, is_durable: bool = True
    ) -> int:
        """Remember a job; return its number. `is_durable`: it survives a power cut too."""
        number = self.new_number()
        change = ("INSERT INTO jobs VALUES (?, ?, ?)", (number, kind, encode_details(details)))
        await self._commits.commit(change, is_durable=is_durable)
        return number

    async def update_job(self, number: int, details: Mapping[str, str]) -> None:
        """Set how far a job is."""
        change = ("UPDATE jobs SET details = ? WHERE number = ?", (encode_details(details), number))
        await self._commits.commit(change, is_durable=True)

    async def drop_jobs(self, numbers: Iterable[int], *, is_durable: bool = False) -> None:
        """Forget jobs that are done. `is_durable`: they must not come back after a power cut."""
        drops = (("DELETE FROM jobs WHERE number = ?", (number,)) for number in numbers)
        await self._commits.commit(*drops, is_durable=is_durable)

    async def aclose(self) -> None:
        """Close the file; no other method may be under way or follow.

        Raises: NoSpace, CacheDirectoryError.
        """
        await self._commits.aclose()
