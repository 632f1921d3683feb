"""Saving: what is sent, when, and what a failure leaves."""

from __future__ import annotations

import stat

import pytest
import trio

from bucketfs.errors import AccessDenied, ObjectChanged, ObjectExists, Transient
from bucketfs.namespace.nodes import Changes
from bucketfs.storage.interface import BytesBody, ObjectAttributes

from .trees import CALLER, ROOT, World, make_world


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return make_world(nursery)


def chmod(mode: int) -> Changes:
    return Changes(mode=mode)


async def test_a_file_and_its_attributes_are_one_request(world: World) -> None:
    node = await world.open_new(world.root, b"page.html", b"abc")
    await world.tree.change(node, chmod(0o600), CALLER)
    await world.tree.save(node)
    assert world.store.requests == [("write", "page.html")]
    metadata = await world.metadata("page.html")
    assert int(metadata["mode"]) == stat.S_IFREG | 0o600
    assert (await world.store.stat("page.html")).content_type == "text/html"
    assert not node.is_dirty


async def test_saving_what_is_clean_costs_nothing(world: World) -> None:
    node = await world.file(world.root, b"f")
    world.store.requests.clear()
    await world.tree.save(node)
    assert world.store.requests == []


async def test_saves_at_once_are_one(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"abc")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(world.tree.save, node)
    assert world.store.requests == [("write", "f")]


async def test_an_object_that_others_made_meanwhile_is_not_overwritten(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"mine")
    await world.others_put("f", b"theirs!")
    with pytest.raises(ObjectChanged) as caught:
        await world.tree.save(node)
    assert not isinstance(caught.value, ObjectExists), "for the writer the file is stale"
    assert (await world.store.stat("f")).size == 7
    assert node.is_dirty


async def test_an_object_that_others_replaced_meanwhile_is_not_overwritten(world: World) -> None:
    node = await world.file(world.root, b"f")
    content = world.reopen(node, is_writer=True)
    content.put(b"mine")
    await world.others_put("f", b"theirs!")
    with pytest.raises(ObjectChanged):
        await world.tree.save(node)
    assert (await world.store.stat("f")).size == 7
    assert node.is_dirty


async def test_a_failed_save_keeps_everything_for_the_next(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"abc")

    def refuse(operation: str, key: str) -> None:
        raise Transient("no")

    world.store.before = refuse
    with pytest.raises(Transient):
        await world.tree.save(node)
    assert world.tree.unsaved() == [node]
    world.store.before = lambda operation, key: None
    await world.tree.save(node)
    assert await world.keys() == ["f"]
    assert world.tree.unsaved() == []


async def test_times_of_writes_are_those_that_the_stream_began_with(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"abc")
    content = node.content
    assert content is not None
    content.began = world.tree.stored_attributes(node)  # type: ignore[attr-defined]
    begun = node.attributes.mtime_ns
    world.tree.touched(node)
    assert node.attributes.mtime_ns > begun
    await world.tree.save(node)
    assert world.store.requests == [("write", "f")], "no second request for a time of writing"
    assert node.attributes.mtime_ns == begun


@pytest.mark.parametrize("changes", [Changes(mode=0o600), Changes(mtime_ns=5, atime_ns=6)])
async def test_what_somebody_set_after_the_stream_began_is_sent_behind(
    world: World, changes: Changes
) -> None:
    node = await world.open_new(world.root, b"f", b"abc")
    content = node.content
    assert content is not None
    content.began = world.tree.stored_attributes(node)  # type: ignore[attr-defined]
    world.tree.touched(node)
    await world.tree.change(node, changes, CALLER)
    await world.tree.save(node)
    assert world.store.requests == [("write", "f"), ("copy", "f")]
    assert await world.metadata("f") == world.tree.stored_attributes(node).metadata
    assert content.base == node.info
    assert not node.is_dirty


async def test_a_change_of_a_clean_file_is_one_copy_before_it_returns(world: World) -> None:
    node = await world.file(world.root, b"f", b"abc")
    content = world.reopen(node)
    world.store.requests.clear()
    await world.tree.change(node, chmod(0o600), CALLER)
    assert world.store.requests == [("copy", "f")]
    assert int((await world.metadata("f"))["mode"]) == stat.S_IFREG | 0o600
    assert content.base == node.info
    assert (await world.lookup(b"f")) is node


async def test_an_empty_file_is_written_again(world: World) -> None:
    node = await world.file(world.root, b"f", b"")
    world.store.requests.clear()
    await world.tree.change(node, chmod(0o600), CALLER)
    assert world.store.requests == [("write", "f")]


async def test_a_file_open_for_writing_keeps_changes_for_its_save(world: World) -> None:
    node = await world.file(world.root, b"f", b"abc")
    world.reopen(node, is_writer=True)
    world.store.requests.clear()
    await world.tree.change(node, chmod(0o600), CALLER)
    assert world.store.requests == []
    assert node.is_dirty
    await world.tree.save(node)
    assert world.store.requests == [("copy", "f")]


async def test_a_change_that_was_refused_did_not_happen(world: World) -> None:
    node = await world.file(world.root, b"f", b"abc")

    def refuse(operation: str, key: str) -> None:
        raise AccessDenied("no")

    world.store.before = refuse
    before = node.attributes
    with pytest.raises(AccessDenied):
        await world.tree.change(node, chmod(0o600), CALLER)
    assert node.attributes == before
    assert not node.is_dirty


async def test_a_changed_directory_is_its_marker_made_where_it_was_implicit(world: World) -> None:
    await world.others_put("d/f")
    directory = await world.lookup(b"d")
    await world.tree.change(directory, chmod(0o700), CALLER)
    assert int((await world.metadata("d/"))["mode"]) == stat.S_IFDIR | 0o700
    await world.tree.change(directory, Changes(mtime_ns=7), CALLER)
    again = await world.lookup(b"d")
    assert (again, again.attributes.mtime_ns) == (directory, 7)


async def test_a_marker_that_others_wrote_meanwhile_is_taken_over(world: World) -> None:
    directory = await world.directory(world.root, b"d")
    await world.others_put("d/")
    await world.tree.change(directory, chmod(0o700), CALLER)
    assert int((await world.metadata("d/"))["mode"]) == stat.S_IFDIR | 0o700


async def test_the_roots_attributes_live_here_only(world: World) -> None:
    await world.tree.change(world.root, chmod(0o700), ROOT)
    assert world.store.requests == []
    assert stat.S_IMODE(world.root.attributes.mode) == 0o700
    assert world.tree.unsaved() == []


async def test_a_content_type_that_others_chose_stays(world: World) -> None:
    await world.store.write("f.txt", BytesBody(b"x"), ObjectAttributes({}, "image/png"))
    node = await world.lookup(b"f.txt")
    await world.tree.change(node, chmod(0o600), CALLER)
    assert (await world.store.stat("f.txt")).content_type == "image/png"


async def test_a_cancelled_save_leaves_no_lock_and_everything_unsaved(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"abc")
    world.store.before = lambda operation, key: trio.Event()
    with trio.move_on_after(0.01) as scope:
        await world.tree.save(node)
    assert scope.cancelled_caught
    world.store.before = lambda operation, key: None
    assert node.is_dirty
    await world.tree.save(node)
    assert await world.keys() == ["f"]
