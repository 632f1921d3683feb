"""Readdir: positions, rewinding, names without inodes, and lookup counts."""

from __future__ import annotations

import stat
from copy import copy
from typing import cast

import pyfuse3
import pytest

from bucketfs.errors import Transient
from bucketfs.fuse.directories import BLOCK, Snapshot
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.namespace.dentries import Child
from bucketfs.namespace.nodes import Inode, Node
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
        # One entry serves for all names that are told without an inode.
        token.told.append((name, copy(entry), next_position))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)


@pytest.fixture
def tree() -> FakeTree:
    tree = FakeTree()
    tree.listed = [(name.encode(), tree.add(number, name)) for number, name in enumerate("abcd", 2)]
    return tree


@pytest.fixture
def handles(tree: FakeTree) -> Handles:
    return make_handles(tree)


def make_handles(tree: FakeTree) -> Handles:
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
    (_, unproved, _), (_, proved, _) = reply.told[2:]
    assert (unproved.st_ino, unproved.st_mode) == (0, stat.S_IFREG)
    assert proved.st_ino == 2
    handles.forget([(2, 1)])
    assert _node(tree, "a").lookups == 0


@pytest.fixture
def strange_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pyfuse3's entries look as if they were laid out in another way."""
    monkeypatch.setattr("bucketfs.fuse.names_only._node_of", lambda entry: None)


@pytest.mark.usefixtures("strange_entries")
async def test_where_a_node_cannot_be_left_out_the_kernel_drops_it(tree: FakeTree) -> None:
    tree.listed = [(b"u", None)]
    handles = make_handles(tree)
    reply = await _read(handles, handles.open_directory(tree.root), 0)
    _, entry, _ = reply.told[2]
    assert entry.st_ino == 1000
    assert entry.st_size == -1  # over LLONG_MAX for the kernel, which takes the name only


@pytest.mark.usefixtures("strange_entries")
async def test_there_the_forget_of_a_name_is_no_forget_of_its_node(tree: FakeTree) -> None:
    tree.listed = [(b"u", None)]
    node = tree.add(1000, "u")
    handles = make_handles(tree)
    await _read(handles, handles.open_directory(tree.root), 0)
    node.lookups = 2
    handles.forget([(1000, 1)])
    assert node.lookups == 2
    handles.forget([(1000, 2)])
    assert node.lookups == 0


async def test_a_page_is_told_without_waiting_for_the_next(
    tree: FakeTree, handles: Handles
) -> None:
    tree.page = 3
    number = handles.open_directory(tree.root)
    reply = await _read(handles, number, 0)
    assert reply.names == [b".", b"..", b"a", b"b", b"c"]
    assert (await _read(handles, number, reply.told[-1][2])).names == [b"d"]


async def test_a_large_directory_can_be_sought_and_takes_little(tree: FakeTree) -> None:
    count = 5 * BLOCK + 7
    names = [f"n{number:05}".encode() for number in range(count)]
    node = tree.add(2, "n00000")
    tree.listed = [(name, None) for name in names]
    tree.listed[0] = (names[0], node)
    handles = make_handles(tree)
    number = handles.open_directory(tree.root)
    told: Told = []
    position = 0
    while (reply := await _read(handles, number, position, 100)).told:
        told += reply.told
        position = told[-1][2]
    assert [name for name, _, _ in told[2:]] == names
    assert len(handles.directory(number)._snapshot._children) <= 2 * BLOCK + 107
    for place in (2, BLOCK - 1, BLOCK, BLOCK + 2, 3 * BLOCK, count + 1):
        reply = await _read(handles, number, told[place][2], 10)
        assert reply.names == [name for name, _, _ in told[place + 1 : place + 11]]
        assert all(entry.st_mode == stat.S_IFREG for _, entry, _ in reply.told)
    assert tree.listings == 1


def test_names_keep_their_types_when_they_are_packed() -> None:
    snapshot = Snapshot()
    kinds = [stat.S_IFDIR, stat.S_IFREG, 0, stat.S_IFLNK]
    names = [bytes([1 + place % 255]) * (1 + place % 40) for place in range(4 * BLOCK)]
    names = [name.replace(b"/", b"x") for name in names]
    snapshot.extend(
        [
            Child(name, None, place % 4 == 0, kinds[place % 4], Inode(place), None, 0)
            for place, name in enumerate(names)
        ]
    )
    snapshot.passed(4 * BLOCK)
    assert len(snapshot) == 4 * BLOCK
    assert len(snapshot._packed) == 3
    for place, name in enumerate(names):
        child = snapshot[place]
        expected = (name, place % 4 == 0, kinds[place % 4])
        assert (child.name, child.is_directory, child.kind_mode) == expected


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
