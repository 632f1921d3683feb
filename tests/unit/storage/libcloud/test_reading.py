"""Reads from drivers that know no ranges, and cannot say of which version their bytes are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from bucketfs.errors import ObjectChanged, QuotaExceeded
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes, Version
from bucketfs.storage.libcloud.drivers import DriverPool, Traits
from bucketfs.storage.libcloud.spool import Spool, SpoolFile
from bucketfs.storage.libcloud.store import LibcloudStore
from tests.unit.storage.libcloud.boxes import WholeDriver, folder_store

PLAIN = ObjectAttributes()


async def read(store: LibcloudStore, key: str, start: int, length: int, at: Version) -> bytes:
    buffer = bytearray(length)
    sink = MemorySink(buffer)
    await store.read_range(key, start, length, sink, at)
    return bytes(buffer[: sink.received])


async def test_an_object_without_ranges_is_fetched_once(tmp_path: Path) -> None:
    asked: list[str] = []
    store = folder_store(tmp_path, asked)
    data = os.urandom(100_000)
    info = await store.write("a", BytesBody(data), PLAIN)
    found: dict[int, bytes] = {}

    async def one(start: int) -> None:
        found[start] = await read(store, "a", start, 10_000, info.version)

    async with trio.open_nursery() as nursery:
        for start in range(0, 100_000, 10_000):
            nursery.start_soon(one, start)
    assert b"".join(found[start] for start in sorted(found)) == data
    assert asked.count("get a") == 1


async def test_an_object_replaced_while_it_is_fetched(tmp_path: Path) -> None:
    times = itertools.count(1)

    class Replacing(WholeDriver):
        def download_object_as_stream(
            self, obj: Any, chunk_size: int | None = None
        ) -> Iterator[bytes]:
            data = list(super().download_object_as_stream(obj, chunk_size))
            os.utime(tmp_path / "box" / "a", (next(times), next(times)))
            return iter(data)

    (tmp_path / "box").mkdir()
    pool = DriverPool(lambda: Replacing(str(tmp_path), []), "box")
    traits = Traits("whole", True, False, False, None)
    store = LibcloudStore(pool, traits, spool=Spool(str(tmp_path)))
    info = await store.write("a", BytesBody(b"hello"), PLAIN)
    sink = MemorySink(bytearray(5))
    with pytest.raises(ObjectChanged):
        await store.read_range("a", 0, 5, sink, info.version)
    assert sink.received == 0
    with pytest.raises(ObjectChanged):
        await store.copy("a", "b")


async def test_two_writes_in_one_tick_of_the_clock_are_two_versions(tmp_path: Path) -> None:
    store = folder_store(tmp_path, [])
    versions = [(await store.write("a", BytesBody(b"x"), PLAIN)).version for _ in range(5)]
    assert len(set(versions)) == 5


async def test_a_failed_fetch_is_tried_by_the_next(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    outcomes: list[OSError | SpoolFile] = [OSError("broken"), spool.file().fill([b"hello"])]

    def fetch() -> SpoolFile:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    with pytest.raises(OSError, match="broken"):
        spool.whole("a", Version("1"), fetch)
    assert spool.whole("a", Version("1"), fetch).size == 5
    assert spool.whole("a", Version("1"), fetch).size == 5
    spool.forget("a")
    with pytest.raises(IndexError):
        spool.whole("a", Version("1"), fetch)


async def test_few_whole_objects_are_kept(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    fetched: list[int] = []

    def get(number: int) -> None:
        def fetch() -> SpoolFile:
            fetched.append(number)
            return spool.file().fill([b"x"])

        spool.whole(f"k{number}", Version("1"), fetch)

    for number in range(20):
        get(number)
    get(19)
    get(0)
    assert fetched == [*range(20), 0]


def test_a_full_disk_is_said_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Spool(str(tmp_path)).file()
    monkeypatch.setattr(file, "_file", open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    with pytest.raises(QuotaExceeded, match=str(tmp_path)):
        file.fill([b"x"])


def test_files_leave_nothing_behind(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    file = spool.file().fill([b"he", memoryview(b"llo")])
    file.add(spool.file().fill([b"!" * 70_000]))
    assert os.listdir(tmp_path) == []
    with open(file.path, "rb") as again:
        assert again.read() == b"hello" + b"!" * 70_000
    assert b"".join(file.pieces(1000)) == b"hello" + b"!" * 70_000
    file.close()
