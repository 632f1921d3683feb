"""Draining: what could not be saved at close gets to the bucket later, or is named."""

from __future__ import annotations

from typing import cast

import pytest
import trio

from bucketfs.errors import Transient
from bucketfs.fuse.draining import RETRY_INTERVAL_S, Drainer
from bucketfs.fuse.durability import Durability
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

from .fakes import FakeContent, FakeKeeper, FakeTree


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def drainer(tree: FakeTree) -> Drainer:
    names = cast("Tree", tree)
    return Drainer(names, Durability(names, FakeKeeper()), concurrency=2)


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


async def test_failures_are_named(tree: FakeTree, drainer: Drainer) -> None:
    _add_unsaved(tree, 2, "b\udcff")
    _add_unsaved(tree, 3, "a")
    tree.save_error = Transient("the endpoint is away")
    failed = await drainer.save_all()
    assert failed == ["/a: the endpoint is away", "/b\ufffd: the endpoint is away"]
    assert drainer.left() == (2, 6)


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
    assert await drainer.save_all() == ["/bad: bug"]
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
