"""Shared requests: begun for one, answered to all, and refused only to those who are refused."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause
from bucketfs.errors import CallerRefused
from bucketfs.namespace.flights import Flights


class Nobody:
    """Admits nobody."""

    def admits(self, cause: Cause) -> bool:
        return False

    def check_open(self, pid: int, *, is_writer: bool = False) -> None:
        raise CallerRefused("nobody")


def crawler() -> Cause:
    return Cause(1, admission=Nobody())


async def test_a_crawler_begins_nothing_and_refuses_nobody_else(nursery: trio.Nursery) -> None:
    flights, asked = Flights(nursery), 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        causes.check_may_ask()
        await trio.lowlevel.checkpoint()
        return "answer"

    with causes.acting(crawler()):
        with pytest.raises(CallerRefused):
            await flights.join("topic", ask)
        flights.launch("topic", ask)
    assert not flights.is_under_way("topic")
    assert await flights.join("topic", ask) == "answer"
    assert asked == 1


async def test_a_crawler_may_share_what_others_asked_for(nursery: trio.Nursery) -> None:
    flights, go = Flights(nursery), trio.Event()

    async def ask() -> str:
        await go.wait()
        return "answer"

    flights.launch("topic", ask)
    nursery.start_soon(set_soon, go)
    with causes.acting(crawler()):
        assert await flights.join("topic", ask) == "answer"


async def set_soon(event: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event.set()


async def test_whoever_joins_has_waited(nursery: trio.Nursery) -> None:
    flights, cause = Flights(nursery), Cause(1)

    async def ask() -> int:
        return 1

    flights.launch("topic", ask)
    with causes.acting(cause):
        await flights.join("topic", ask)
    assert cause.has_waited
