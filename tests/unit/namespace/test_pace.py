"""More requests at once where the server has time for them, and no more where it has not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bucketfs.namespace.pace import Pace


async def run(pace: Pace, count: int, server: trio.CapacityLimiter, took_s: float) -> int:
    """Send requests to a server of so many hands; return the most that were under way."""
    under_way = most = 0

    async def ask() -> None:
        nonlocal under_way, most
        async with pace:
            under_way += 1
            most = max(most, under_way)
            async with server:
                await trio.sleep(took_s)
            under_way -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
    return most


async def test_a_far_server_that_is_idle_gets_as_many_as_may_be(autojump_clock: MockClock) -> None:
    pace = Pace(16, 64)
    began_s = trio.current_time()
    assert await run(pace, 1000, trio.CapacityLimiter(1000), 0.1) == 64
    assert pace.width == 64
    # With 16 it were 63 round trips.
    assert trio.current_time() - began_s <= 0.1 * 25


async def test_it_begins_with_twice_as_many_each_round_trip(autojump_clock: MockClock) -> None:
    pace = Pace(16, 256)
    began_s = trio.current_time()
    await run(pace, 1000, trio.CapacityLimiter(1000), 0.1)
    assert pace.width == 256
    assert trio.current_time() - began_s <= 0.1 * 8  # 16, 32, 64, 128, 256 ...


@pytest.mark.parametrize("hands", [1, 4])
async def test_a_busy_server_gets_no_more_than_the_least(
    autojump_clock: MockClock, hands: int
) -> None:
    pace = Pace(16, 64)
    await run(pace, 200, trio.CapacityLimiter(hands), 0.01)
    assert await run(pace, 400, trio.CapacityLimiter(hands), 0.01) <= 20
    assert pace.width <= 20


async def test_a_server_that_becomes_busy_gets_fewer(autojump_clock: MockClock) -> None:
    pace = Pace(16, 64)
    await run(pace, 500, trio.CapacityLimiter(1000), 0.1)
    assert pace.width == 64
    await run(pace, 2000, trio.CapacityLimiter(8), 0.1)
    assert pace.width < 32


async def test_failures_say_nothing_and_give_their_place_back(autojump_clock: MockClock) -> None:
    pace = Pace(1, 2)
    for _ in range(5):
        with pytest.raises(KeyError):
            async with pace:
                raise KeyError
    assert pace.width == 1
    with trio.fail_after(1):
        async with pace:
            pass
