"""Draining: what could not be saved at close gets to the bucket later, or is named."""

from __future__ import annotations

from typing import cast

import pytest
import trio

from bucketfs.errors import NoSpace, ReadOnly, Transient
from bucketfs.fuse.door import Door
from bucketfs.fuse.draining import AWAY, FINAL_ROUNDS, HURRIED, RETRY_INTERVAL_S, Drainer, Failure
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.pending import Pending
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

from .fakes import FakeContent, FakeKeeper, FakeTree

WIDTH = 2


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def drainer(tree: FakeTree, keeper: FakeKeeper, door: Door) -> Drainer:
    names = cast("Tree", tree)
    pending = Pending(names)
    return Drainer(pending, Durability(names, keeper, noted=pending), door, concurrency=WIDTH)


def _add_unsaved(tree: FakeTree, inode: int, name: str) -> Node:
    node = tree.add(inode, name)
    node.content = FakeContent(None, b"abc")  # type: ignore[assignment]
    return node


async def test_everything_is_saved(tree: FakeTree, drainer: Drainer) -> None:
    for inode in range(2, 7):
        _add_unsaved(tree, inode, f"f{inode}")
    assert drainer.left() == (5, 15)
    assert await drainer.save_all() == []
    assert sorted(tree.saved) == ["f2", "f3", "f4", "f5", "f6"]
    assert drainer.left() == (0, 0)


async def test_one_file_is_saved(tree: FakeTree, drainer: Drainer) -> None:
    for inode, name in ((2, "a"), (3, "b")):
        tree.root.children[name] = _add_unsaved(tree, inode, name)
    assert drainer.left(["b"]) == (1, 3)
    assert await drainer.save_all(["b"]) == []
    assert tree.saved == ["b"]
    assert drainer.left(["b"]) == drainer.left(["c", "d"]) == (0, 0)
    assert await drainer.save_all(["c", "d"]) == []


async def test_failures_are_named(tree: FakeTree, drainer: Drainer, keeper: FakeKeeper) -> None:
    _add_unsaved(tree, 2, "b\udcff")
    _add_unsaved(tree, 3, "a")
    tree.save_error = Transient("the endpoint is away")
    assert await drainer.save_all() == [
        Failure("/a", "the endpoint is away", True),
        Failure("/b\ufffd", "the endpoint is away", True),
    ]
    assert sorted(keeper.kept) == ["a", "b\udcff"]
    assert drainer.left() == (2, 6)


async def test_what_cannot_be_kept_is_said(
    tree: FakeTree, drainer: Drainer, keeper: FakeKeeper
) -> None:
    _add_unsaved(tree, 2, "a")
    tree.save_error = Transient("away")
    keeper.error = NoSpace("the disk is full")
    assert await drainer.save_all() == [Failure("/a", "away; the disk is full", False)]


async def test_removals_and_directories_are_kept(
    tree: FakeTree, drainer: Drainer, keeper: FakeKeeper
) -> None:
    removed = tree.add(2, "removed")
    removed.is_removed = removed.has_deferred_delete = True
    directory = tree.add(3, "directory", mode=0o40755)
    directory.has_unsaved_attributes = True
    tree.save_error = Transient("away")
    assert await drainer.save_all() == [
        Failure("/directory/", "away", True),
        Failure("/removed", "away", True),
    ]
    assert keeper.kept == ["directory"]


async def test_a_store_that_is_away_is_not_waited_for_by_every_file(
    tree: FakeTree, drainer: Drainer, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    for inode in range(2, 102):
        _add_unsaved(tree, inode, f"f{inode}")

    async def hang(node: Node) -> None:
        await trio.sleep(180)
        raise Transient("no answer")

    tree.save = hang  # type: ignore[method-assign]
    failures = await drainer.save_all()
    assert trio.current_time() < 400
    assert len(failures) == len(set(keeper.kept)) == 100
    tried = [failure for failure in failures if failure.reason != AWAY]
    assert WIDTH <= len(tried) <= 2 * WIDTH
    assert all(failure.is_kept for failure in failures)


@pytest.mark.allows_warnings
async def test_at_the_end_failures_are_tried_again_and_then_kept(
    tree: FakeTree, drainer: Drainer, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    _add_unsaved(tree, 2, "a")
    tree.save_error = Transient("away")
    assert await drainer.save_finally() == [Failure("/a", "away", True)]
    assert len(keeper.failures) == FINAL_ROUNDS


async def test_at_the_end_a_store_that_comes_back_gets_everything(
    tree: FakeTree, drainer: Drainer, autojump_clock: trio.testing.MockClock
) -> None:
    _add_unsaved(tree, 2, "a")
    tree.save_error = Transient("away")
    async with trio.open_nursery() as nursery:

        async def heal() -> None:
            await trio.sleep(1)
            tree.save_error = None

        nursery.start_soon(heal)
        assert await drainer.save_finally() == []
    assert tree.saved == ["a"]


@pytest.mark.allows_warnings
async def test_who_is_in_a_hurry_has_everything_kept(
    tree: FakeTree, drainer: Drainer, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    _add_unsaved(tree, 2, "a")

    async def hang(node: Node) -> None:
        await trio.sleep_forever()

    tree.save = hang  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drainer.save_last)
        await trio.testing.wait_all_tasks_blocked()
        drainer.hurry()
    assert await drainer.save_finally() == [Failure("/a", HURRIED, True)]
    assert keeper.kept == ["a"]


async def test_a_shut_door_refuses_changes_but_of_files_that_are_being_written(
    tree: FakeTree, drainer: Drainer, door: Door
) -> None:
    node, written = tree.add(2, "a"), tree.add(3, "b")
    written.writers = 1
    door.check(node)
    with door.shut(), door.shut():
        pass
    door.check()
    await drainer.save_last()
    door.check(written)
    for refused in (None, node):
        with pytest.raises(ReadOnly):
            door.check(refused)


@pytest.mark.allows_warnings
async def test_a_bug_does_not_keep_others_from_being_saved(
    tree: FakeTree, drainer: Drainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = _add_unsaved(tree, 2, "bad")
    _add_unsaved(tree, 3, "good")
    save = tree.save

    async def save_some(node: Node) -> None:
        if node is bad:
            raise ExceptionGroup("", [ZeroDivisionError("bug")])
        await save(node)

    monkeypatch.setattr(tree, "save", save_some)
    assert await drainer.save_all() == [Failure("/bad", "bug", True)]
    assert tree.saved == ["good"]


@pytest.mark.allows_warnings
async def test_closed_files_are_tried_again(
    tree: FakeTree, drainer: Drainer, autojump_clock: trio.testing.MockClock
) -> None:
    _add_unsaved(tree, 2, "closed")
    _add_unsaved(tree, 3, "open").opens = 1
    tree.save_error = Transient("away")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drainer.retry_for_ever)
        await trio.sleep(RETRY_INTERVAL_S * 1.5)
        assert tree.saved == []
        tree.save_error = None
        await trio.sleep(RETRY_INTERVAL_S)
        assert tree.saved == ["closed"]
        nursery.cancel_scope.cancel()


@pytest.mark.allows_warnings
async def test_a_store_that_is_away_fills_no_log(
    tree: FakeTree,
    drainer: Drainer,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for inode in range(2, 102):
        _add_unsaved(tree, inode, f"f{inode}")
    tree.save_error = Transient("away")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drainer.retry_for_ever)
        await trio.sleep(RETRY_INTERVAL_S * 1.5)
        assert 2 <= len(caplog.records) <= 2 * WIDTH + 1
        assert "more files wait for the store" in caplog.text
        tree.save_error = None
        await trio.sleep(RETRY_INTERVAL_S)
        assert len(tree.saved) == 100
        nursery.cancel_scope.cancel()
