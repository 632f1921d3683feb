"""Reading an object: the right bytes, few requests, one version, bounded memory."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause
from bucketfs.errors import (
    CallerRefused,
    ConfusedServer,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    Transient,
)
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.reader import ObjectReader
from bucketfs.pagecache.window import ReadSettings
from bucketfs.storage.interface import ObjectInfo, ObjectStore, Sink, Version

KIB = 1 << 10
MIB = 1 << 20
FIRST_WINDOW = MIB + 128 * KIB
BLOCK = random.Random(1).randbytes(MIB + 13)


def content_of(start: int, length: int) -> bytes:
    """Return bytes `start` to `start + length` of the object that `FakeStore` has."""
    phase = start % len(BLOCK)
    return (BLOCK * (length // len(BLOCK) + 2))[phase : phase + length]


class FakeStore:
    """A store with one object of known bytes; counts requests and fails on command."""

    def __init__(self, size: int, *, has_threads: bool, pause_s: float = 0.0) -> None:
        self.info = ObjectInfo("k", size, Version("v1"), 0)
        self.requests: list[tuple[int, int]] = []
        self.failures: list[StorageError] = []
        self.answered_size = size
        self.gate: trio.Event | None = None
        self.at_once = self.most_at_once = 0
        self._has_threads = has_threads
        self._pause_s = pause_s

    async def read_range(
        self, key: str, start: int, length: int, sink: Sink, if_version: Version | None = None
    ) -> ObjectInfo:
        self.requests.append((start, length))
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if key != self.info.key:
            raise ObjectNotFound("no such object", key=key)
        if if_version != self.info.version:
            raise ObjectChanged("another version", key=key)
        end = min(start + length, self.answered_size)
        if self._has_threads:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await trio.to_thread.run_sync(self._send, start, end, sink)
            self.at_once -= 1
        else:
            self._send(start, end, sink)
            await trio.lowlevel.checkpoint()
        return self.info

    def _send(self, start: int, end: int, sink: Sink) -> None:
        while (position := start + sink.received) < end and (room := sink.room()):
            count = min(len(room), end - position, 200 * KIB)
            room[:count] = content_of(position, count)
            sink.advance(count)
            if self._pause_s:
                time.sleep(self._pause_s)

    @property
    def requested_bytes(self) -> int:
        return sum(length for _, length in self.requests)


@asynccontextmanager
async def reading(
    store: FakeStore, memory: int = 64 * MIB, data: bytes | None = None
) -> AsyncIterator[ObjectReader]:
    """Yield a reader of the store's object; nothing of the budget may be taken afterwards."""
    budget = Budget(memory)
    async with trio.open_nursery() as nursery:
        reader = ObjectReader(
            cast(ObjectStore, store),
            store.info,
            budget=budget,
            nursery=nursery,
            settings=ReadSettings(pause_s=0.2),
            data=data,
        )
        yield reader
        reader.close()
    assert budget.used_bytes == 0


async def checked(reader: ObjectReader, start: int, length: int) -> None:
    """Read a range and compare it with what the object holds."""
    with trio.fail_after(20):
        pieces = await reader.read(start, length)
    assert b"".join(pieces) == content_of(start, length)


@pytest.mark.parametrize("has_threads", [False, True])
@pytest.mark.parametrize("piece", [128 * KIB, MIB, 100_000])
async def test_sequential_reading_takes_few_requests_and_each_byte_once(
    has_threads: bool, piece: int
) -> None:
    store = FakeStore(40 * MIB + 77, has_threads=has_threads)
    async with reading(store, 256 * MIB) as reader:
        for start in range(0, store.info.size, piece):
            await checked(reader, start, min(piece, store.info.size - start))
    if has_threads:
        assert len(store.requests) <= 12
        assert store.requested_bytes == store.info.size


async def test_slow_connections_are_used_side_by_side() -> None:
    for _ in range(5):  # on a busy machine more streams may really bring no more
        store = FakeStore(48 * MIB, has_threads=True, pause_s=0.005)
        async with reading(store, 256 * MIB) as reader:
            for start in range(0, store.info.size, MIB):
                await checked(reader, start, MIB)
        assert store.most_at_once <= ReadSettings().concurrency
        assert store.requested_bytes <= store.info.size + MIB
        if store.most_at_once >= 3:
            return
    raise AssertionError("one connection at a time, however slow it is")


async def test_data_that_is_here_already_is_never_requested() -> None:
    store = FakeStore(5000, has_threads=False)
    async with reading(store, data=content_of(0, 5000)) as reader:
        await checked(reader, 10, 4000)
    assert store.requests == []


async def test_a_small_object_is_fetched_by_one_request() -> None:
    store = FakeStore(900 * KIB, has_threads=True)
    async with reading(store) as reader:
        for start in (500 * KIB, 0, 880 * KIB, 128 * KIB):
            await checked(reader, start, 10 * KIB)
    assert store.requests == [(0, 900 * KIB)]


async def test_random_reads_fetch_the_pages_asked_for() -> None:
    store = FakeStore(512 * MIB, has_threads=True)
    chooser = random.Random(3)
    async with reading(store) as reader:
        for _ in range(50):
            await checked(reader, chooser.randrange(MIB, 511 * MIB), 4 * KIB)
    assert len(store.requests) == 50
    assert store.requested_bytes <= 50 * 8 * KIB


async def test_a_read_near_the_end_brings_along_what_is_before_it() -> None:
    size = 50 * MIB + 77
    store = FakeStore(size, has_threads=True)
    async with reading(store) as reader:
        await checked(reader, size - 8, 8)
        await checked(reader, size - 60_000, 50_000)
        await checked(reader, size - 100_000, 1000)
        assert len(store.requests) == 1
        assert 128 * KIB <= store.requested_bytes <= 136 * KIB
        await checked(reader, size - 200_000, 1000)
        assert len(store.requests) == 2
    asked = sorted((start, start + length) for start, length in store.requests)
    assert asked[0][1] <= asked[1][0], "nothing twice"


async def test_parallel_reads_of_the_same_bytes_share_one_request() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    store.gate = trio.Event()
    async with reading(store) as reader:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(checked, reader, 50 * MIB, 64 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            store.gate.set()
        asked = [request for request in store.requests if request[0] == 50 * MIB]
    assert len(asked) == 1


async def test_reordered_parallel_reads_get_their_bytes() -> None:
    store = FakeStore(24 * MIB, has_threads=True)
    pieces = list(range(0, store.info.size, 128 * KIB))
    chooser = random.Random(9)
    async with reading(store) as reader:
        for first in range(0, len(pieces), 8):
            group = pieces[first : first + 8]
            chooser.shuffle(group)
            async with trio.open_nursery() as nursery:
                for start in group:
                    nursery.start_soon(checked, reader, start, 128 * KIB)
    assert store.requested_bytes <= 2 * store.info.size


async def test_two_sequential_readers_of_one_object_are_told_apart() -> None:
    store = FakeStore(200 * MIB, has_threads=True)
    async with reading(store) as reader:
        for step in range(0, 16 * MIB, 512 * KIB):
            await checked(reader, step, 512 * KIB)
            await checked(reader, 100 * MIB + step, 512 * KIB)
    assert len(store.requests) <= 20


@pytest.mark.parametrize("has_threads", [False, True])
async def test_many_readers_progress_in_a_small_budget(has_threads: bool) -> None:
    size, memory, piece = 2 * MIB, 4 * MIB, 128 * KIB
    stores = [FakeStore(size, has_threads=has_threads) for _ in range(40)]
    budget = Budget(memory)
    peak = 0

    async def read_all(reader: ObjectReader) -> None:
        nonlocal peak
        for start in range(0, size, piece):
            await checked(reader, start, piece)
            peak = max(peak, budget.used_bytes)
        reader.close()

    with trio.fail_after(30):
        async with trio.open_nursery() as requests, trio.open_nursery() as nursery:
            for store in stores:
                reader = ObjectReader(
                    cast(ObjectStore, store), store.info, budget=budget, nursery=requests
                )
                nursery.start_soon(read_all, reader)
    assert budget.used_bytes == 0
    assert peak <= memory + 40 * 2 * piece


async def test_a_replaced_object_is_an_error_for_ever() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    async with reading(store) as reader:
        await checked(reader, 50 * MIB, 4 * KIB)
        store.info = ObjectInfo("k", 100 * MIB, Version("v2"), 0)
        with pytest.raises(ObjectChanged):
            await reader.read(80 * MIB, 4 * KIB)
        count = len(store.requests)
        with pytest.raises(ObjectChanged):
            await reader.read(50 * MIB, 4 * KIB)
        assert len(store.requests) == count


async def test_a_deleted_object_is_a_version_that_is_gone() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    async with reading(store) as reader:
        store.failures.append(ObjectNotFound("gone", key="k"))
        with pytest.raises(ObjectChanged, match="deleted"):
            await reader.read(0, 4 * KIB)
        await checked(reader, 0, 4 * KIB)


async def test_a_failed_request_is_tried_again_by_the_next_read() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    async with reading(store) as reader:
        store.failures.append(Transient("reset", key="k"))
        with pytest.raises(Transient, match="reset"):
            await reader.read(0, 4 * KIB)
        await checked(reader, 0, 4 * KIB)


async def test_a_short_answer_is_a_confused_server() -> None:
    store = FakeStore(3 * MIB, has_threads=True)
    store.answered_size = 2 * MIB
    async with reading(store) as reader:
        await checked(reader, 2 * MIB - 4 * KIB, 4 * KIB)
        with pytest.raises(ConfusedServer):
            await reader.read(2 * MIB, 4 * KIB)


async def test_a_moved_object_is_read_under_its_new_key() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    async with reading(store) as reader:
        await checked(reader, 0, 4 * KIB)
        store.info = ObjectInfo("new", 100 * MIB, Version("v9"), 0)
        reader.moved(store.info)
        await checked(reader, 50 * MIB, 4 * KIB)


async def test_a_read_that_was_asked_before_the_move_is_asked_again() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    store.gate = trio.Event()
    async with reading(store) as reader, trio.open_nursery() as nursery:
        nursery.start_soon(checked, reader, 50 * MIB, 4 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        store.info = ObjectInfo("new", 100 * MIB, Version("v9"), 0)
        reader.moved(store.info)
        store.gate.set()


async def test_a_cancelled_read_leaves_the_shared_request_to_the_others() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    store.gate = trio.Event()
    async with reading(store) as reader:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(checked, reader, 0, 4 * KIB)
            with trio.move_on_after(0.01) as scope:
                await reader.read(0, 4 * KIB)
            store.gate.set()
        assert scope.cancelled_caught
        assert store.requests == [(0, FIRST_WINDOW)]


async def test_closing_ends_a_waiting_stream_and_its_readers() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    store.gate = trio.Event()
    ended: list[Callable[[], object] | str] = []

    async def read_until_closed(reader: ObjectReader) -> None:
        try:
            await reader.read(0, 4 * KIB)
        except trio.ClosedResourceError:
            ended.append("closed")

    with trio.fail_after(5):
        async with reading(store) as reader, trio.open_nursery() as nursery:
            nursery.start_soon(read_until_closed, reader)
            await trio.testing.wait_all_tasks_blocked()
            reader.close()
            store.gate.set()
    assert ended == ["closed"]


async def test_what_an_idle_reader_fetched_ahead_is_given_to_others() -> None:
    store = FakeStore(100 * MIB, has_threads=True)
    budget = Budget(16 * MIB)
    async with trio.open_nursery() as nursery:
        reader = ObjectReader(cast(ObjectStore, store), store.info, budget=budget, nursery=nursery)
        await checked(reader, 0, MIB)
        with trio.fail_after(10):
            await budget.take(16 * MIB)
        budget.give(16 * MIB)
        await checked(reader, MIB, MIB)
        reader.close()
    assert budget.used_bytes == 0


@pytest.mark.allows_warnings
async def test_a_bug_in_the_store_reaches_the_reader_and_not_the_nursery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FakeStore(100 * MIB, has_threads=False)
    async with reading(store) as reader:
        monkeypatch.setattr(store, "_send", None)
        with pytest.raises(StorageError, match="bug"):
            await reader.read(0, 4 * KIB)


async def test_a_range_outside_the_object_is_refused() -> None:
    async with reading(FakeStore(5 * MIB, has_threads=False)) as reader:
        with pytest.raises(ValueError, match="of an object of"):
            await reader.read(5 * MIB - 1, 2)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 20 * MIB),
    asked=st.lists(st.tuples(st.integers(0, 20 * MIB), st.integers(1, MIB)), max_size=25),
    memory=st.sampled_from([MIB, 8 * MIB, 64 * MIB]),
)
def test_any_reads_get_the_right_bytes(
    size: int, asked: list[tuple[int, int]], memory: int
) -> None:
    async def read_all() -> None:
        async with reading(FakeStore(size, has_threads=False), memory) as reader:
            for start, length in asked:
                begin = start % size
                await checked(reader, begin, min(length, size - begin))

    trio.run(read_all)


@pytest.mark.parametrize("has_threads", [False, True])
async def test_readers_that_were_served_hold_nothing_of_a_full_budget(has_threads: bool) -> None:
    """Each reads one MiB and stays away, its file open: the next are not to pay for that."""
    budget = Budget(8 * MIB)
    store = FakeStore(4 * MIB, has_threads=has_threads)
    async with trio.open_nursery() as nursery:
        readers = [
            ObjectReader(cast(ObjectStore, store), store.info, budget=budget, nursery=nursery)
            for _ in range(60)
        ]
        for reader in readers:
            assert b"".join(await reader.read(0, MIB)) == content_of(0, MIB)
        for _ in range(100):
            if budget.used_bytes <= budget.limit_bytes + 2 * MIB:
                break
            await trio.sleep(0.05)
        assert budget.used_bytes <= budget.limit_bytes + 2 * MIB
        for reader in readers:
            reader.close()


class Nobody:
    """Admits nobody."""

    def admits(self, cause: Cause) -> bool:
        return False

    def check_open(self, pid: int, *, is_writer: bool = False) -> None:
        raise CallerRefused("nobody")


async def test_who_may_ask_for_nothing_reads_what_is_here() -> None:
    store = FakeStore(20 * MIB, has_threads=True)
    crawler = Cause(1, admission=Nobody())
    async with reading(store, 256 * MIB) as reader:
        await checked(reader, 0, 128 * KIB)
        before = list(store.requests)
        with causes.acting(crawler):
            await checked(reader, 0, 64 * KIB)
            with pytest.raises(CallerRefused):
                await reader.read(15 * MIB, 4 * KIB)
            for start in range(0, FIRST_WINDOW, 128 * KIB):  # it reads on, and nothing runs ahead
                await checked(reader, start, 128 * KIB)
        assert store.requests == before
        await checked(reader, 15 * MIB, 4 * KIB)  # nobody else is refused anything


async def test_a_read_has_waited_if_its_bytes_were_not_here() -> None:
    store = FakeStore(20 * MIB, has_threads=True)
    first, second = Cause(1), Cause(1)
    async with reading(store) as reader:
        with causes.acting(first):
            await checked(reader, 0, 64 * KIB)
        with causes.acting(second):
            await checked(reader, 0, 64 * KIB)
    assert (first.has_waited, second.has_waited) == (True, False)
