"""The folder of blocks: bounded, the oldest first, and no disk can make it a danger."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.pagecache.blocks import blockfile
from bucketfs.pagecache.blocks import folder as folders
from bucketfs.pagecache.blocks.blockfile import (
    BLOCK_BYTES,
    BlockKey,
    block_of,
    digest_of,
)
from bucketfs.pagecache.blocks.folder import BlockFolder
from bucketfs.pagecache.blocks.recency import Held, Recency, on_disk
from bucketfs.storage.interface import Version

MIB = 1 << 20
COST = on_disk(blockfile.file_bytes_of(BLOCK_BYTES))


def plenty(_: Path) -> int:
    return 1 << 40


def opened(
    path: Path,
    limit_bytes: int = 1 << 30,
    free_bytes: Callable[[Path], int] = plenty,
    clock_s: Callable[[], float] = time.monotonic,
) -> BlockFolder:
    folder = BlockFolder(path, limit_bytes, free_bytes=free_bytes, clock_s=clock_s)
    folder.scan()
    return folder


def key_of(number: int, version: str = "v") -> BlockKey:
    return block_of(digest_of("b", "k", Version(version), 1 << 40), number, 1 << 40)


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(BLOCK_BYTES)


def put(folder: BlockFolder, number: int) -> bool:
    return folder.put(key_of(number), memoryview(data_of(number)))


def read(folder: BlockFolder, number: int) -> bytes | None:
    block = folder.open(key_of(number))
    if block is None:
        return None
    data = bytearray(BLOCK_BYTES)
    with block:
        block.read_into(0, memoryview(data))
    return bytes(data)


def disk_of(path: Path) -> int:
    return sum(on_disk(file.stat().st_size) for file in path.rglob("*") if file.is_file())


def test_blocks_outlive_their_folder_object(tmp_path: Path) -> None:
    folder = opened(tmp_path / "c")
    assert all(put(folder, number) for number in range(4))
    again = opened(tmp_path / "c")
    assert (len(again), again.held_bytes) == (4, 4 * COST)
    assert [read(again, number) for number in range(5)] == [*map(data_of, range(4)), None]


def test_the_limit_holds_and_the_oldest_go_first(tmp_path: Path) -> None:
    folder = opened(tmp_path / "c", 10 * COST)
    for number in range(25):
        assert put(folder, number)
        assert read(folder, 0) == data_of(0)  # always in use
        assert folder.held_bytes <= 10 * COST
        assert disk_of(tmp_path / "c") == folder.held_bytes
    here = [number for number in range(25) if folder.has(key_of(number).digest, number)]
    assert here == [0, *range(25 - len(here) + 1, 25)]
    assert folder.evicted == 25 - len(here)


def test_a_smaller_limit_is_obeyed_at_once_and_use_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "TOUCH_AFTER_S", 0)
    folder = opened(tmp_path / "c")
    for number in range(6):
        put(folder, number)
        os.utime(tmp_path / "c" / key_of(number).name, (1000 + number, 1000 + number))
    read(folder, 1)
    smaller = opened(tmp_path / "c", 2 * COST)
    assert [number for number in range(6) if read(smaller, number)] == [1, 5]
    assert disk_of(tmp_path / "c") == 2 * COST


def test_what_a_killed_process_left_is_thrown_away(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_writing, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    folder = opened(tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert read(folder, 0) == data_of(0)
    assert read(folder, 1) is None


def _die_writing(path: Path) -> None:
    folder = opened(path)
    put(folder, 0)

    def half(descriptor: int, data: memoryview, offset: int) -> int:
        os.write(descriptor, data[:5000])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    os.pwrite = half  # type: ignore[assignment]  # in a process of its own
    put(folder, 1)


@pytest.mark.allows_warnings
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "directory"])
def test_damage_is_a_miss_and_said_once(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = opened(tmp_path)
    for number in (0, 1):
        put(folder, number)
        path = tmp_path / key_of(number).name
        file = bytearray(path.read_bytes())
        if damage == "cut":
            path.write_bytes(file[:5000])
        elif damage == "flip":
            file[BLOCK_BYTES + 20] ^= 4
            path.write_bytes(file)
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "foreign":
            path.write_text("a letter to my aunt " * 100)
        else:
            path.unlink()
            path.mkdir()
    found = [read(folder, number) for number in (0, 1)]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert found == [None, None]
    assert len(warnings) == 1
    if damage != "directory":
        assert folder.damaged == 2
        assert disk_of(tmp_path) == 0
        assert put(folder, 0)
        assert read(folder, 0) == data_of(0)


@pytest.mark.allows_warnings
def test_a_full_disk_turns_writing_off_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    folder = opened(tmp_path, clock_s=lambda: now_s[0])
    now_s[0] = 100.0
    assert put(folder, 0)
    tries = 0

    def full(*_: object) -> int:
        nonlocal tries
        tries += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for number in range(1, 5):
            assert not put(folder, number)
        now_s[0] += folders.PAUSE_S + 1
        assert not put(folder, 5)
    assert tries == 2
    assert read(folder, 0) == data_of(0)
    assert list((tmp_path / "tmp").iterdir()) == []
    now_s[0] += folders.PAUSE_S + 1
    assert put(folder, 6)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelname for record in warnings] == ["WARNING"]


@pytest.mark.allows_warnings
def test_others_get_the_disk_when_it_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "LOOK_BYTES", 0)
    disk = [20 * COST]
    folder = opened(tmp_path / "c", 1 << 30, free_bytes=lambda path: disk[0] - disk_of(path))
    for number in range(100):
        put(folder, number)
        assert disk_of(tmp_path / "c") <= disk[0]
    assert len(folder) > 0
    assert not caplog.records
    disk[0] = 0  # somebody has taken all of it
    assert not put(folder, 200)
    assert len(folder) == 0
    assert disk_of(tmp_path / "c") == 0
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def _storm(path: Path, seed: int, wrong: multiprocessing.queues.Queue[str]) -> None:
    numbers = random.Random(seed)
    folder = opened(path, 12 * COST)
    for step in range(400):
        number = numbers.randrange(40)
        if step % 100 == 50:
            folder.scan()
        if numbers.random() < 0.5:
            put(folder, number)
        elif (found := read(folder, number)) is not None and found != data_of(number):
            wrong.put(f"block {number} in step {step}")
    if folder.damaged:
        wrong.put(f"{folder.damaged} damaged")


def test_two_processes_cannot_harm_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    wrong = context.Queue()
    both = [context.Process(target=_storm, args=(tmp_path, seed, wrong)) for seed in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert wrong.empty()
    folder = opened(tmp_path)
    assert all(read(folder, number) in (None, data_of(number)) for number in range(40))
    assert disk_of(tmp_path) <= 2 * 13 * COST


@given(st.lists(st.tuples(st.sampled_from("atrx"), st.integers(0, 9), st.integers(1, 9))))
def test_recency_is_a_list_in_order_of_use(steps: list[tuple[str, int, int]]) -> None:
    recency = Recency()
    model: list[tuple[bytes, int]] = []
    for what, number, count in steps:
        name = bytes([number])
        known = dict(model)
        if what == "a":
            recency.add(name, Held(b"", count))
            model = [each for each in model if each[0] != name] + [(name, count)]
        elif what == "t":
            recency.touch(name)
            if name in known:
                model = [each for each in model if each[0] != name] + [(name, known[name])]
        elif what == "r":
            recency.remove(name)
            model = [each for each in model if each[0] != name]
        else:
            taken = recency.take_oldest(count)
            assert [short for short, _ in taken] == [each[0] for each in model[: len(taken)]]
            freed = sum(held.disk_bytes for _, held in taken)
            assert freed >= count or len(taken) == len(model)
            model = model[len(taken) :]
        assert recency.held_bytes == sum(size for _, size in model)
        assert len(recency) == len(model)
        assert all(short in recency for short, _ in model)
