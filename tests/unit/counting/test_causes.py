"""Causes: tasks and worker threads have that of whoever began them."""

from __future__ import annotations

import pytest
import trio

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause, Program
from bucketfs.errors import CallerRefused


class Nobody:
    """Admits nobody."""

    def admits(self, cause: Cause) -> bool:
        return False

    def check_open(self, pid: int, *, is_writer: bool = False) -> None:
        raise CallerRefused("nobody")


async def test_tasks_and_threads_inherit_it() -> None:
    mine, other = Cause(1), Cause(2)
    seen: list[int] = []

    async def look() -> None:
        seen.append(causes.current().pid)
        seen.append(await trio.to_thread.run_sync(lambda: causes.current().pid))

    async with trio.open_nursery() as nursery:
        with causes.acting(mine):
            nursery.start_soon(look)
        with causes.acting(other):
            await look()
    assert sorted(seen) == [1, 1, 2, 2]


async def test_work_of_the_mount_has_a_name() -> None:
    seen: list[Program | None] = []

    async def look(name: str) -> None:
        seen.append(causes.current().program)

    await causes.attributed("replay", look, "x")
    assert seen == [Program("mount", "replay")]


async def test_without_a_cause() -> None:
    async def look() -> None:
        causes.note_wait()
        causes.check_may_ask()
        assert causes.current().program == Program("mount", "other")

    with causes.acting(None):  # type: ignore[arg-type]
        await look()


def test_waiting_is_noted() -> None:
    cause = Cause(1)
    with causes.acting(cause):
        assert not cause.has_waited
        causes.note_wait()
    assert cause.has_waited


def test_who_is_not_admitted_may_not_ask() -> None:
    with causes.acting(Cause(1, admission=Nobody())):
        assert not causes.may_ask()
        with pytest.raises(CallerRefused):
            causes.check_may_ask()
    with causes.acting(Cause(1)):
        assert causes.may_ask()
