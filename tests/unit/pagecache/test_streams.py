"""One stream: bytes are readable as they arrive, and a stream that is too far ahead waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from bucketfs.errors import Transient
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.buffers import Buffers
from bucketfs.pagecache.streams import Stream

KIB = 1 << 10
CHUNK = 64 * KIB


def stream_of(
    end: int, *, limit: int | None = None, memory: int = 16 * CHUNK, pause_s: float = 5.0
) -> tuple[Stream, Budget]:
    """Return a stream over bytes 0 to `end` and the budget that its chunks are counted in."""
    budget = Budget(memory)
    buffers = Buffers(budget, CHUNK)
    return Stream(0, end, end if limit is None else limit, buffers=buffers, pause_s=pause_s), budget


def fill(stream: Stream, value: int = 7, most: int = 1 << 40) -> int:
    """Put bytes of `value` into the stream, as a store does, until it wants no more."""
    total = 0
    while total < most and (room := stream.room()):
        count = min(len(room), most - total)
        room[:count] = bytes([value]) * count
        stream.advance(count)
        total += count
    return total


async def in_thread(work: Callable[[], int]) -> int:
    return await trio.to_thread.run_sync(work)


async def test_bytes_are_readable_before_the_request_is_over() -> None:
    stream, _ = stream_of(4 * CHUNK)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.wait, 100, 200)
            await trio.testing.wait_all_tasks_blocked()
            await in_thread(lambda: fill(stream, most=200))
    assert not stream.is_finished
    assert b"".join(stream.views(100, 200)) == bytes([7]) * 100


async def test_views_over_a_chunk_border_come_in_two_pieces() -> None:
    stream, _ = stream_of(2 * CHUNK)
    fill(stream)
    views = stream.views(CHUNK - 10, CHUNK + 5)
    assert [len(view) for view in views] == [10, 5]
    assert all(view.readonly for view in views)


async def test_in_trios_thread_a_stream_ahead_of_its_reader_ends_early() -> None:
    stream, _ = stream_of(10 * CHUNK, limit=2 * CHUNK)
    assert fill(stream) == 2 * CHUNK
    assert stream.was_ended_early
    assert stream.holds(2 * CHUNK - 1)
    assert not stream.holds(2 * CHUNK)


async def test_in_a_worker_thread_it_waits_for_its_reader() -> None:
    stream, _ = stream_of(4 * CHUNK, limit=CHUNK)
    filled: list[int] = []

    async def carry_out() -> None:
        filled.append(await in_thread(lambda: fill(stream)))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_out)
            await stream.wait(0, CHUNK)
            assert stream.front == CHUNK
            stream.allow(3 * CHUNK)
            await stream.wait(CHUNK, 3 * CHUNK)
            assert filled == []
            # Nobody allowed the last chunk, but somebody waits for its bytes.
            await stream.wait(3 * CHUNK, 4 * CHUNK)
    assert filled == [4 * CHUNK]
    assert not stream.was_ended_early


async def test_a_stream_whose_reader_stays_away_gives_its_connection_up() -> None:
    stream, _ = stream_of(4 * CHUNK, limit=CHUNK, pause_s=0.05)
    with trio.fail_after(5):
        assert await in_thread(lambda: fill(stream)) == CHUNK
    assert stream.was_ended_early


async def test_stop_ends_a_waiting_stream_at_once() -> None:
    stream, _ = stream_of(4 * CHUNK, limit=CHUNK, pause_s=60.0)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, lambda: fill(stream))
            await stream.wait(0, CHUNK)
            stream.stop()


async def test_a_failed_request_raises_for_those_whose_bytes_did_not_come() -> None:
    stream, _ = stream_of(4 * CHUNK)
    outcome: dict[str, object] = {}

    async def reader(name: str, end: int) -> None:
        try:
            await stream.wait(0, end)
            outcome[name] = len(b"".join(stream.views(0, end)))
        except Transient as exc:
            outcome[name] = exc.key

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, "lucky", 50)
        nursery.start_soon(reader, "unlucky", 500)
        await trio.testing.wait_all_tasks_blocked()
        fill(stream, most=100)
        stream.finish(Transient("reset", key="k"))
    assert outcome == {"lucky": 50, "unlucky": "k"}


async def test_a_cancelled_wait_leaves_the_others_waiting() -> None:
    stream, _ = stream_of(CHUNK)
    with trio.move_on_after(0):
        await stream.wait(0, 10)
    assert not stream.is_waited_for
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait, 0, 20)
        await trio.testing.wait_all_tasks_blocked()
        fill(stream)
    assert stream.front == CHUNK


async def test_dropped_chunks_go_back_but_views_stay_valid() -> None:
    stream, budget = stream_of(8 * CHUNK)
    fill(stream, value=3)
    (kept,) = stream.views(0, 10)
    stream.drop_before(2 * CHUNK)
    assert not stream.holds(0)
    assert stream.holds(2 * CHUNK)
    stream.finish(None)
    stream.drop_all()
    assert bytes(kept) == bytes([3]) * 10
    assert budget.used_bytes <= 3 * CHUNK, "only the few chunks kept for reuse may stay"


async def test_what_a_task_waits_for_is_not_dropped() -> None:
    stream, _ = stream_of(4 * CHUNK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait, 10, 3 * CHUNK)
        await trio.testing.wait_all_tasks_blocked()
        fill(stream, most=2 * CHUNK)
        stream.drop_before(2 * CHUNK)
        assert stream.holds(10)
        fill(stream)


async def test_without_memory_a_waiting_reader_gets_its_minimum() -> None:
    stream, budget = stream_of(4 * CHUNK, memory=CHUNK)
    budget.overdraw(CHUNK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait, 0, 100)
        await trio.testing.wait_all_tasks_blocked()
        assert fill(stream) == CHUNK
    assert stream.was_short_of_memory
    assert budget.used_bytes == 2 * CHUNK


async def test_without_memory_reading_ahead_gives_up() -> None:
    stream, budget = stream_of(4 * CHUNK, memory=CHUNK)
    budget.overdraw(CHUNK)
    with trio.fail_after(5):
        assert await in_thread(lambda: fill(stream)) == 0
    assert budget.used_bytes == CHUNK


async def test_a_pinned_read_refuses_to_begin_anew() -> None:
    stream, _ = stream_of(CHUNK)
    with pytest.raises(RuntimeError, match="anew"):
        stream.reset()


def test_a_buffer_is_used_again_only_when_nobody_looks_at_it() -> None:
    buffers = Buffers(Budget(4 * CHUNK), CHUNK)
    first = buffers.acquire(CHUNK)
    assert first is not None
    view = memoryview(first)
    buffers.release(first)
    second = buffers.acquire(CHUNK)
    assert second is not first
    view.release()
    assert second is not None
    buffers.release(second)
    assert buffers.acquire(CHUNK) is second


def test_closed_buffers_give_everything_back() -> None:
    budget = Budget(4 * CHUNK)
    buffers = Buffers(budget, CHUNK)
    out, kept = buffers.acquire(CHUNK), buffers.acquire(CHUNK)
    assert out is not None
    assert kept is not None
    buffers.release(kept)
    buffers.close()
    assert budget.used_bytes == CHUNK
    buffers.release(out)
    assert budget.used_bytes == 0
