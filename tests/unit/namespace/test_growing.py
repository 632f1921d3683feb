"""Files that grow by appends of the store, which send no attributes."""

from __future__ import annotations

import pytest
import trio

from bucketfs.errors import ObjectChanged, Transient
from bucketfs.namespace.nodes import Changes, Node
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from tests.unit.namespace.trees import CALLER, FakeBytes, World, make_world


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return make_world(nursery)


async def open_log(world: World) -> tuple[Node, FakeBytes]:
    """Return an appendable object of others that is open for writing."""
    attributes = ObjectAttributes({"mode": "33188", "mtime": "5", "ctime": "5"})
    await world.store.append("log", 0, BytesBody(b"one"), attributes)
    node = await world.lookup(b"log")
    content = world.reopen(node, is_writer=True)
    content.data[:] = b"one"
    world.store.requests.clear()
    return node, content


async def grow(world: World, node: Node, content: FakeBytes, data: bytes) -> None:
    content.put(bytes(content.data) + data)
    world.tree.touched(node)
    await world.tree.save(node)


async def test_growth_is_one_request_and_the_times_are_those_of_the_store(world: World) -> None:
    node, content = await open_log(world)
    for _ in range(3):
        await grow(world, node, content, b"more")
        assert not node.is_dirty
        assert node.info is not None
        assert node.attributes.mtime_ns == node.info.modified_ns
    assert world.store.requests == [("append", "log")] * 3
    seen = node.attributes
    await world.tree.closed(node, is_writer=True)
    assert (await world.lookup(b"log")).attributes == seen
    assert (await world.store.stat("log")).size == 15


@pytest.mark.parametrize("changes", [Changes(mode=0o600), Changes(mtime_ns=5, atime_ns=6)])
async def test_attributes_that_somebody_set_need_more_than_an_append(
    world: World, changes: Changes
) -> None:
    node, content = await open_log(world)
    content.put(b"onemore")
    world.tree.touched(node)
    await world.tree.change(node, changes, CALLER)
    await world.tree.save(node)
    assert world.store.requests == [("write", "log")]
    assert not (await world.store.stat("log")).is_appendable
    assert await world.metadata("log") == world.tree.stored_attributes(node).metadata


async def test_a_lost_set_user_id_bit_is_an_attribute_too(world: World) -> None:
    node, content = await open_log(world)
    await world.tree.change(node, Changes(mode=0o4755), CALLER)
    await world.tree.save(node)
    world.store.requests.clear()
    content.put(b"onemore")
    world.tree.touched(node)
    assert node.changes != node.stored_changes
    await world.tree.save(node)
    assert int((await world.metadata("log"))["mode"]) == 0o100755


async def test_an_append_of_which_nobody_heard_is_gone_on_from(world: World) -> None:
    node, content = await open_log(world)

    def lose(operation: str, key: str) -> None:
        if operation == "append":
            world.store.before = lambda operation, key: None
            raise Transient("the answer was lost")

    world.store.before = lose
    with pytest.raises(Transient):
        await grow(world, node, content, b"more")
    await MemoryStore.append(world.store, "log", 3, BytesBody(b"more"))
    await grow(world, node, content, b", and more")
    assert not node.is_dirty
    assert (await world.store.stat("log")).size == len("onemore, and more")


async def test_what_others_added_is_never_taken_for_our_own(world: World) -> None:
    node, content = await open_log(world)
    await grow(world, node, content, b"more")
    node.sent = (ObjectAttributes(await world.metadata("log")),)
    assert node.info is not None
    await world.store.append("log", node.info.size, BytesBody(b"of others"))
    with pytest.raises(ObjectChanged):
        await grow(world, node, content, b"ours")
    assert node.is_dirty
    assert node.is_refused
