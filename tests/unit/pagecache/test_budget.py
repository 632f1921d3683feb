"""The memory budget: never more than its limit, nobody forgotten, cancellation leaves no trace."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from bucketfs.pagecache.budget import Budget


def test_try_take_stops_at_the_limit() -> None:
    budget = Budget(10)
    assert budget.try_take(6)
    assert not budget.try_take(5)
    assert budget.try_take(4)
    assert budget.used_bytes == 10


def test_a_request_over_the_limit_is_granted_when_nothing_else_is_used() -> None:
    budget = Budget(10)
    assert budget.try_take(11)
    assert not budget.try_take(1)


def test_giving_more_than_was_taken_is_refused() -> None:
    budget = Budget(10)
    budget.overdraw(3)
    with pytest.raises(ValueError, match="only 3 taken"):
        budget.give(4)
    assert budget.used_bytes == 3


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Budget(0)


async def test_take_asks_reclaimers_for_what_is_missing() -> None:
    budget = Budget(10)
    await budget.take(8)
    asked: list[int] = []

    def reclaimer(count: int) -> int:
        asked.append(count)
        budget.give(count)
        return count

    budget.add_reclaimer(reclaimer)
    await budget.take(5)
    assert asked == [3]
    assert budget.used_bytes == 10
    budget.remove_reclaimer(reclaimer)
    assert budget.reclaim(1) == 0


async def test_waiters_are_served_in_order_and_before_try_take(
    autojump_clock: trio.testing.MockClock,
) -> None:
    budget = Budget(10)
    await budget.take(10)
    order: list[str] = []

    async def taker(name: str, count: int) -> None:
        await budget.take(count)
        order.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(taker, "large", 8)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(taker, "small", 2)
        await trio.testing.wait_all_tasks_blocked()
        budget.give(4)
        await trio.testing.wait_all_tasks_blocked()
        assert order == []
        assert not budget.try_take(1), "the small one must not overtake the large one"
        budget.give(4)
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["large"]
        budget.give(2)
    assert order == ["large", "small"]
    assert budget.used_bytes == 10


async def test_a_thread_that_gives_wakes_a_task() -> None:
    budget = Budget(4)
    await budget.take(4)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(budget.take, 4)
            await trio.testing.wait_all_tasks_blocked()
            thread = threading.Thread(target=budget.give, args=(4,))
            thread.start()
    thread.join()
    assert budget.used_bytes == 4


@pytest.mark.parametrize("is_granted", [False, True])
async def test_a_cancelled_wait_takes_nothing(is_granted: bool) -> None:
    budget = Budget(4)
    await budget.take(4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.take, 3)
        await trio.testing.wait_all_tasks_blocked()
        if is_granted:
            # Granted in the same step in which the task is cancelled, before it could run.
            budget.give(4)
        nursery.cancel_scope.cancel()
    assert budget.used_bytes in ({0, 3} if is_granted else {4})
    used = budget.used_bytes
    budget.give(used)
    assert budget.try_take(4), "nobody may be left in the queue"


async def test_bytes_that_became_clean_are_reclaimed_for_those_who_wait() -> None:
    budget = Budget(10)
    await budget.take(10)
    clean = 0

    def reclaimer(count: int) -> int:
        freed = min(count, clean)
        budget.give(freed)
        return freed

    budget.add_reclaimer(reclaimer)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(budget.take, 4)
            await trio.testing.wait_all_tasks_blocked()
            clean = 6
            budget.became_clean()
    assert budget.used_bytes == 10


async def test_threads_that_ask_for_memory_at_once_cause_one_reclaim() -> None:
    budget = Budget(10)
    asked: list[int] = []

    def reclaimer(count: int) -> int:
        asked.append(count)
        return 0

    budget.add_reclaimer(reclaimer)
    token = trio.lowlevel.current_trio_token()
    for _ in range(5):
        budget.reclaim_soon(3, token)
    await trio.testing.wait_all_tasks_blocked()
    assert asked == [3]


async def test_a_task_that_waits_asks_again_for_what_became_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    budget = Budget(10)
    await budget.take(10)
    idle_after_s = trio.current_time() + 3

    def reclaimer(count: int) -> int:
        if trio.current_time() < idle_after_s:
            return 0
        budget.give(count)
        return count

    budget.add_reclaimer(reclaimer)
    with trio.fail_after(10):
        await budget.take(4)
    assert budget.used_bytes == 10
