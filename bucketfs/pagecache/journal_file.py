"""The journal's file: its tables, how it is read without a trace, and when it is moved aside.

Whatever is wrong with a file that is found, nobody deletes it: it may hold the only copy of what
somebody wrote.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucketfs.errors import BucketfsError, CacheDirectoryError, NoSpace
from bucketfs.pagecache.folder import is_taken, new_lost_folder
from bucketfs.pagecache.records import (
    Contents,
    JobRecord,
    PartRecord,
    UploadRecord,
    decode_attributes,
    decode_details,
    decode_file,
    decode_key,
)

log = logging.getLogger(__name__)

FILE_NAME = "journal.db"
APPLICATION_ID = 0x6266736A
"""`bfsj`: what file(1) and we know the file by."""
FORMAT_VERSION = 1

LOG_BYTES = 8 << 20
"""The write-ahead log has this size from the beginning and is copied into the file when it is full:
a row of 4 KiB is durable after 0.5 ms where it is written over in place, 3.5 ms while it grows."""

BUSY_TIMEOUT_S = 10.0

_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE files (
        number INTEGER PRIMARY KEY, key BLOB NOT NULL, size INTEGER NOT NULL, ranges TEXT NOT NULL,
        spill TEXT, data BLOB, base TEXT, expected TEXT, attributes TEXT NOT NULL,
        kept_ns INTEGER NOT NULL, attempts INTEGER NOT NULL, last_error TEXT,
        is_refused INTEGER NOT NULL, sent TEXT NOT NULL)""",
    """CREATE TABLE uploads (
        upload_id TEXT PRIMARY KEY, key BLOB NOT NULL, file_number INTEGER,
        begun_ns INTEGER NOT NULL, attributes TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE parts (
        upload_id TEXT NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL,
        stop INTEGER NOT NULL, tag TEXT NOT NULL, size INTEGER NOT NULL, md5 BLOB NOT NULL,
        PRIMARY KEY (upload_id, number)) WITHOUT ROWID""",
    "CREATE TABLE jobs (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, details TEXT NOT NULL)",
)

_DISK_TROUBLES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PROTOCOL,
}
"""Failures of the machine; all others say that the file is not what it should be."""


class UnusableJournal(BucketfsError):
    """A journal's file that is damaged, of another format or of another bucket."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A journal's file, open for writing by any thread, one at a time.

    `opened_times` counts this opening too. `contents` is what was in it.
    """

    connection: sqlite3.Connection
    opened_times: int
    contents: Contents


def open_file(folder: Path, store_url: str) -> OpenFile:
    """Open the journal of a folder that the caller has locked, or make one.

    What cannot be used is moved aside, with a WARNING. Blocks.
    Raises: CacheDirectoryError, NoSpace.
    """
    path = folder / FILE_NAME
    try:
        contents = _found(folder, store_url)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path)
            if contents is None:
                _create(connection, store_url)
            opened_times = _count_opening(connection)
            _lay_out_log(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as exc:
        raise as_local_error(exc, path) from exc
    except OSError as exc:
        raise CacheDirectoryError(
            f"the journal {path} cannot be used: {exc.strerror}; "
            "make the cache folder writable or name another cache_dir"
        ) from exc
    return OpenFile(connection, opened_times, contents or Contents(store_url))


def read_contents(folder: Path) -> Contents:
    """Return what the journal of a folder holds, whether a mount uses it or not; change nothing.

    Blocks. Raises: CacheDirectoryError (no journal there, unreadable, damaged).
    """
    path = folder / FILE_NAME
    try:
        if is_taken(folder):
            with closing(_connected(path, "mode=ro")) as connection:
                contents = _contents(connection)
        else:
            contents = _read_unused(folder)
    except FileNotFoundError as exc:
        raise CacheDirectoryError(f"there is no journal in {folder}") from exc
    except OSError as exc:
        raise CacheDirectoryError(f"{path} cannot be read: {exc.strerror}") from exc
    except sqlite3.Error as exc:
        raise as_local_error(exc, path) from exc
    except UnusableJournal as exc:
        raise CacheDirectoryError(f"{path} cannot be read: {exc}") from exc
    return contents or Contents("")


def as_local_error(error: sqlite3.Error, path: Path | str) -> CacheDirectoryError | NoSpace:
    """Return what a failure of SQLite means here: a full disk, or a folder that cannot be used."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return NoSpace(f"the disk of the cache folder is full: {path}")
    return CacheDirectoryError(f"the journal {path} cannot be used: {error}")


def is_disk_trouble(error: sqlite3.Error) -> bool:
    """Tell whether the machine failed, and neither the file's contents nor the statement."""
    return _code(error) in _DISK_TROUBLES


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code (0: an error of the Python module itself)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _found(folder: Path, store_url: str) -> Contents | None:
    """Return what the folder's journal holds; None where there is none (any more)."""
    path = folder / FILE_NAME
    contents = None
    try:
        if path.exists():
            contents = _read_unused(folder)
        elif _side_file(path, "-wal").exists():
            raise UnusableJournal("its main file is missing")
    except UnusableJournal as exc:
        _move_aside(folder, str(exc), None)
        return None
    if contents is not None and contents.store_url != store_url:
        reason = f"it belongs to {contents.store_url}, and this mount is of {store_url}"
        _move_aside(folder, reason, [file.spill for file in contents.files if file.spill])
        return None
    return contents


def _read_unused(folder: Path) -> Contents | None:
    """Read a journal that nobody has open, without a trace; None: it is empty, not yet made.

    With a write-ahead log beside it a copy is read, because SQLite would write to the folder.
    Raises: UnusableJournal, sqlite3.Error (trouble of the disk), OSError.
    """
    path = folder / FILE_NAME
    log_file = _side_file(path, "-wal")
    if not log_file.exists():
        with closing(_connected(path, "mode=ro&immutable=1")) as connection:
            return _contents(connection)
    with tempfile.TemporaryDirectory(prefix="bucketfs-journal-") as copies:
        copy = Path(copies) / FILE_NAME
        shutil.copyfile(path, copy)
        shutil.copyfile(log_file, _side_file(copy, "-wal"))
        with closing(_connected(copy, "mode=rw")) as connection:
            return _contents(connection)


def _connected(path: Path, how: str) -> sqlite3.Connection:
    """Open an existing file. Raises: FileNotFoundError, sqlite3.Error."""
    os.stat(path)
    location = f"{path.absolute().as_uri()}?{how}"
    return sqlite3.connect(location, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _contents(connection: sqlite3.Connection) -> Contents | None:
    """Read all of a journal as of one moment; None: it has no tables yet.

    Raises: UnusableJournal, sqlite3.Error (trouble of the disk).
    """
    try:
        connection.execute("BEGIN")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return None
        _check_format(connection)
        return Contents(
            store_url=dict(_rows(connection, "meta", "name"))["store_url"],
            files=tuple(decode_file(row) for row in _rows(connection, "files", "number")),
            uploads=tuple(_uploads(connection)),
            jobs=tuple(
                JobRecord(number, kind, decode_details(details))
                for number, kind, details in _rows(connection, "jobs", "number")
            ),
        )
    except sqlite3.Error as exc:
        if is_disk_trouble(exc):
            raise
        raise UnusableJournal(f"it is damaged ({exc})") from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise UnusableJournal(f"it is damaged (a row that makes no sense: {exc!r})") from exc


def _check_format(connection: sqlite3.Connection) -> None:
    """Raises: UnusableJournal."""
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise UnusableJournal("it is a database of another program")
    version = _pragma(connection, "user_version")
    if version != FORMAT_VERSION:
        raise UnusableJournal(f"its format is {version}, and this bucketfs knows {FORMAT_VERSION}")
    verdict = _pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise UnusableJournal(f"it is damaged ({verdict})")


def _uploads(connection: sqlite3.Connection) -> Iterator[UploadRecord]:
    parts: dict[str, list[PartRecord]] = defaultdict(list)
    for upload_id, *part in _rows(connection, "parts", "upload_id, number"):
        parts[upload_id].append(PartRecord(*part))
    for upload_id, key, file_number, begun_ns, beside in _rows(connection, "uploads", "begun_ns"):
        attributes, own = decode_attributes(beside), tuple(parts[upload_id])
        yield UploadRecord(upload_id, decode_key(key), file_number, begun_ns, attributes, own)


def _rows(connection: sqlite3.Connection, table: str, order: str) -> Iterator[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY {order}")


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    """Return the first column that a PRAGMA answers with."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set what holds for one connection, or for the file from its first table on."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = _pragma(connection, "journal_mode = WAL")
    if mode != "wal":
        raise CacheDirectoryError(
            f"the file system of {path} has no shared memory for SQLite (journal mode {mode}); "
            "name a cache_dir on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    page_bytes = int(str(_pragma(connection, "page_size")))
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // page_bytes}")


def _create(connection: sqlite3.Connection, store_url: str) -> None:
    """Make the tables, in one transaction: a file without any was never used."""
    connection.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO meta VALUES ('store_url', ?)", (store_url,))
    connection.execute("INSERT INTO meta VALUES ('opened_times', '0')")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def _count_opening(connection: sqlite3.Connection) -> int:
    """Count this opening, durably; return how many there were."""
    return int(
        connection.execute(
            "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'opened_times' "
            "RETURNING value"
        ).fetchall()[0][0]
    )


def _lay_out_log(connection: sqlite3.Connection, path: Path) -> None:
    """Empty the log into the file, and give it its full size.

    SQLite takes frames for its own only if they carry the log's salt, so zeros behind its end mean
    nothing to it. A disk that has no room for them only makes commits slower.
    """
    is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        return
    with _side_file(path, "-wal").open("r+b") as file:
        try:
            file.write(bytes(LOG_BYTES))
            file.flush()
            os.fsync(file.fileno())
        except OSError as exc:
            file.truncate(0)
            log.debug("the log of %s grows as it is written: %s", path, exc)


def _side_file(path: Path, suffix: str) -> Path:
    """Return SQLite's write-ahead log (`-wal`) or index of it (`-shm`) beside a file."""
    return path.with_name(path.name + suffix)


def _move_aside(folder: Path, reason: str, spills: Sequence[str] | None) -> None:
    """Move a journal and its spill files (None: unknown, so all) to `lost+found`; say so.

    The main file goes last, and its log before it: half-moved by a crash, the next call moves the
    rest, and a new journal never meets the log of another.
    """
    lost = new_lost_folder(folder)
    spill_folder = folder / "spill"
    if spills is None:
        found = sorted(spill_folder.iterdir()) if spill_folder.is_dir() else []
    else:
        found = [spill_folder / name for name in spills]
    path = folder / FILE_NAME
    moved = []
    for file in [*found, _side_file(path, "-shm"), _side_file(path, "-wal"), path]:
        if file.exists():
            file.rename(lost / file.name)
            moved.append(file.name)
    log.warning(
        "the journal of unsaved files in %s is not used: %s. It is kept in %s: %s",
        folder, reason, lost, ", ".join(moved),
    )  # fmt: skip
