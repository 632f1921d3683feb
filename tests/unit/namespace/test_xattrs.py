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
    PermissionRefused,
)
from bucketfs.namespace import acl
from bucketfs.namespace.acl import Acl, AclEntry
from bucketfs.namespace.nodes import Changes
from bucketfs.namespace.xattrs import XATTR_CREATE, XATTR_REPLACE

from .trees import CALLER, World, make_world, mode_of

ACL_NAME = b"system.posix_acl_access"
DEFAULT_NAME = b"system.posix_acl_default"

FOR_USER_7 = acl.serialise(
    Acl(
        (
            AclEntry(acl.USER_OBJ, 7),
            AclEntry(acl.USER, 6, 7),
            AclEntry(acl.GROUP_OBJ, 5),
            AclEntry(acl.MASK, 6),
            AclEntry(acl.OTHER, 0),
        )
    )
)


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


@pytest.fixture
def acl_world(nursery: trio.Nursery) -> World:
    return make_world(nursery, has_acl=True)


async def test_an_acl_shows_in_the_mode_and_follows_chmod(acl_world: World) -> None:
    tree = acl_world.tree
    node = await acl_world.file(acl_world.root, b"f")
    await tree.xattrs.set(node, ACL_NAME, FOR_USER_7)
    assert mode_of(node) == 0o760
    await tree.change(node, Changes(mode=0o640), CALLER)
    changed = acl.parse(await tree.xattrs.get(node, ACL_NAME))
    assert changed is not None
    assert changed.mode_bits() == 0o640
    assert await tree.xattrs.list(node) == [ACL_NAME]


async def test_an_acl_that_the_mode_can_say_is_not_kept(acl_world: World) -> None:
    node = await acl_world.file(acl_world.root, b"f")
    await acl_world.tree.xattrs.set(node, ACL_NAME, acl.serialise(acl.from_mode(0o604)))
    assert mode_of(node) == 0o604
    assert await acl_world.tree.xattrs.list(node) == []


async def test_a_default_acl_is_inherited(acl_world: World) -> None:
    tree = acl_world.tree
    directory = await acl_world.directory(acl_world.root, b"d")
    await tree.xattrs.set(directory, DEFAULT_NAME, FOR_USER_7)
    file = await acl_world.file(directory, b"f")
    inner = await acl_world.directory(directory, b"e")
    assert mode_of(file) == 0o640, "0644 as asked for, less what the ACL does not give"
    assert await tree.xattrs.list(file) == [ACL_NAME]
    assert await tree.xattrs.get(inner, DEFAULT_NAME) == FOR_USER_7
    with pytest.raises(PermissionRefused):
        await tree.xattrs.set(file, DEFAULT_NAME, FOR_USER_7)
