"""The file of remembered attributes: one SQLite table in the cache folder, of one store.

It is only a cache. Whatever is wrong with a file that is found, it is made anew; what is in it is
shown only for objects that a listing shows unchanged (`prover`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple, TypeVar

from bucketfs.storage.interface import ObjectInfo, Version

T = TypeVar("T")

log = logging.getLogger(__name__)

FILE_NAME = "attributes.db"
APPLICATION_ID = 0x62667361
"""`bfsa`: what file(1) and we know the file by."""
FORMAT_VERSION = 1

MAX_BYTES = 256 << 20
"""About a million objects. When it is full, a quarter of them goes, what was unused longest first.
"""

_SHORT = 10
"""Letters of values of metadata that many objects share, as modes and ids."""

_AT_ONCE = 500
"""Keys in one query; SQLite has room for 999 before version 3.32."""

_BUSY_TIMEOUT_S = 10.0

_LOG_BYTES = 8 << 20
"""What is left of the write-ahead log after it was longer."""

_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE objects (
        number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL,
        facts TEXT NOT NULL)""",
)
_PUT = "INSERT OR REPLACE INTO objects (key, used, facts) VALUES (?, ?, ?)"
_USE = "UPDATE objects SET used = ? WHERE key = ?"
_COUNT_OPENING = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'openings'"
_DROP = """DELETE FROM objects WHERE number IN
    (SELECT number FROM objects ORDER BY used, number LIMIT
        (SELECT max(1, count(*) / 4) FROM objects))"""

_SPOILT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""Results that say that the file is not what it should be; a table may be missing."""


class Told(NamedTuple):
    """What a store told of a key: the object with its metadata, and where a symlink leads to.

    `info` None: no marker was there. That is a hint only: no listing can show it unchanged.
    """

    key: str
    info: ObjectInfo | None
    target: bytes | None = None


class AttributesFile:
    """An open file. Its methods block; `read` may run in one thread and all else in another.

    Raises: sqlite3.Error, OSError.
    """

    def __init__(self, path: Path, store: str, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._used: list[bytes] = []
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._writing, self._reading = _connected(path), _connected(path)
        try:
            self._opening = _prepare(self._writing, store)
            self._page_bytes = int(_pragma(self._writing, "page_size"))
            self._is_filling = self.used_bytes() > max_bytes // 2
            row = self._reading.execute("SELECT 1 FROM objects LIMIT 1").fetchone()
        except BaseException:
            self.close()
            raise
        self.is_empty = row is None

    @classmethod
    def open(cls, folder: Path, store: str, max_bytes: int = MAX_BYTES) -> AttributesFile:
        """Open the file of a cache folder whose lock the caller holds, or make one for `store`.

        One that is damaged, of another format or of another store is replaced, and the log says so.
        """
        path = folder / FILE_NAME
        try:
            return cls(path, store, max_bytes)
        except (_Unusable, sqlite3.Error) as exc:
            if not is_spoilt(exc):
                raise
            log.info("the attributes remembered in %s are forgotten: %s", path, exc)
        remove(path)
        return cls(path, store, max_bytes)

    def read(self, keys: Sequence[str], make: Callable[[Told], T]) -> list[T]:
        """Return what is remembered of `keys`, as `make` has it."""
        found: list[T] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = [_encoded(key) for key in keys[start : start + _AT_ONCE]]
            marks = ",".join("?" * len(some))
            rows = self._reading.execute(
                f"SELECT key, used, facts FROM objects WHERE key IN ({marks})", some
            )
            for key, used, facts in rows.fetchall():
                told = _decode(key, facts)
                if told is not None:
                    found.append(make(told))
                if self._is_filling and used != self._opening:
                    self._used.append(key)
        return found

    def write(self, told: Iterable[Told]) -> None:
        """Remember objects instead of what was known of their keys, in one transaction."""
        used, self._used = self._used, []
        self._writing.execute("BEGIN IMMEDIATE")
        try:
            self._writing.executemany(_USE, ((self._opening, key) for key in used))
            self._writing.executemany(_PUT, (_encode(one, self._opening) for one in told))
            held_bytes = self.used_bytes()
            self._is_filling = held_bytes > self._max_bytes // 2
            if held_bytes > self._max_bytes:
                self._writing.execute(_DROP)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._writing.execute("ROLLBACK")
            raise
        self._writing.execute("COMMIT")

    def used_bytes(self) -> int:
        """Return how much of the file is in use."""
        pages = _pragma(self._writing, "page_count") - _pragma(self._writing, "freelist_count")
        return int(pages * self._page_bytes)

    def close_reading(self) -> None:
        """Close what `read` uses, in its thread."""
        self._reading.close()

    def close(self) -> None:
        """Close it; nothing is used after."""
        self._reading.close()
        self._writing.close()


class _Unusable(Exception):
    """A file that is found and says itself that it is of no use here."""


def remove(path: Path) -> None:
    """Remove a file of remembered attributes and SQLite's files beside it. Raises: OSError."""
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def is_spoilt(error: Exception) -> bool:
    """Tell whether a failure is of what the file holds, and not of the machine."""
    if isinstance(error, _Unusable):
        return True
    # The module's own errors, as of text that is no UTF-8, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return isinstance(error, sqlite3.Error) and code & 0xFF in _SPOILT


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


def _prepare(connection: sqlite3.Connection, store: str) -> int:
    """Make a file ready, with its tables if it has none; return how often it was opened.

    Raises: _Unusable, sqlite3.Error.
    """
    _pragma(connection, "journal_mode = WAL")
    # Whole after a power cut, too: wrong attributes would be worse than none.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _create(connection, store)
    _check(connection, store)
    connection.execute(_COUNT_OPENING)
    row = connection.execute("SELECT value FROM meta WHERE name = 'openings'").fetchone()
    if row is None:
        raise _Unusable("it does not tell how often it was opened")
    return int(row[0])


def _create(connection: sqlite3.Connection, store: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO meta VALUES ('store', ?), ('openings', '0')", (store,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, store: str) -> None:
    """Raises: _Unusable."""
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise _Unusable("it is a database of another program")
    version = _pragma(connection, "user_version")
    if version != FORMAT_VERSION:
        raise _Unusable(f"its format is {version}, and this bucketfs knows {FORMAT_VERSION}")
    row = connection.execute("SELECT value FROM meta WHERE name = 'store'").fetchone()
    if row is None or row[0] != store:
        raise _Unusable(f"it is of {row[0] if row else 'no store'}, and not of {store}")


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Return the first column that a PRAGMA answers with."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _encode(told: Told, opening: int) -> tuple[bytes, int, str]:
    info, facts = told.info, None
    if info is not None:
        facts = (
            info.size,
            info.version,
            info.modified_ns,
            dict(info.metadata or {}),
            info.content_type,
            info.storage_class,
            info.is_appendable,
            None if told.target is None else base64.b64encode(told.target).decode(),
        )
    return _encoded(told.key), opening, json.dumps(facts, separators=(",", ":"))


def _shared(value: str) -> str:
    """Return one text for all equal ones, of such as modes and ids."""
    return intern(value) if len(value) <= _SHORT else value


def _decode(key: bytes, facts: str) -> Told | None:
    """Return what a row says; None: it makes no sense."""
    try:
        name, found = key.decode("utf-8", "surrogatepass"), json.loads(facts)
        if found is None:
            return Told(name, None)
        size, version, modified_ns, metadata, content_type, storage_class, is_appendable = found[:7]
        texts = (version, *metadata, *metadata.values())
        metadata = {intern(name): _shared(value) for name, value in metadata.items()}
        target = None if found[7] is None else base64.b64decode(found[7], validate=True)
    except (ValueError, TypeError, AttributeError, LookupError):
        return None
    if not (isinstance(size, int) and isinstance(modified_ns, int)):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    info = ObjectInfo(
        name,
        size,
        Version(version),
        modified_ns,
        metadata,
        content_type,
        storage_class,
        bool(is_appendable),
    )
    return Told(name, info, target)
