"""Readdir: positions, rewinding, names without inodes, and lookup counts."""

from __future__ import annotations

from typing import cast

import pyfuse3
import pytest

from bucketfs.errors import Transient
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

from .fakes import FakeContents, FakeKeeper, FakeTree

Told = list[tuple[bytes, pyfuse3.EntryAttributes, int]]


class Reply:
    """What pyfuse3 would put into one answer: a number of entries."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.told: Told = []

    @property
    def names(self) -> list[bytes]:
        return [name for name, _, _ in self.told]


@pytest.fixture(autouse=True)
def readdir_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(
        token: Reply, name: bytes, entry: pyfuse3.EntryAttributes, next_position: int
    ) -> bool:
        if len(token.told) == token.room:
            return False
        token.told.append((name, entry, next_position))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)


@pytest.fixture
def tree() -> FakeTree:
    tree = FakeTree()
    tree.listed = [(name.encode(), tree.add(number, name)) for number, name in enumerate("abcd", 2)]
    return tree


@pytest.fixture
def handles(tree: FakeTree) -> Handles:
    names = cast("Tree", tree)
    durability = Durability(names, FakeKeeper())
    return Handles(names, FakeContents(), durability, ttl_s=5)  # type: ignore[arg-type]


async def _read(handles: Handles, number: int, position: int, room: int = 100) -> Reply:
    reply = Reply(room)
    await handles.directory(number).reply(position, cast("pyfuse3.ReaddirToken", reply))
    return reply


def _node(tree: FakeTree, name: str) -> Node:
    return next(node for node in tree.nodes.values() if node.name == name)


async def test_everything_once_and_dots_first(tree: FakeTree, handles: Handles) -> None:
    number = handles.open_directory(tree.root)
    reply = await _read(handles, number, 0)
    assert reply.names == [b".", b"..", b"a", b"b", b"c", b"d"]
    assert [entry.st_ino for _, entry, _ in reply.told] == [1, 1, 2, 3, 4, 5]
    assert (await _read(handles, number, reply.told[-1][2])).names == []


@pytest.mark.parametrize("room", [1, 2, 3, 4])
async def test_small_answers_continue_where_they_ended(
    tree: FakeTree, handles: Handles, room: int
) -> None:
    number = handles.open_directory(tree.root)
    names: list[bytes] = []
    position = 0
    while (reply := await _read(handles, number, position, room)).told:
        names += reply.names
        position = reply.told[-1][2]
    assert names == [b".", b"..", b"a", b"b", b"c", b"d"]
    assert tree.listings == 1
    # what did not fit was not counted as told
    assert [_node(tree, name).lookups for name in "abcd"] == [1, 1, 1, 1]


async def test_every_position_can_be_sought(tree: FakeTree, handles: Handles) -> None:
    number = handles.open_directory(tree.root)
    whole = (await _read(handles, number, 0)).told
    for index, (_, _, position) in enumerate(whole):
        rest = (await _read(handles, number, position)).names
        assert rest == [name for name, _, _ in whole[index + 1 :]]


async def test_rewinding_lists_anew(tree: FakeTree, handles: Handles) -> None:
    number = handles.open_directory(tree.root)
    await _read(handles, number, 0, room=3)
    tree.listed = [(b"new", tree.add(9, "new"))]
    assert (await _read(handles, number, 0)).names == [b".", b"..", b"new"]
    assert tree.listings == 2


async def test_unproved_names_make_no_inode(tree: FakeTree, handles: Handles) -> None:
    tree.listed = [(b"u", None), (b"a", _node(tree, "a"))]
    number = handles.open_directory(tree.root)
    reply = await _read(handles, number, 0)
    _, entry, _ = reply.told[2]
    assert entry.st_size == -1  # over LLONG_MAX for the kernel, which takes the name only
    handles.forget([(1000, 1), (2, 1)])
    assert _node(tree, "a").lookups == 0


async def test_the_forget_of_a_name_is_no_forget_of_its_node(
    tree: FakeTree, handles: Handles
) -> None:
    tree.listed = [(b"u", None)]
    node = tree.add(1000, "u")
    number = handles.open_directory(tree.root)
    await _read(handles, number, 0)
    node.lookups = 2
    handles.forget([(1000, 1)])
    assert node.lookups == 2
    handles.forget([(1000, 2)])
    assert node.lookups == 0


async def test_a_failed_listing_is_told_and_tried_again(tree: FakeTree, handles: Handles) -> None:
    number = handles.open_directory(tree.root)
    tree.list_error = Transient("away")
    with pytest.raises(Transient):
        await _read(handles, number, 0)
    tree.list_error = None
    assert (await _read(handles, number, 0)).names == [b".", b"..", b"a", b"b", b"c", b"d"]


async def test_closing_in_the_middle(tree: FakeTree, handles: Handles) -> None:
    number = handles.open_directory(tree.root)
    await _read(handles, number, 0, room=3)
    await handles.close_directory(number)
    assert tree.root.opens == 0
    assert len(handles) == 0
