"""Jobs: work of several requests that must not stay half done when this process dies.

The namespace does not know the journal. It says here what it is about to do before it begins, and
that it is over; what was begun and never ended is replayed by the next mount (`replaying`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import trio

RENAME_FILE = "rename-file"
"""Details: `old`, `new` (keys), `version` and `modified_ns` (of the old object; 0: unknown),
`metadata` (the copy's, JSON)."""

RENAME_DIRECTORY = "rename-directory"
"""Details: `old`, `new` (prefixes), `phase`, `replaces` ("1": an empty directory had the name),
`newest_ns` (of the old objects that were copied; from phase "deleting" on)."""

DELETE = "delete"
"""Details: `key`, `version`, `modified_ns` of an object whose name is gone, but which is still
there: an open handle reads it, or its turn to be deleted did not come."""

COPYING = "copying"
"""Phase of a directory's rename: the old tree is whole; undone after a crash."""

MOVING = "moving"
"""The same where the store moves objects natively: each has one name; gone on with."""

DELETING = "deleting"
"""The new tree is whole; gone on with after a crash."""


class JobLog(Protocol):
    """Remembers jobs beyond the life of this process."""

    async def begin(self, kind: str, details: Mapping[str, str], *, is_durable: bool = True) -> int:
        """Remember a job before its first request; return its number.

        `is_durable`: it survives a power cut too, not only a kill. Where the disk refuses it, a
        WARNING says so and the work goes on without.
        """

    async def update(self, number: int, details: Mapping[str, str]) -> None:
        """Set how far a job is, durably. Raises: NoSpace, CacheDirectoryError."""

    async def end(self, *numbers: int) -> None:
        """Forget jobs: nothing of them is left to be done."""

    def leave(self, number: int) -> None:
        """Say that nobody works on a job any more though it is not done: it is to be replayed."""


class NothingLogged:
    """The `JobLog` of a tree without a journal."""

    async def begin(self, kind: str, details: Mapping[str, str], *, is_durable: bool = True) -> int:
        """Do nothing."""
        return 0

    async def update(self, number: int, details: Mapping[str, str]) -> None:
        """Do nothing."""

    async def end(self, *numbers: int) -> None:
        """Do nothing."""

    def leave(self, number: int) -> None:
        """Do nothing."""


class Job:
    """One job under way. `is_settled`: whatever happens now, there is nothing to replay."""

    def __init__(self, log: JobLog, number: int, details: Mapping[str, str]) -> None:
        self.is_settled = False
        self._log = log
        self._number = number
        self._details = dict(details)

    async def update(self, **details: str) -> None:
        """Set some of the details, durably. Raises: NoSpace, CacheDirectoryError."""
        self._details |= details
        await self._log.update(self._number, self._details)


@asynccontextmanager
async def journalled(
    log: JobLog, kind: str, details: Mapping[str, str], *, is_durable: bool = True
) -> AsyncIterator[Job]:
    """Have a job in the log around the work on it.

    It is ended where the block succeeds or says that all is settled, else left to be replayed.
    """
    number = await log.begin(kind, details, is_durable=is_durable)
    job = Job(log, number, details)
    try:
        yield job
        job.is_settled = True
    finally:
        if job.is_settled:
            with trio.CancelScope(shield=True):  # the local disk only
                await log.end(number)
        else:
            log.leave(number)
