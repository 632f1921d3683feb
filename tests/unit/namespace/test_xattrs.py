"""Extended attributes."""

from __future__ import annotations

import stat

import pytest
import trio

from bucketfs.errors import (
    AttributeNotFound,
    AttributesTooLarge,
    EntryExists,
    InvalidOperation,
    NotImplementedHere,
    NotPermitted,
)
from bucketfs.namespace.xattrs import XATTR_CREATE, XATTR_REPLACE

from .trees import CALLER, World, make_world

ACL_NAME = b"system.posix_acl_access"


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return make_world(nursery)


async def test_values_are_kept_in_the_bucket(world: World) -> None:
    node = await world.file(world.root, b"f", b"abc")
    before = node.attributes.ctime_ns
    await world.tree.xattrs.set(node, b"user.a\xff", b"\0value")
    await world.tree.xattrs.set(node, b"user.empty", b"")
    assert node.attributes.ctime_ns > before
    assert await world.metadata("f") == world.tree.stored_attributes(node).metadata
    found = await world.lookup(b"f")
    assert sorted(await world.tree.xattrs.list(found)) == [b"user.a\xff", b"user.empty"]
    assert await world.tree.xattrs.get(found, b"user.a\xff") == b"\0value"
    assert await world.tree.xattrs.get(found, b"user.empty") == b""


async def test_removing(world: World) -> None:
    node = await world.file(world.root, b"f")
    await world.tree.xattrs.set(node, b"user.a", b"")
    await world.tree.xattrs.remove(node, b"user.a")
    assert await world.tree.xattrs.list(node) == []
    assert "xattr" not in await world.metadata("f")
    for request in (world.tree.xattrs.get, world.tree.xattrs.remove):
        with pytest.raises(AttributeNotFound):
            await request(node, b"user.a")


async def test_create_and_replace(world: World) -> None:
    node = await world.file(world.root, b"f")
    with pytest.raises(AttributeNotFound):
        await world.tree.xattrs.set(node, b"user.a", b"1", XATTR_REPLACE)
    await world.tree.xattrs.set(node, b"user.a", b"1", XATTR_CREATE)
    with pytest.raises(EntryExists):
        await world.tree.xattrs.set(node, b"user.a", b"2", XATTR_CREATE)
    await world.tree.xattrs.set(node, b"user.a", b"3", XATTR_REPLACE)
    assert await world.tree.xattrs.get(node, b"user.a") == b"3"


@pytest.mark.parametrize("name", [b"trusted.a", b"security.selinux", ACL_NAME, b"plain"])
async def test_other_namespaces_are_not_kept(world: World, name: bytes) -> None:
    node = await world.file(world.root, b"f")
    with pytest.raises(NotImplementedHere):
        await world.tree.xattrs.set(node, name, b"x")
    with pytest.raises(NotImplementedHere):
        await world.tree.xattrs.get(node, name)


async def test_what_does_not_fit_is_refused_and_changes_nothing(world: World) -> None:
    node = await world.open_new(world.root, b"f")
    before = node.attributes
    with pytest.raises(AttributesTooLarge):
        await world.tree.xattrs.set(node, b"user.a", bytes(4000))
    assert node.attributes == before
    with pytest.raises(InvalidOperation):
        await world.tree.xattrs.set(node, b"user.", b"x")


async def test_only_files_and_directories_have_them(world: World) -> None:
    fifo = await world.tree.make_node(world.root, b"p", stat.S_IFIFO | 0o600, 0, CALLER)
    with pytest.raises(NotPermitted):
        await world.tree.xattrs.set(fifo, b"user.a", b"x")
    await world.tree.xattrs.set(await world.directory(world.root, b"d"), b"user.a", b"x")
