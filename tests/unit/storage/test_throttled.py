"""The throttle and the figures."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bucketfs.errors import Transient
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.throttled import LOOKS, Lane, Throttled, looks_at_once
from tests.unit.storage.failing import Failing


async def test_no_more_than_so_many_at_once(autojump_clock: MockClock) -> None:
    lane = Lane(3)
    running = most = 0
    began_s = trio.current_time()

    async def call() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lane.carry, call)
    assert most == 3
    assert trio.current_time() - began_s == pytest.approx(4, abs=0.1)


async def refuse() -> None:
    """Fail as a server that is asked too much."""
    await trio.lowlevel.checkpoint()
    raise Transient("slow down", throttled=True)


async def test_it_yields_and_recovers(autojump_clock: MockClock) -> None:
    lane = Lane(16)
    for expected in (8, 4, 2, 1, 1):
        with pytest.raises(Transient):
            await lane.carry(refuse)
        assert lane.width == expected
        await trio.sleep(2)
    for _ in range(200):
        await lane.carry(trio.lowlevel.checkpoint)
    assert lane.width == 16


async def test_refusals_of_one_moment_count_once(autojump_clock: MockClock) -> None:
    lane = Lane(16)
    for _ in range(5):
        with pytest.raises(Transient):
            await lane.carry(refuse)
    assert lane.width == 8


async def test_other_failures_do_not_slow_down(autojump_clock: MockClock) -> None:
    failing = Failing(MemoryStore())
    store = Throttled(failing, 4)
    failing.plan("stat")
    with pytest.raises(Transient):
        await store.stat("a")
    assert store.looks.width == 4 * LOOKS


def test_there_are_never_more_looks_than_files_may_be_open() -> None:
    assert [looks_at_once(n) for n in (1, 16, 64, 512)] == [LOOKS, 256, 256, 512]


async def test_looks_have_a_wider_lane(autojump_clock: MockClock) -> None:
    store = Throttled(MemoryStore(), 2)
    await store.write("a", BytesBody(b"x"), ObjectAttributes())
    held = trio.Event()
    async with trio.open_nursery() as nursery:
        for lane in (store.reads, store.others):
            for _ in range(2):
                nursery.start_soon(lane.carry, held.wait)
        for _ in range(2 * LOOKS - 1):
            nursery.start_soon(store.looks.carry, held.wait)
        await trio.sleep(1)
        with trio.fail_after(5):
            await store.stat("a")
        held.set()


async def test_reads_that_wait_do_not_stop_writes(autojump_clock: MockClock) -> None:
    store = Throttled(MemoryStore(), 1)
    held = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.reads.carry, held.wait)
        await trio.sleep(1)
        with trio.fail_after(5):
            await store.write("a", BytesBody(b"x"), ObjectAttributes())
        held.set()
