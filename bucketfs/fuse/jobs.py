"""Jobs in the journal: what a mount began in the bucket and the next one must bring to an end.

Here the names' jobs and the bytes' journal meet, as files do in `keeping`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from itertools import groupby

import trio

from bucketfs.errors import CacheDirectoryError, NoSpace, StorageError
from bucketfs.namespace.jobs import DELETE
from bucketfs.namespace.parallel import for_each
from bucketfs.namespace.replaying import Outcome
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord, JobRecord
from bucketfs.storage.interface import Precondition, Version

log = logging.getLogger(__name__)

RETRY_INTERVAL_S = 30.0
DELETES_AT_ONCE = 16

Replay = Callable[[str, Mapping[str, str]], Awaitable[Outcome]]
"""Brings one job to an end; `namespace.replaying.Replayer.replay` is one."""


class JournalledJobs:
    """The `JobLog` of a mount, and the one that replays what is left of earlier ones."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._under_way: dict[int, JobRecord] = {}
        self._durable: set[int] = set()
        """Deletes that a power cut does not undo. Where ETags are of the bytes alone, one that came
        back would take a file that was made anew with the same bytes."""
        self._left = {record.number: record for record in journal.jobs}

    @property
    def left(self) -> tuple[JobRecord, ...]:
        """The jobs that nobody works on and that are not done, oldest first."""
        return tuple(record for _, record in sorted(self._left.items()))

    async def begin(self, kind: str, details: Mapping[str, str], *, is_durable: bool = True) -> int:
        """Remember a job. A journal that cannot be written is no reason not to begin."""
        try:
            number = await self._journal.put_job(kind, details, is_durable=is_durable)
        except (NoSpace, CacheDirectoryError) as exc:
            log.warning("a %s is not safe from a crash of this mount: %s", kind, exc)
            return self._journal.new_number()
        self._under_way[number] = JobRecord(number, kind, details)
        if is_durable and kind == DELETE:
            self._durable.add(number)
        return number

    async def update(self, number: int, details: Mapping[str, str]) -> None:
        """Set how far a job is. Raises: NoSpace, CacheDirectoryError."""
        record = self._under_way.get(number)
        if record is not None:
            await self._journal.update_job(number, details)
            self._under_way[number] = replace(record, details=dict(details))

    async def end(self, *numbers: int) -> None:
        """Forget jobs."""
        known = [number for number in numbers if self._under_way.pop(number, None) is not None]
        if known:
            is_durable = not self._durable.isdisjoint(known)
            self._durable.difference_update(known)
            await self._journal.drop_jobs(known, is_durable=is_durable)

    def leave(self, number: int) -> None:
        """Have a job replayed, soon or by the next mount."""
        record = self._under_way.pop(number, None)
        if record is not None:
            self._left[number] = record

    async def replay_left(self, replay: Replay, *, is_first: bool = False) -> None:
        """Bring every job that is left to an end; one that fails stays, with a WARNING.

        In the order in which they were begun, but deletes that follow one another side by side.
        `is_first`: nothing was restored from the journal yet, so that its files follow the renames.
        """

        async def replay_one(record: JobRecord) -> None:
            try:
                if not (is_first and self._is_moot(record)):
                    outcome = await replay(record.kind, record.details)
                    if is_first:
                        await self._carry_over(outcome)
                await self._journal.drop_jobs([record.number], is_durable=record.kind == DELETE)
            except (KeyError, ValueError) as exc:
                log.warning("a job stays in the journal, another version made it: %r", exc)
            except (StorageError, NoSpace, CacheDirectoryError) as exc:
                log.warning("a %s of an earlier mount is not done yet: %s", record.kind, exc)
            else:
                del self._left[record.number]

        for is_delete, records in groupby(self.left, lambda record: record.kind == DELETE):
            await for_each(records, replay_one, limit=DELETES_AT_ONCE if is_delete else 1)

    async def retry_for_ever(self, replay: Replay) -> None:
        """Replay now and then what is left, until cancelled."""
        while True:
            await trio.sleep(RETRY_INTERVAL_S)
            await self.replay_left(replay)

    def _is_moot(self, record: JobRecord) -> bool:
        """Whether an unsaved file still needs the name of an object that was to be deleted.

        It was to replace that object by a rename, or it rests on it and was being removed: its
        record would be gone, had the call come so far that the object may be.
        """
        if record.kind != DELETE:
            return False
        key, version = record.details["key"], Version(record.details["version"])
        replaced = Precondition(version)

        def needs(file: FileRecord) -> bool:
            base = file.base
            rests = base is not None and (base.key, base.version) == (key, version)
            return file.key == key and (rests or file.expected == replaced)

        return any(needs(file) for file in self._journal.files)

    async def _carry_over(self, outcome: Outcome) -> None:
        """Let the journal's unsaved files follow what became of their names."""
        files = self._journal.files
        if outcome.moved is not None:
            old, new = outcome.moved
            below = [record for record in files if record.key.startswith(old)]
            moved = {record.number: new + record.key[len(old) :] for record in below}
            if moved:
                await self._journal.rekey(moved)
        if outcome.replaced is not None:
            gone = [record.number for record in files if record.key == outcome.replaced]
            if gone:
                await self._journal.drop_files(gone)
