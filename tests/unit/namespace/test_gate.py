"""Locks on names and trees."""

from __future__ import annotations

import pytest
import trio

from bucketfs.namespace.gate import KeyGate


class Ward:
    """Runs tasks that hold something until they are told to let go."""

    def __init__(self, gate: KeyGate, nursery: trio.Nursery) -> None:
        self.gate = gate
        self.held: list[str] = []
        self._nursery = nursery
        self._ends: dict[str, trio.Event] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    async def want(self, name: str, *paths: str, trees: tuple[str, ...] = ()) -> None:
        """Begin a task that holds `paths` and `trees`, and let it get as far as it can."""
        self._ends[name] = trio.Event()
        self._scopes[name] = trio.CancelScope()

        async def run() -> None:
            with self._scopes[name]:
                async with self.gate.hold(*paths, trees=trees):
                    self.held.append(name)
                    await self._ends[name].wait()

        self._nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()

    async def release(self, name: str) -> None:
        self._ends[name].set()
        await trio.testing.wait_all_tasks_blocked()

    async def cancel(self, name: str) -> None:
        self._scopes[name].cancel()
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def ward(nursery: trio.Nursery) -> Ward:
    return Ward(KeyGate(), nursery)


async def test_one_path_is_held_by_one_task_at_a_time(ward: Ward) -> None:
    await ward.want("first", "a")
    await ward.want("second", "a")
    await ward.want("other", "b")
    assert ward.held == ["first", "other"]
    await ward.release("first")
    assert ward.held == ["first", "other", "second"]


async def test_a_tree_excludes_everything_below_it_and_nothing_beside_it(ward: Ward) -> None:
    await ward.want("tree", "a", trees=("a/",))
    await ward.want("below", "a/b/c")
    await ward.want("beside", "ab")
    await ward.want("inner tree", "a/b", trees=("a/b/",))
    assert ward.held == ["tree", "beside"]
    await ward.release("tree")
    assert ward.held[2:] == ["below"]
    await ward.release("below")
    assert ward.held[3:] == ["inner tree"]


async def test_a_hold_is_taken_whole_or_not_at_all(ward: Ward) -> None:
    await ward.want("one", "a")
    await ward.want("both", "b", "a")
    await ward.want("late", "b")
    assert ward.held == ["one"], "a later wish does not overtake an earlier one for the same path"
    await ward.release("one")
    assert ward.held == ["one", "both"]


async def test_crossed_wishes_do_not_deadlock(ward: Ward) -> None:
    await ward.want("ab", "a", "b")
    await ward.want("ba", "b", "a")
    await ward.release("ab")
    await ward.release("ba")
    assert ward.held == ["ab", "ba"]
    assert ward.gate.is_idle


async def test_a_cancelled_waiter_frees_those_behind_it(ward: Ward) -> None:
    await ward.want("holder", "a")
    await ward.want("cancelled", "a", "b")
    await ward.want("behind", "b")
    await ward.cancel("cancelled")
    assert ward.held == ["holder", "behind"]


async def test_a_cancelled_holder_leaves_no_lock_behind(ward: Ward) -> None:
    await ward.want("holder", "a", trees=("a/",))
    await ward.cancel("holder")
    assert ward.gate.is_idle


async def test_a_waiter_cancelled_at_the_moment_of_its_grant_leaves_no_lock(ward: Ward) -> None:
    await ward.want("holder", "a")
    await ward.want("waiter", "a")
    ward._scopes["waiter"].cancel()
    await ward.release("holder")
    assert ward.gate.is_idle
