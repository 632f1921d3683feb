"""The journal: what it acknowledged is there after any end, and no file of it is ever deleted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.group_commit import LATER_S, GroupCommit
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.journal_file import FILE_NAME, LOG_BYTES
from bucketfs.pagecache.records import (
    FileRecord,
    PartRecord,
    decode_file,
    encode_file,
)
from bucketfs.storage.interface import ABSENT, ObjectAttributes, ObjectInfo, Precondition, Version

URL = "s3://bucket/prefix"

keys = st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
sizes = st.integers(0, 5 << 40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
metadata = st.dictionaries(texts, texts, max_size=3)
attributes = st.builds(ObjectAttributes, metadata, st.none() | texts)
infos = st.builds(
    ObjectInfo, keys, sizes, texts.map(Version), sizes, st.none() | metadata, st.none() | texts
)
ranges = st.lists(
    st.tuples(sizes, sizes, st.sampled_from(["spill", "zero", "base", "row"])), max_size=4
).map(tuple)
records = st.builds(
    FileRecord,
    number=st.integers(1, 1 << 62),
    key=keys,
    size=sizes,
    ranges=ranges,
    spill=st.none() | texts,
    data=st.none() | st.binary(max_size=50),
    base=st.none() | infos,
    expected=st.none() | st.just(ABSENT) | st.builds(Precondition, texts.map(Version)),
    attributes=attributes,
    kept_ns=sizes,
    attempts=st.integers(0, 9),
    last_error=st.none() | texts,
    is_refused=st.booleans(),
)


def record(number: int, key: str = "k", data: bytes = b"data") -> FileRecord:
    return FileRecord(
        number=number,
        key=key,
        size=len(data),
        ranges=((0, len(data), "row"),),
        spill=None,
        data=data,
        base=None,
        expected=ABSENT,
        attributes=ObjectAttributes({"mode": "33188"}, "text/plain"),
        kept_ns=17,
    )


@contextlib.asynccontextmanager
async def opened(folder: Path, url: str = URL) -> AsyncIterator[Journal]:
    journal = Journal.open(folder, url)
    try:
        yield journal
    finally:
        await journal.aclose()


def names_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(records)
def test_a_record_comes_back_from_its_row_as_it_was(kept: FileRecord) -> None:
    assert decode_file(encode_file(kept)) == kept


@given(st.lists(records, max_size=3, unique_by=lambda item: item.number))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_files_come_back_through_the_file(kept: list[FileRecord]) -> None:
    async def write(folder: Path) -> None:
        async with opened(folder) as journal:
            for item in kept:
                await journal.put_file(item)

    with tempfile.TemporaryDirectory() as name:
        trio.run(write, Path(name))
        found = Journal.read(Path(name)).files
    assert list(found) == sorted(kept, key=lambda item: item.number)


async def test_a_new_journal_is_empty(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        assert (journal.files, journal.uploads, journal.jobs) == ((), (), ())
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert Journal.read(tmp_path).store_url == URL


async def test_what_is_put_again_replaces_and_what_is_dropped_goes(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await journal.put_file(record(1))
        await journal.put_file(record(2))
        await journal.put_file(record(2, data=b"newer"))
        await journal.drop_files([1, 99])
        await journal.drop_files([1])
    async with opened(tmp_path) as journal:
        assert journal.files == (record(2, data=b"newer"),)
        await journal.drop_files([2])
        assert not journal.files
    assert Journal.read(tmp_path).files == ()


async def test_the_log_does_not_grow_while_it_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        log = tmp_path / f"{FILE_NAME}-wal"
        assert log.stat().st_size == LOG_BYTES
        for number in range(1, 40):
            await journal.put_file(record(number, data=bytes(64 << 10)))
            assert log.stat().st_size == LOG_BYTES
        await journal.drop_files(range(1, 40))
    assert not log.exists()


async def test_two_files_may_have_one_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await journal.put_file(record(1, "same", b"removed, still open"))
        await journal.put_file(record(2, "same", b"new"))
    assert [item.key for item in Journal.read(tmp_path).files] == ["same", "same"]


async def test_parts_of_a_record_are_changed_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        for number in (1, 2, 3):
            await journal.put_file(record(number))
        await journal.rekey({1: "a\udcff", 2: "b", 99: "nobody"})
        await journal.set_attributes(2, ObjectAttributes({"uid": "0"}))
        journal.note_failure(3, "503 \udcff")
        journal.note_failure(3, "412", is_refused=True)
    changed = Journal.read(tmp_path).files
    assert changed == (
        replace(record(1), key="a\udcff"),
        replace(record(2), key="b", attributes=ObjectAttributes({"uid": "0"})),
        replace(record(3), attempts=2, last_error="412", is_refused=True),
    )


async def test_uploads_and_their_parts(tmp_path: Path) -> None:
    first = PartRecord(1, 0, 8, "tag", 8, b"\x00\xff")
    async with opened(tmp_path) as journal:
        before = time.time_ns()
        await journal.put_upload("id-1", "k\udcff", ObjectAttributes({"uid": "7"}), 7)
        await journal.put_upload("id-2", "other", ObjectAttributes(), None)
        await journal.put_part("id-1", PartRecord(2, 8, 9, "tag2", 1, b""))
        await journal.put_part("id-1", replace(first, tag="replaced"))
        await journal.put_part("id-1", first)
        await journal.put_part("id-2", first)
        journal.drop_upload("id-2")
        journal.drop_upload("id-2")
    (upload,) = Journal.read(tmp_path).uploads
    assert (upload.upload_id, upload.key, upload.file_number) == ("id-1", "k\udcff", 7)
    assert upload.attributes == ObjectAttributes({"uid": "7"})
    assert before <= upload.begun_ns <= time.time_ns()
    assert upload.parts == (first, PartRecord(2, 8, 9, "tag2", 1, b""))


async def test_jobs(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        number = await journal.put_job("rename-directory", {"source": "a/\udcff", "target": "b/"})
        gone = await journal.put_job("delete", {"key": "x"})
        await journal.update_job(number, {"source": "a/\udcff", "target": "b/", "at": "a/5"})
        await journal.drop_jobs([gone])
    (job,) = Journal.read(tmp_path).jobs
    assert (job.number, job.kind) == (number, "rename-directory")
    assert job.details == {"source": "a/\udcff", "target": "b/", "at": "a/5"}


async def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    given_out: list[int] = []
    for _ in range(3):
        async with opened(tmp_path) as journal:
            given_out += [journal.new_number() for _ in range(5)]
    assert sorted(set(given_out)) == given_out
    assert given_out[0] > 0


def ended_at_once(folder: Path, script: str) -> bytes:
    """Run a script that has `journal`, kill it at its end, return what it printed."""
    lines = [
        "import os, sys, trio",
        "from pathlib import Path",
        "from bucketfs.pagecache.journal import Journal",
        "from bucketfs.pagecache.records import *",
        f"journal = Journal.open(Path({str(folder)!r}), {URL!r})",
        script,
        "os.kill(os.getpid(), 9)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return done.stdout


def test_numbers_are_not_given_again_after_a_crash(tmp_path: Path) -> None:
    """Numbers that were never written down may stand for spill files."""
    last = int(ended_at_once(tmp_path, "print(journal.new_number(), flush=True)"))
    journal = Journal.open(tmp_path, URL)
    assert journal.new_number() > last
    trio.run(journal.aclose)


STORM = """
import sys, trio
from pathlib import Path
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord
from bucketfs.storage.interface import ObjectAttributes

async def put(journal, number):
    data = number.to_bytes(4, "big") * 300
    await journal.put_file(FileRecord(number, f"k{number}", len(data), ((0, len(data), "row"),),
        None, data, None, None, ObjectAttributes(), 0))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()

async def worker(journal):
    while True:
        number = journal.new_number() & 0xffffffff
        await put(journal, number)
        if number % 3 == 0:
            await journal.drop_files([number - 1000000])

async def main():
    journal = Journal.open(Path(sys.argv[1]), "s3://bucket/prefix")
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(worker, journal)

trio.run(main)
"""


@pytest.mark.parametrize("acknowledged", [1, 40, 400])
def test_a_kill_in_a_storm_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", STORM, tmp_path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(acknowledged)]
    os.kill(writer.pid, signal.SIGKILL)
    lines += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    writer.stdout.close()
    numbers = {int(line) for line in lines if line.endswith(b"\n")}
    assert len(numbers) >= acknowledged
    found = {item.number: item.data for item in Journal.read(tmp_path).files}
    assert numbers <= found.keys()
    assert all(data == number.to_bytes(4, "big") * 300 for number, data in found.items())
    assert {item.number for item in Journal.open(tmp_path, URL).files} == found.keys()


@contextlib.contextmanager
def living(folder: Path) -> Iterator[None]:
    """Hold the folder's lock as a mount does."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_a_living_journal_can_be_read_beside_its_mount(tmp_path: Path) -> None:
    with living(tmp_path):
        async with opened(tmp_path) as journal:
            await journal.put_file(record(1))
            assert Journal.read(tmp_path).files == (record(1),)
            await journal.put_file(record(2))
            assert len(Journal.read(tmp_path).files) == 2


def crashed(folder: Path, kept: FileRecord) -> None:
    """Leave a journal as a killed mount does, with its write-ahead log."""
    script = f"from bucketfs.storage.interface import *\ntrio.run(journal.put_file, {kept!r})"
    ended_at_once(folder, script)
    assert (folder / f"{FILE_NAME}-wal").stat().st_size > 0


def test_reading_a_dead_journal_changes_nothing(tmp_path: Path) -> None:
    crashed(tmp_path, record(1))
    before = names_below(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert Journal.read(tmp_path).files == (record(1),)
    assert names_below(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


async def test_reading_a_closed_journal_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await journal.put_file(record(1))
    before = names_below(tmp_path)
    assert list(before) == [FILE_NAME]
    assert Journal.read(tmp_path).files == (record(1),)
    assert names_below(tmp_path) == before


def test_reading_where_no_journal_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(CacheDirectoryError, match="no journal in"):
        Journal.read(tmp_path)
    assert names_below(tmp_path) == {}


def spoiled(folder: Path, spoil: Callable[[sqlite3.Connection], object]) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        spoil(connection)
    connection.close()


def overwritten(folder: Path) -> None:
    path = folder / FILE_NAME
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\x5a" * (len(raw) - 4096)
    path.write_bytes(raw)


SPOILERS: dict[str, Callable[[Path], object]] = {
    "no database": lambda folder: (folder / FILE_NAME).write_bytes(b"garbage " * 1000),
    "overwritten": overwritten,
    "cut": lambda folder: os.truncate(folder / FILE_NAME, 5000),
    "newer format": lambda folder: spoiled(
        folder, lambda database: database.execute("PRAGMA user_version = 2")
    ),
    "other program": lambda folder: spoiled(
        folder, lambda database: database.execute("PRAGMA application_id = 1")
    ),
    "senseless row": lambda folder: spoiled(
        folder, lambda database: database.execute("UPDATE files SET ranges = '7'")
    ),
    "missing table": lambda folder: spoiled(
        folder, lambda database: database.execute("DROP TABLE jobs")
    ),
    "missing column": lambda folder: spoiled(
        folder, lambda database: database.execute("ALTER TABLE files DROP COLUMN kept_ns")
    ),
}


@pytest.mark.allows_warnings
@pytest.mark.parametrize("kind", SPOILERS)
async def test_a_damaged_journal_is_moved_aside_with_its_spill_files(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as journal:
        await journal.put_file(record(1, data=bytes(9000)))
    SPOILERS[kind](tmp_path)
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "00000001.spill").write_bytes(b"bytes of somebody")
    damaged = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(CacheDirectoryError):
        Journal.read(tmp_path)
    async with opened(tmp_path) as journal:
        assert not journal.files
        await journal.put_file(record(2))
    assert Journal.read(tmp_path).files == (record(2),)
    (lost,) = (tmp_path / "lost+found").iterdir()
    assert (lost / FILE_NAME).read_bytes() == damaged
    assert (lost / "00000001.spill").read_bytes() == b"bytes of somebody"
    (warning,) = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert str(lost) in warning
    assert "00000001.spill" in warning


@pytest.mark.allows_warnings
def test_the_journal_of_another_bucket_is_moved_aside_whole(tmp_path: Path) -> None:
    crashed(tmp_path, replace(record(1), spill="00000001.spill"))
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "00000001.spill").write_bytes(b"named")
    (tmp_path / "spill" / "00000002.spill").write_bytes(b"of nobody that is known")
    trio.run(Journal.open(tmp_path, "s3://other").aclose)
    (lost,) = (tmp_path / "lost+found").iterdir()
    assert (lost / "00000001.spill").read_bytes() == b"named"
    assert (tmp_path / "spill" / "00000002.spill").exists()
    kept = Journal.read(lost)
    assert (kept.store_url, kept.files) == (URL, (replace(record(1), spill="00000001.spill"),))
    assert Journal.read(tmp_path).store_url == "s3://other"


@pytest.mark.allows_warnings
def test_a_log_without_its_journal_is_moved_aside(tmp_path: Path) -> None:
    crashed(tmp_path, record(1))
    (tmp_path / FILE_NAME).unlink()
    trio.run(Journal.open(tmp_path, URL).aclose)
    (lost,) = (tmp_path / "lost+found").iterdir()
    assert (lost / f"{FILE_NAME}-wal").stat().st_size > 0
    assert Journal.read(tmp_path).files == ()


def test_a_file_that_was_made_but_never_used_is_used(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    assert Journal.read(tmp_path).files == ()
    trio.run(Journal.open(tmp_path, URL).aclose)
    assert Journal.read(tmp_path).store_url == URL


def test_a_folder_that_cannot_hold_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheDirectoryError, match="cannot be used"):
        Journal.open(tmp_path / "missing", URL)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CacheDirectoryError):
        Journal.open(tmp_path, URL)


async def test_what_waits_shares_one_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        async with trio.open_nursery() as nursery:
            for number in range(1, 51):
                nursery.start_soon(journal.put_file, record(number))
        # The first goes alone; all others came while it was being written.
        assert journal.transactions == 2
    assert len(Journal.read(tmp_path).files) == 50


async def test_changes_are_made_in_the_order_of_their_calls(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal, trio.open_nursery() as nursery:
        for turn in range(20):
            nursery.start_soon(journal.put_file, record(1, data=str(turn).encode()))
            await trio.testing.wait_all_tasks_blocked()
    (kept,) = Journal.read(tmp_path).files
    assert kept.data == b"19"


class Disk:
    """A disk that fills up: SQLite's own limit of pages stands for it."""

    def __init__(self, journal: Journal) -> None:
        self._connection = journal._commits._connection

    def fill(self) -> None:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def free(self) -> None:
        self._connection.execute("PRAGMA max_page_count = 1073741823")


async def test_a_full_disk_is_told_to_all_and_is_no_end(tmp_path: Path) -> None:
    refused: list[int] = []

    async def put(number: int) -> None:
        try:
            await journal.put_file(record(number, data=bytes(20_000)))
        except NoSpace:
            refused.append(number)

    async with opened(tmp_path) as journal:
        await journal.put_file(record(1))
        disk = Disk(journal)
        disk.fill()
        async with trio.open_nursery() as nursery:
            for number in (2, 3, 4):
                nursery.start_soon(put, number)
        assert sorted(refused) == [2, 3, 4]
        assert [item.number for item in Journal.read(tmp_path).files] == [1]
        disk.free()
        await put(5)
    assert [item.number for item in Journal.read(tmp_path).files] == [1, 5]


@pytest.mark.allows_warnings
async def test_what_is_only_noted_waits_for_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await journal.put_upload("id", "k", ObjectAttributes(), None)
        disk = Disk(journal)
        disk.fill()
        for number in range(1, 200):
            await journal.put_part("id", PartRecord(number, 0, 1, "t" * 50, 1, bytes(16)))
        disk.free()
        await journal.put_file(record(1))
        (upload,) = Journal.read(tmp_path).uploads
        assert len(upload.parts) == 199


class SlowConnection(sqlite3.Connection):
    """A connection whose every transaction waits until the test lets it go on."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.let_go = threading.Semaphore(0)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.let_go.acquire()
        return super().execute(sql, *parameters)


async def test_cancelled_callers_leave_whole_changes_and_let_others_go_on(tmp_path: Path) -> None:
    connection = sqlite3.connect(
        tmp_path / "any.db", isolation_level=None, check_same_thread=False, factory=SlowConnection
    )
    connection.execute("CREATE TABLE t (n INTEGER)")
    commits = GroupCommit(connection, tmp_path / "any.db")
    scopes = {number: trio.CancelScope() for number in range(1, 7)}
    is_first_done = trio.Event()

    async def put(number: int) -> None:
        with scopes[number]:
            await commits.commit(("INSERT INTO t VALUES (?)", (number,)), is_durable=True)
        if number == 1:
            is_first_done.set()

    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(put, number)
            await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()  # it writes: that goes on
        scopes[2].cancel()  # it waits, and is next to write
        await trio.testing.wait_all_tasks_blocked()
        connection.let_go.release()
        await is_first_done.wait()
        for number in (4, 5):
            nursery.start_soon(put, number)
            await trio.testing.wait_all_tasks_blocked()
        scopes[4].cancel()
        connection.let_go.release(9)
    written = connection.execute("SELECT n FROM t ORDER BY n").fetchall()
    assert written == [(1,), (3,), (5,)]
    await put(6)
    await commits.aclose()


async def test_a_statement_that_is_wrong_fails_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "any.db", isolation_level=None, check_same_thread=False)
    commits = GroupCommit(connection, tmp_path / "any.db")
    await commits.commit(("CREATE TABLE t (n INTEGER)", ()), is_durable=True)
    with pytest.raises(CacheDirectoryError):
        await commits.commit(("INSERT INTO nowhere VALUES (1)", ()), is_durable=False)
    with pytest.raises(OverflowError):
        await commits.commit(("INSERT INTO t VALUES (?)", (1 << 70,)), is_durable=True)
    await commits.commit(("INSERT INTO t VALUES (?)", (5,)), is_durable=False)
    assert connection.execute("SELECT n FROM t").fetchall() == [(5,)]
    await commits.aclose()


async def test_what_nobody_waits_for_goes_with_the_next_or_a_moment_later(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    connection = sqlite3.connect(
        tmp_path / "any.db", isolation_level=None, check_same_thread=False, factory=SlowConnection
    )
    connection.execute("CREATE TABLE t (n INTEGER)")
    commits = GroupCommit(connection, tmp_path / "any.db")

    def insert(number: int) -> tuple[str, tuple[int]]:
        return "INSERT INTO t VALUES (?)", (number,)

    def written() -> list[int]:
        return [number for (number,) in connection.execute("SELECT n FROM t ORDER BY rowid")]

    commits.later(insert(1))
    connection.let_go.release()
    await commits.commit(insert(2), is_durable=True)
    assert written() == [1, 2]
    async with trio.open_nursery() as inner:
        inner.start_soon(partial(commits.commit, insert(3), is_durable=True))
        await trio.testing.wait_all_tasks_blocked()
        commits.later(insert(4))  # comes while the other is written, and nobody follows it
        connection.let_go.release()
    assert written() == [1, 2, 3]
    nursery.start_soon(commits.write_later_ones)
    connection.let_go.release()
    while written() != [1, 2, 3, 4]:  # noqa: ASYNC110 - another connection tells of no event
        await trio.sleep(LATER_S / 5)
    commits.later(insert(5))
    connection.let_go.release()
    await commits.aclose()
    with sqlite3.connect(tmp_path / "any.db") as again:
        assert again.execute("SELECT max(n) FROM t").fetchone() == (5,)
