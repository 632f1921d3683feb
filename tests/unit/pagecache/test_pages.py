"""Pages while somebody else is at them: spilling, frozen maps, filling."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from bucketfs.errors import NoSpace
from bucketfs.pagecache.bodies import zeros
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.direct import Stages
from bucketfs.pagecache.extents import Extent, Kind
from bucketfs.pagecache.pages import SMALL_BYTES, Pages, reading
from bucketfs.pagecache.room import Room
from bucketfs.pagecache.spill import SpillFile

KIB = 1 << 10


class SlowSpill(SpillFile):
    """A spill file whose writes wait until they are let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, lambda: path.name, Stages())
        self.go = threading.Event()
        self.go.set()
        self.failure: Exception | None = None

    def write(self, offset: int, buffers: Sequence[bytes | memoryview]) -> None:
        assert self.go.wait(10)
        if self.failure is not None:
            raise self.failure
        super().write(offset, buffers)


@pytest.fixture
def room() -> Room:
    return Room(Budget(1024 * KIB), 1024 * KIB)


@pytest.fixture
def spill(tmp_path: Path) -> SlowSpill:
    return SlowSpill(tmp_path / "x.spill")


@pytest.fixture
def pages(room: Room, spill: SlowSpill) -> Pages:
    return Pages(room, spill, trio.CapacityLimiter(2))


def fill_memory(room: Room) -> int:
    """Take all memory; return how much."""
    count = 0
    while room.try_memory(KIB):
        count += KIB
    return count


async def contents(pages: Pages) -> bytes:
    data = b""
    for extent in pages.extents:
        assert extent.kind is not Kind.BASE
        if extent.kind is Kind.ZERO:
            data += zeros(extent.length)
        elif extent.kind is Kind.SPILLED:
            data += await pages.read_spilled(extent.start, extent.length)
        else:
            data += extent.view()
    return data


def kinds(pages: Pages) -> list[tuple[int, int, Kind]]:
    return [(extent.start, extent.stop, extent.kind) for extent in pages.extents]


async def test_small_writes_in_a_row_share_a_piece(pages: Pages, room: Room) -> None:
    for offset in range(0, 256 * KIB, 4 * KIB):
        assert pages.write_now(offset, bytes([offset >> 12]) * 4 * KIB)
    assert len(list(pages.extents)) == 5 + 3  # doubling up to 64 KiB, then of that size
    assert room.memory_bytes == 256 * KIB
    assert await contents(pages) == b"".join(bytes([n]) * 4 * KIB for n in range(64))


async def test_a_small_file_holds_no_more_memory_than_it_counts(pages: Pages, room: Room) -> None:
    assert pages.write_now(0, b"x" * 100)
    (extent,) = pages.extents
    assert memoryview(extent.view().obj).nbytes == room.memory_bytes == 100


async def test_a_large_write_keeps_the_kernels_bytes(pages: Pages) -> None:
    data = bytes(SMALL_BYTES + 1)
    assert pages.write_now(0, data)
    (extent,) = pages.extents
    assert extent.view().obj is data


async def test_overwriting_gives_memory_back_and_keeps_views_intact(
    pages: Pages, room: Room
) -> None:
    pages.write_now(0, b"a" * 4 * KIB)
    view = next(iter(pages.extents)).view()
    pages.write_now(0, b"b" * 4 * KIB)
    assert bytes(view) == b"a" * 4 * KIB
    assert await contents(pages) == b"b" * 4 * KIB
    assert room.memory_bytes == 4 * KIB
    pages.truncate(0)
    assert room.memory_bytes == 0
    pages.write_now(4 * KIB, b"c" * KIB)
    assert room.memory_bytes == KIB
    assert await contents(pages) == bytes(4 * KIB) + b"c" * KIB


async def test_what_is_written_while_a_range_is_spilled_stays(
    pages: Pages, spill: SlowSpill, room: Room
) -> None:
    pages.write_now(0, b"a" * 64 * KIB)
    pages.write_now(64 * KIB, b"b" * 64 * KIB)
    spill.go.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.spill_range, 0, 128 * KIB)
        await trio.testing.wait_all_tasks_blocked(0.02)
        pages.write_now(10, b"new")
        pages.truncate(100 * KIB)
        spill.go.set()
    expected = bytearray(b"a" * 64 * KIB + b"b" * 36 * KIB)
    expected[10:13] = b"new"
    assert await contents(pages) == bytes(expected)
    assert kinds(pages) == [
        (0, 10, Kind.SPILLED),
        (10, 13, Kind.DIRTY),
        (13, 100 * KIB, Kind.SPILLED),
    ]
    assert room.disk_bytes == 100 * KIB - 3
    assert room.memory_bytes == 3


async def test_a_spill_file_stays_while_somebody_reads_it(pages: Pages, tmp_path: Path) -> None:
    pages.write_now(0, b"a" * KIB)
    await pages.spill_range(0, KIB)
    async with reading(pages, 0, KIB) as extents:
        pages.settle([(0, KIB)], 0)  # a save has ended: the base has it all
        await pages.drop_spill()
        assert [extent.kind for extent in extents] == [Kind.SPILLED]
        assert await pages.read_spilled(0, KIB) == b"a" * KIB
    assert os.listdir(tmp_path) == [], "the last reader removes it"


async def test_nobody_writes_over_frozen_spilled_bytes(
    pages: Pages, spill: SlowSpill, room: Room
) -> None:
    fill_memory(room)
    await pages.write(0, b"a" * 8 * KIB)
    assert kinds(pages) == [(0, 8 * KIB, Kind.SPILLED)]
    async with trio.open_nursery() as nursery, pages.frozen(0, 4 * KIB) as extents:
        assert list(extents) == [Extent(0, 4 * KIB, Kind.SPILLED)]
        nursery.start_soon(pages.write, 2 * KIB, b"b" * KIB)
        await pages.write(5 * KIB, b"c" * KIB)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert spill.read(0, 4 * KIB) == b"a" * 4 * KIB
    assert spill.read(2 * KIB, KIB) == b"b" * KIB
    expected = b"a" * 2 * KIB + b"b" * KIB + b"a" * 2 * KIB + b"c" * KIB + b"a" * 2 * KIB
    assert await contents(pages) == expected


async def test_a_map_is_frozen_between_writes_to_the_spill_file(
    pages: Pages, spill: SlowSpill, room: Room
) -> None:
    fill_memory(room)
    await pages.write(0, b"a" * KIB)
    spill.go.clear()
    frozen: list[bytes] = []

    async def freeze() -> None:
        async with pages.frozen(0, KIB):
            frozen.append(spill.read(0, KIB))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.write, 0, b"b" * KIB)
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.start_soon(freeze)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not frozen
        spill.go.set()
    assert frozen == [b"b" * KIB]


async def test_spilling_does_not_wait_for_a_frozen_range(
    pages: Pages, spill: SlowSpill, room: Room
) -> None:
    taken = fill_memory(room)
    await pages.write(0, b"a" * KIB)
    room.give_memory(taken)
    pages.write_now(KIB, b"b" * KIB)
    async with pages.frozen(0, 2 * KIB):
        await pages.spill_range(0, 2 * KIB)
        assert kinds(pages) == [(0, KIB, Kind.SPILLED), (KIB, 2 * KIB, Kind.DIRTY)]
    await pages.spill_range(0, 2 * KIB)
    assert kinds(pages) == [(0, 2 * KIB, Kind.SPILLED)]


async def test_filling_leaves_what_was_written(pages: Pages, room: Room) -> None:
    pages.rest_on_base(8 * KIB)
    pages.write_now(KIB, b"new")
    await pages.fill(0, b"o" * 4 * KIB)
    fill_memory(room)
    await pages.fill(4 * KIB, b"p" * 4 * KIB)
    expected = bytearray(b"o" * 4 * KIB + b"p" * 4 * KIB)
    expected[KIB : KIB + 3] = b"new"
    assert await contents(pages) == bytes(expected)
    assert room.disk_bytes == 4 * KIB


async def test_filling_on_disk_does_not_undo_a_write_of_the_same_moment(
    pages: Pages, spill: SlowSpill, room: Room
) -> None:
    pages.rest_on_base(4 * KIB)
    taken = fill_memory(room)
    spill.go.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.fill, 0, b"o" * 4 * KIB)
        await trio.testing.wait_all_tasks_blocked(0.02)
        room.give_memory(taken)
        pages.write_now(100, b"new")
        spill.go.set()
    expected = bytearray(b"o" * 4 * KIB)
    expected[100:103] = b"new"
    assert await contents(pages) == bytes(expected)
    assert room.disk_bytes == 4 * KIB - 3


async def test_a_full_disk_changes_nothing(pages: Pages, spill: SlowSpill, room: Room) -> None:
    pages.write_now(0, b"a" * 4 * KIB)
    spill.failure = NoSpace("full")
    with pytest.raises(NoSpace):
        await pages.spill_range(0, 4 * KIB)
    taken = fill_memory(room)
    with pytest.raises(NoSpace):
        await pages.write(0, b"b" * KIB)
    assert room.disk_bytes == 0
    assert await contents(pages) == b"a" * 4 * KIB
    room.give_memory(taken)
    await pages.discard()
    assert room.memory_bytes == 0


async def test_a_cancelled_writer_gives_its_disk_space_back(pages: Pages, room: Room) -> None:
    fill_memory(room)
    await pages.write(0, b"a" * KIB)
    async with pages.frozen(0, KIB):
        with trio.move_on_after(0.02):
            await pages.write(0, b"b" * KIB)
    assert room.disk_bytes == KIB
    assert await contents(pages) == b"a" * KIB


async def test_written_bytes_leave_memory_to_readers(room: Room) -> None:
    assert fill_memory(room) == 768 * KIB


async def test_clean_bytes_are_dropped_oldest_first(room: Room, tmp_path: Path) -> None:
    kept = []
    for number in range(3):
        spill = SpillFile(tmp_path, str(number).lower, Stages())
        pages = Pages(room, spill, trio.CapacityLimiter(1))
        pages.write_now(0, bytes(100 * KIB))
        pages.settle([(0, 100 * KIB)], 200 * KIB)
        kept.append(pages)
    found = [next(iter(pages.extents)).kind for pages in kept]
    assert found == [Kind.BASE, Kind.CLEAN, Kind.CLEAN]
    assert room.memory_bytes == 200 * KIB
