"""Workers: calls in threads, no more at once than allowed, and cancelled only before they run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
import trio
import trio.testing

from bucketfs.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(2, "test")
    yield pool
    pool.close()


async def test_what_a_call_returns_or_raises_comes_back(workers: Workers) -> None:
    assert await workers.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 7, 0)
    assert await workers.run(threading.get_ident) != threading.get_ident()


async def test_a_call_sees_the_context_of_its_caller(workers: Workers) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    for value in ("one", "two"):
        variable.set(value)
        assert await workers.run(variable.get) == value


async def test_no_more_run_at_once_than_allowed(workers: Workers) -> None:
    both, let_go = threading.Semaphore(0), threading.Semaphore(0)
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        both.release()
        let_go.acquire()

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(workers.run, work, number)
            await trio.testing.wait_all_tasks_blocked()
        await trio.to_thread.run_sync(both.acquire)
        await trio.to_thread.run_sync(both.acquire)
        assert sorted(begun) == [0, 1]
        let_go.release(6)
    assert sorted(begun) == [0, 1, 2, 3, 4, 5]


async def test_one_whose_turn_did_not_come_can_be_cancelled(workers: Workers) -> None:
    let_go = threading.Semaphore(0)
    made: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(workers.run, let_go.acquire)
            await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.01) as scope:
            await workers.run(made.append, "never")
        assert scope.cancelled_caught
        let_go.release(2)
    await workers.run(made.append, "after it")
    assert made == ["after it"]


async def test_one_that_runs_is_waited_for(workers: Workers) -> None:
    has_begun, let_go, is_done = threading.Event(), threading.Event(), threading.Event()

    def work() -> str:
        has_begun.set()
        let_go.wait()
        is_done.set()
        return "done"

    async def cancel(scope: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(has_begun.wait)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        let_go.set()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel, scope)
            assert await workers.run(work) == "done"
    assert is_done.is_set()


async def test_a_cancelled_caller_makes_no_call(workers: Workers) -> None:
    made: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await workers.run(made.append, "never")
    assert made == []


async def test_its_threads_end() -> None:
    pool = Workers(3, "ending")
    await pool.run(divmod, 1, 1)
    (thread,) = [each for each in threading.enumerate() if each.name == "ending 1"]
    pool.close()
    await trio.to_thread.run_sync(thread.join)
    assert not thread.is_alive()
