"""Symbolic links."""

from __future__ import annotations

import stat

import pytest
import trio

from bucketfs.errors import EntryExists, InvalidOperation, NameTooLong, StaleHandle
from bucketfs.namespace.attributes import SPECIAL_HINT
from bucketfs.namespace.links import TARGET_MAX_BYTES

from .trees import CALLER, World, make_world


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return make_world(nursery)


async def test_a_link_is_an_object_whose_content_is_the_target(world: World) -> None:
    node = await world.tree.make_symlink(world.root, b"l", b"../x\xff", CALLER)
    assert await world.tree.read_symlink(node) == b"../x\xff"
    assert (node.kind, node.size) == (stat.S_IFLNK, 5)
    assert int((await world.metadata("l"))["mode"]) == stat.S_IFLNK | 0o777
    assert world.store.requests == [("write", "l")]


async def test_a_link_that_others_made_is_read_from_the_bucket(world: World) -> None:
    await world.others_put("l", b"target", mode=str(stat.S_IFLNK | 0o777))
    node = await world.lookup(b"l")
    assert await world.tree.read_symlink(node) == b"target"


async def test_a_link_replaced_by_others_is_stale(world: World) -> None:
    await world.others_put("l", b"target", mode=str(stat.S_IFLNK | 0o777))
    node = await world.lookup(b"l")
    node.data = None
    await world.others_put("l", b"other!", mode=str(stat.S_IFLNK | 0o777))
    with pytest.raises(StaleHandle):
        await world.tree.read_symlink(node)


async def test_limits_and_kinds(world: World) -> None:
    file = await world.file(world.root, b"f")
    with pytest.raises(InvalidOperation):
        await world.tree.read_symlink(file)
    with pytest.raises(EntryExists):
        await world.tree.make_symlink(world.root, b"f", b"x", CALLER)
    with pytest.raises(NameTooLong):
        await world.tree.make_symlink(world.root, b"l", b"x" * (TARGET_MAX_BYTES + 1), CALLER)
    longest = await world.tree.make_symlink(world.root, b"l", b"x" * TARGET_MAX_BYTES, CALLER)
    assert longest.size == TARGET_MAX_BYTES


async def test_the_directorys_marker_says_once_that_types_need_proof(world: World) -> None:
    directory = await world.directory(world.root, b"d")
    await world.tree.make_symlink(directory, b"a", b"x", CALLER)
    await world.tree.make_symlink(directory, b"b", b"x", CALLER)
    assert (await world.metadata("d/"))[SPECIAL_HINT] == "1"
    assert world.store.requests.count(("write", "d/")) == 2
