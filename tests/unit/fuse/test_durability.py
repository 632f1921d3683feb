"""Durability: what a close and an fsync stand for, with and without write-back."""

from __future__ import annotations

from typing import cast

import pytest
import trio

from bucketfs.errors import NoSpace, ObjectChanged, Transient
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.writeback import DELAY_S, Width, WriteBack
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

from .fakes import FakeContent, FakeKeeper, FakeTree


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


def unsaved(tree: FakeTree, inode: int, name: str) -> Node:
    node = tree.add(inode, name)
    node.content = FakeContent(None, b"abc")  # type: ignore[assignment]
    return node


async def test_by_default_a_close_waits_for_the_bucket(tree: FakeTree, keeper: FakeKeeper) -> None:
    await Durability(cast("Tree", tree), keeper).close(unsaved(tree, 2, "f"))
    assert tree.saved == ["f"]
    assert keeper.kept == []


async def test_what_cannot_be_saved_is_kept_and_told(tree: FakeTree, keeper: FakeKeeper) -> None:
    tree.save_error = ObjectChanged("others were faster")
    with pytest.raises(ObjectChanged):
        await Durability(cast("Tree", tree), keeper).close(unsaved(tree, 2, "f"))
    assert keeper.failures == [("f", "others were faster")]


async def test_with_write_back_a_close_waits_for_the_journal_only(
    tree: FakeTree, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    later = WriteBack(most=4)
    durability = Durability(cast("Tree", tree), keeper, later)
    await durability.close(unsaved(tree, 2, "f"))
    assert (keeper.kept, tree.saved, len(later)) == (["f"], [], 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run, durability)
        await trio.sleep(DELAY_S / 2)
        assert tree.saved == []
        await trio.sleep(DELAY_S)
        assert tree.saved == ["f"]
        nursery.cancel_scope.cancel()


async def test_with_write_back_an_fsync_waits_for_the_bucket(
    tree: FakeTree, keeper: FakeKeeper
) -> None:
    await Durability(cast("Tree", tree), keeper, WriteBack(most=4)).save(unsaved(tree, 2, "f"))
    assert (keeper.kept, tree.saved) == ([], ["f"])


@pytest.mark.allows_warnings
async def test_a_journal_without_space_is_no_lost_file(tree: FakeTree, keeper: FakeKeeper) -> None:
    keeper.error = NoSpace("the disk is full")
    later = WriteBack(most=4)
    await Durability(cast("Tree", tree), keeper, later).close(unsaved(tree, 2, "f"))
    assert (tree.saved, len(later)) == (["f"], 0)


async def test_a_file_that_is_open_again_waits_for_its_close(
    tree: FakeTree, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    later = WriteBack(most=4)
    durability = Durability(cast("Tree", tree), keeper, later)
    node = unsaved(tree, 2, "f")
    node.writers = 1
    await durability.close(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run, durability)
        await trio.sleep(DELAY_S * 3)
        assert tree.saved == []
        node.writers = 0
        durability.closed(node)
        await trio.sleep(DELAY_S * 2)
        assert tree.saved == ["f"]
        nursery.cancel_scope.cancel()


@pytest.mark.allows_warnings
async def test_a_failure_in_the_background_is_kept_and_others_go_on(
    tree: FakeTree, keeper: FakeKeeper, autojump_clock: trio.testing.MockClock
) -> None:
    later = WriteBack(most=4)
    durability = Durability(cast("Tree", tree), keeper, later)
    tree.save_error = Transient("away")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run, durability)
        await durability.close(unsaved(tree, 2, "a"))
        await trio.sleep(DELAY_S * 2)
        assert keeper.failures == [("a", "away")]
        tree.save_error = None
        await durability.close(unsaved(tree, 3, "b"))
        await trio.sleep(DELAY_S * 2)
        assert tree.saved == ["b"]
        nursery.cancel_scope.cancel()


def test_uploads_at_once_follow_the_latency() -> None:
    width = Width(16)
    for _ in range(200):
        width.done(0.01)
    assert width.now == 16
    for _ in range(400):
        width.done(0.2 if width.now > 4 else 0.01)
    assert width.now <= 6
    width.failed()
    width.failed()
    assert width.now == 2
