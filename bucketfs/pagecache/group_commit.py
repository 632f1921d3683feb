"""Many small changes of one SQLite file, few transactions: those that wait share one fsync.

An fsync costs milliseconds, so that a thousand files closed one after the other would wait for
their sum. What arrives while a transaction is being written goes into the next one, together. What
nobody waits for goes with the next that somebody does, or a moment later.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import trio

from bucketfs.pagecache.journal_file import as_local_error, is_disk_trouble
from bucketfs.pagecache.records import Columns
from bucketfs.workers import Workers

log = logging.getLogger(__name__)

LATER_S = 0.05
"""How long a change that nobody waits for may wait for company."""

Statement = tuple[str, Columns]
"""SQL and its parameters."""


class _Change:
    """Statements of one caller, which waits until they are done or it is its turn to do them."""

    def __init__(
        self, statements: Sequence[Statement], *, is_durable: bool, is_awaited: bool = True
    ) -> None:
        self.statements = statements
        self.is_durable = is_durable
        self.is_awaited = is_awaited
        self.turn = trio.Event()
        self.is_done = False
        self.failure: Exception | None = None


class GroupCommit:
    """Writes changes in the order of their calls; every transaction is whole or not at all.

    One of the callers writes for all that wait, in a thread, and then hands over to one of those
    that came meanwhile: there is no task to start or to end, and a cancelled caller cannot stop
    what it does for others.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.transactions = 0
        """How many were committed."""
        self._connection = connection
        self._path = path
        self._workers = Workers(1, "journal")
        self._waiting: list[_Change] = []
        self._left: list[Statement] = []  # not durable ones that the disk refused
        self._is_busy = False
        self._has_later = trio.Event()

    def later(self, *statements: Statement) -> None:
        """Carry statements out soon, all or none, before everything that is asked for after them.

        Not durable, as with `commit`. `write_later_ones` has to run, or another change to follow.
        """
        self._waiting.append(_Change(statements, is_durable=False, is_awaited=False))
        self._has_later.set()

    async def write_later_ones(self) -> None:
        """Write what nobody waits for, `LATER_S` after it came, until cancelled."""
        while True:
            await self._has_later.wait()
            self._has_later = trio.Event()
            await trio.sleep(LATER_S)
            if self._waiting:
                await self.commit(is_durable=False)

    async def make_durable(self) -> None:
        """Have on disk all that was asked for so far. Raises: NoSpace, CacheDirectoryError."""
        await self.commit(is_durable=True)

    async def commit(self, *statements: Statement, is_durable: bool) -> None:
        """Carry statements out, all or none, and return when that is done.

        Durable ones are on disk then; they survive a power cut. Others survive the end of the
        process, and a power cut only once a durable one followed; where the disk refuses them, they
        are tried again with the next and nothing is raised. Cancelled: made or not, but whole.
        Raises: NoSpace, CacheDirectoryError (nothing was changed; a later call may succeed).
        """
        change = _Change(statements, is_durable=is_durable)
        self._waiting.append(change)
        if self._is_busy:
            try:
                await change.turn.wait()
            except trio.Cancelled:
                # ATOMIC: it was not its turn (a set event cannot be cancelled), so nobody waits
                # for it: it is under way, or it leaves the queue.
                if change in self._waiting:
                    self._waiting.remove(change)
                raise
        if not change.is_done:
            await self._write_for_all()
        failure = change.failure
        if isinstance(failure, sqlite3.Error):
            if is_disk_trouble(failure) and not is_durable:
                return
            raise as_local_error(failure, self._path) from failure
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Write what the disk refused before, and close the file; no other call may be under way.

        Raises: NoSpace, CacheDirectoryError.
        """
        with trio.CancelScope(shield=True):
            failure = await self._workers.run(self._close)
        self._workers.close()
        if failure is not None:
            raise as_local_error(failure, self._path) from failure

    async def _write_for_all(self) -> None:
        """Commit everything that waits, then let the next one do so."""
        # ATOMIC: up to the thread.
        self._is_busy = True
        batch, self._waiting = self._waiting, []
        failure: Exception | None = None
        try:
            with trio.CancelScope(shield=True):
                await self._workers.run(self._write, batch)
        except Exception as exc:
            failure = exc
        # ATOMIC: to the end.
        if failure is not None:
            self._refused(batch, failure)
        for change in batch:
            change.is_done = True
            change.failure = failure
            change.turn.set()
        following = next((change for change in self._waiting if change.is_awaited), None)
        if following is not None:
            following.turn.set()
        else:
            self._is_busy = False

    def _refused(self, batch: Sequence[_Change], failure: Exception) -> None:
        """Remember the statements that nobody will give again."""
        if not isinstance(failure, sqlite3.Error) or not is_disk_trouble(failure):
            return
        for change in batch:
            if not change.is_durable:
                self._left += change.statements
        if not any(change.is_durable for change in batch):
            log.warning(
                "the journal %s could not be written (tried again): %s", self._path, failure
            )

    def _write(self, batch: Sequence[_Change]) -> None:
        """Commit a batch; in a thread."""
        left = list(self._left)
        is_durable = any(change.is_durable for change in batch)
        # In WAL mode NORMAL syncs only before a checkpoint; the next FULL commit syncs all before.
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        self._transact([*left, *(item for change in batch for item in change.statements)])
        del self._left[: len(left)]
        self.transactions += 1

    def _transact(self, statements: Sequence[Statement]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, parameters in statements:
                self._connection.execute(sql, parameters)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _close(self) -> sqlite3.Error | None:
        """Write what is left, give free pages back, close; in a thread."""
        try:
            left = [*self._left, *(item for change in self._waiting for item in change.statements)]
            if left:
                self._transact(left)
            self._connection.execute("PRAGMA incremental_vacuum")
        except sqlite3.Error as exc:
            return exc
        finally:
            self._connection.close()
        return None
