"""What is remembered of objects from one mount to the next, so that a listing says it all.

Asked for by pages of listings, in a thread; written a few seconds late, in another. A failure of
the file costs requests, never an answer: it is not used any more then, and the log says so once.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from bucketfs.namespace.attributes_file import MAX_BYTES, AttributesFile, Told, is_spoilt, remove
from bucketfs.storage.interface import Capabilities
from bucketfs.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")

SETTLED_AFTER_S = 3
"""Last-Modified has seconds, and may be rounded: what was changed less than this ago may change
again within the same second, and only look the same. Nothing is written before that has passed by
the wall clock, which the server's is compared with, and since it was noted: so what this mount
itself does meanwhile to an object replaces the note."""

WRITE_EVERY_S = 1.0

DISK_SHARE = 16
"""One part of so many of the disk space that a mount may use is for attributes, up to `MAX_BYTES`.
"""

MIN_BYTES = 1 << 20
"""Less is not worth a file."""

MAX_PENDING = 50_000
"""Notes that wait to be written. More than the requests of a few seconds bring; what comes beyond
is not remembered."""


class Remembered:
    """The attributes that are remembered on disk; used in one trio thread.

    `file` None: nothing is remembered.
    """

    def __init__(
        self,
        file: AttributesFile | None,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._file = self._opened = file
        self._wall_clock_ns = wall_clock_ns
        self._pending: dict[str, tuple[Told, float]] = {}
        self._has_any = file is not None and not file.is_empty
        self._reader = Workers(1, "remembering")
        self._writer = Workers(1, "noting")

    @classmethod
    def open(
        cls, folder: Path, store: str, capabilities: Capabilities, disk_bytes: int
    ) -> Remembered:
        """Open what is remembered of `store` in a cache folder that is locked. Blocks.

        It takes a small part of `disk_bytes`, beside what else they are for.

        Of a store on this machine nothing is, since asking costs no more; nor of one whose listings
        do not tell that metadata were changed.
        """
        max_bytes = min(MAX_BYTES, disk_bytes // DISK_SHARE)
        is_true = capabilities.is_remote and capabilities.dates_metadata
        if not is_true or max_bytes < MIN_BYTES:
            return cls(None)
        try:
            return cls(AttributesFile.open(folder, store, max_bytes))
        except (sqlite3.Error, OSError) as exc:
            log.warning("attributes are not remembered for the next mount: %s", exc)
            return cls(None)

    @property
    def is_on(self) -> bool:
        """Whether anything is remembered at all."""
        return self._file is not None

    @property
    def has_any(self) -> bool:
        """Whether there may be anything to `load`."""
        return self._has_any and self._file is not None

    async def load(self, keys: Sequence[str], make: Callable[[Told], T]) -> Sequence[T]:
        """Return what is remembered of `keys`, in any order, as `make` has it (in a thread)."""
        file = self._file
        if file is None:
            return ()
        try:
            return await self._reader.run(file.read, keys, make)
        except Exception as exc:
            # Whatever it is: a cache is no reason to end a mount.
            self._fail(file, exc)
            return ()

    def note(self, told: Told) -> None:
        """Remember an object as the server told it, once settled."""
        if self._file is None:
            return
        self._pending.pop(told.key, None)
        if told.info is not None and not (told.info.version and told.info.modified_ns > 0):
            return  # a listing could not tell whether it is the same
        if len(self._pending) < MAX_PENDING:
            self._pending[told.key] = (told, trio.current_time())

    def drop(self, key: str) -> None:
        """Do not write what was noted of a key: it is not known any more."""
        self._pending.pop(key, None)

    async def write_for_ever(self) -> None:
        """Write what is settled, every now and then."""
        while self._file is not None:
            await trio.sleep(WRITE_EVERY_S)
            await self._write(trio.current_time() - SETTLED_AFTER_S)

    async def aclose(self) -> None:
        """Write what is settled by the wall clock, and close the file.

        What this mount noted a moment ago is written too: it does nothing any more.
        """
        await self._write(float("inf"))
        self._file = None
        if self._opened is not None:
            # What is being read is read to its end first.
            await self._reader.run(self._opened.close_reading)
            await self._writer.run(_close, self._opened)
        self._reader.close()
        self._writer.close()

    async def _write(self, noted_until_s: float) -> None:
        """Write what was noted until then and is settled."""
        file, settled = self._file, self._take_settled(noted_until_s)
        if file is None or not settled:
            return
        try:
            await self._writer.run(file.write, settled)
        except Exception as exc:
            # Whatever it is: a cache is no reason to end a mount.
            self._fail(file, exc)
        else:
            self._has_any = True

    def _take_settled(self, noted_until_s: float) -> list[Told]:
        latest_ns = self._wall_clock_ns() - SETTLED_AFTER_S * 10**9
        settled = []
        for told, noted_s in self._pending.values():
            if noted_s > noted_until_s:
                break  # in the order of time
            if told.info is None or told.info.modified_ns // 10**9 * 10**9 <= latest_ns:
                settled.append(told)
        for told in settled:
            del self._pending[told.key]
        return settled

    def _fail(self, file: AttributesFile, error: Exception) -> None:
        """Use the file no more; one that is spoilt is removed, for the next mount."""
        if self._file is not file:
            return
        self._file = None
        self._pending.clear()
        log.warning("attributes are not remembered any more, in %s: %s", file.path, error)
        if is_spoilt(error):
            with suppress(OSError):
                remove(file.path)


def _close(file: AttributesFile) -> None:
    with suppress(sqlite3.Error):
        file.close()
