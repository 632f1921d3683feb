"""Orphans: what is surely nobody's is aborted, and only that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing

from bucketfs.errors import AccessDenied
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.orphans import Orphans, needed_uploads
from bucketfs.pagecache.records import FileRecord
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    ObjectAttributes,
    PendingUpload,
)
from bucketfs.storage.memory import MemoryStore

PLAIN = ObjectAttributes()
URL = "memory://bucket"
DAY_NS = 86_400 * 10**9
NOW_NS = 1_800_000_000 * 10**9


@dataclass
class Clock:
    """The store's clock, which the tests turn."""

    now_ns: int = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("bucketfs.pagecache.orphans.time.time_ns", lambda: NOW_NS)
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(now_ns=clock)


def file_record(number: int) -> FileRecord:
    return FileRecord(number, f"k{number}", 0, (), None, b"", None, ABSENT, PLAIN, 0)


async def begun(store: MemoryStore, key: str) -> str:
    upload = await store.begin_upload(key, PLAIN)
    await upload.add_part(1, BytesBody(b"x"))
    return upload.upload_id


async def left(store: MemoryStore) -> set[str]:
    return {pending.upload_id for pending in await store.list_uploads("")}


async def test_our_own_that_no_file_needs_are_aborted(store: MemoryStore, tmp_path: Path) -> None:
    uploads = [await begun(store, f"k{number}") for number in range(5)]
    first = Journal.open(tmp_path, URL)
    await first.put_file(file_record(1))
    # k1: an older and the last one of a file; k2: of a file that was dropped; k3: of none.
    await first.put_upload(uploads[0], "k1", PLAIN, 1)
    await first.put_upload(uploads[1], "k1", PLAIN, 1)
    await first.put_upload(uploads[2], "k2", PLAIN, 2)
    await first.put_upload(uploads[3], "k3", PLAIN, None)
    await first.put_upload("gone-already", "k9", PLAIN, None)
    await first.aclose()
    journal = Journal.open(tmp_path, URL)
    assert {number: item.upload_id for number, item in needed_uploads(journal).items()} == {
        1: uploads[1]
    }
    await Orphans(store, journal).abort(after_s=0)
    assert await left(store) == {uploads[1], uploads[4]}
    await journal.aclose()
    assert [item.upload_id for item in Journal.read(tmp_path).uploads] == [uploads[1]]


async def test_what_is_saved_meanwhile_is_not_aborted(store: MemoryStore, tmp_path: Path) -> None:
    upload = await begun(store, "k1")
    journal = Journal.open(tmp_path, URL)
    await journal.put_file(file_record(1))
    await journal.put_upload(upload, "k1", PLAIN, 1)
    await journal.aclose()
    journal = Journal.open(tmp_path, URL)
    orphans = Orphans(store, journal)
    await journal.drop_files([1])
    later = await begun(store, "k1")
    await journal.put_upload(later, "k1", PLAIN, None)
    await orphans.abort(after_s=0)
    assert await left(store) == {upload, later}
    await journal.aclose()


async def test_others_are_aborted_only_when_they_are_old(
    store: MemoryStore, clock: Clock, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ages_days = {"old": 8, "young": 6, "future": -9}
    uploads = {}
    for name, age_days in ages_days.items():
        clock.now_ns = NOW_NS - age_days * DAY_NS
        uploads[name] = await begun(store, name)
    clock.now_ns = 0
    uploads["unknown"] = await begun(store, "unknown")
    journal = Journal.open(tmp_path, URL)
    await Orphans(store, journal).abort(after_s=0)
    assert await left(store) == set(uploads.values())
    await Orphans(store, journal).abort(after_s=7 * 86_400)
    assert await left(store) == set(uploads.values()) - {uploads["old"]}
    await journal.aclose()


async def test_an_old_one_that_a_file_needs_stays(
    store: MemoryStore, clock: Clock, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clock.now_ns = NOW_NS - 30 * DAY_NS
    upload = await begun(store, "k1")
    journal = Journal.open(tmp_path, URL)
    await journal.put_file(file_record(1))
    await journal.put_upload(upload, "k1", PLAIN, 1)
    await journal.aclose()
    journal = Journal.open(tmp_path, URL)
    await Orphans(store, journal).abort(after_s=86_400)
    assert await left(store) == {upload}
    await journal.aclose()


class Refusing(DecoratedStore):
    """A store whose uploads may not be listed."""

    async def list_uploads(self, prefix: str) -> list[PendingUpload]:
        raise AccessDenied("no")


async def test_who_may_not_list_aborts_nothing(
    store: MemoryStore, clock: Clock, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clock.now_ns = NOW_NS - 30 * DAY_NS
    upload = await begun(store, "k")
    journal = Journal.open(tmp_path, URL)
    await Orphans(Refusing(store), journal).abort(after_s=86_400)
    assert await left(store) == {upload}
    await journal.aclose()


@pytest.mark.allows_warnings
async def test_what_cannot_be_aborted_now_is_tried_by_the_next_mount(
    store: MemoryStore, tmp_path: Path
) -> None:
    class Failing(DecoratedStore):
        async def resume_upload(self, *_: object) -> None:  # type: ignore[override]
            raise AccessDenied("no")

    upload = await begun(store, "k")
    journal = Journal.open(tmp_path, URL)
    await journal.put_upload(upload, "k", PLAIN, None)
    await journal.aclose()
    for tried, is_left in ((Failing(store), True), (store, False)):
        journal = Journal.open(tmp_path, URL)
        await Orphans(tried, journal).abort(after_s=0)  # type: ignore[arg-type]
        await journal.aclose()
        assert bool(await left(store)) is is_left
        await trio.lowlevel.checkpoint()
    assert Journal.read(tmp_path).uploads == ()
