"""Renaming files and directories."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from bucketfs.errors import (
    AccessDenied,
    DirectoryNotEmpty,
    EntryExists,
    EntryNotFound,
    InvalidOperation,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    ObjectChanged,
    Transient,
)
from bucketfs.namespace.nodes import Node, key_of
from bucketfs.namespace.rename import EXCHANGE, NOREPLACE
from bucketfs.storage.memory import DEFAULT_CAPABILITIES

from .trees import NO_MOVE, World, make_world


@pytest.fixture(params=["copy", "move"])
def world(request: pytest.FixtureRequest, nursery: trio.Nursery) -> World:
    native = request.param == "move"
    return make_world(nursery, capabilities=DEFAULT_CAPABILITIES if native else NO_MOVE)


@pytest.fixture
def copying(nursery: trio.Nursery) -> World:
    return make_world(nursery, capabilities=NO_MOVE)


async def rename(world: World, old: bytes, new: bytes, flags: int = 0) -> None:
    await world.tree.rename(world.root, old, world.root, new, flags)


async def contents(world: World) -> dict[str, int]:
    return {key: (await world.store.stat(key)).size for key in await world.keys()}


async def test_a_file_keeps_its_inode_and_its_bytes(world: World) -> None:
    node = await world.file(world.root, b"a", b"abc")
    before = node.attributes.ctime_ns
    await rename(world, b"a", b"b")
    assert await contents(world) == {"b": 3}
    assert await world.lookup(b"b") is node
    assert key_of(node) == "b"
    assert node.attributes.ctime_ns > before
    with pytest.raises(EntryNotFound):
        await world.lookup(b"a")


async def test_a_copied_file_carries_its_new_ctime_in_the_same_request(copying: World) -> None:
    node = await copying.file(copying.root, b"a")
    copying.store.requests.clear()
    await rename(copying, b"a", b"b")
    assert copying.store.requests == [("copy", "b"), ("delete", "a")]
    assert await copying.metadata("b") == copying.tree.stored_attributes(node).metadata


async def test_the_content_type_follows_the_new_extension(world: World) -> None:
    node = await world.file(world.root, b"page.css", b"abc")
    content = world.reopen(node)
    world.store.requests.clear()
    await rename(world, b"page.css", b"page.html")
    info = await world.store.stat("page.html")
    assert info.content_type == "text/html"
    assert node.info == info
    assert content.base is not None
    assert (content.base.key, content.base.version) == ("page.html", info.version)
    assert await world.keys() == ["page.html"]


async def test_a_move_that_changes_no_type_is_one_request(nursery: trio.Nursery) -> None:
    world = make_world(nursery, capabilities=DEFAULT_CAPABILITIES)
    await world.file(world.root, b"a.txt")
    world.store.requests.clear()
    await rename(world, b"a.txt", b"b.txt")
    assert world.store.requests == [("move", "b.txt")]


async def test_an_open_handle_follows_its_file(world: World) -> None:
    node = await world.file(world.root, b"a", b"abc")
    content = world.reopen(node)
    await rename(world, b"a", b"b")
    assert content.base is not None
    assert (content.base.key, content.base.version) == ("b", (await world.store.stat("b")).version)


async def test_the_replaced_file_goes_on_for_its_handles(world: World) -> None:
    await world.file(world.root, b"a", b"new")
    target = await world.file(world.root, b"b", b"old!")
    content = world.reopen(target)
    await rename(world, b"a", b"b")
    assert bytes(content.data) == b"old!"
    assert target.is_removed
    assert await contents(world) == {"b": 3}
    await world.tree.closed(target)
    assert content.is_discarded


async def test_a_file_that_was_never_saved_moves_without_a_request(world: World) -> None:
    node = await world.open_new(world.root, b"a", b"abc")
    await rename(world, b"a", b"b")
    assert world.store.requests == []
    assert await world.lookup(b"b") is node
    await world.tree.save(node)
    assert await contents(world) == {"b": 3}


async def test_an_unsaved_file_over_a_saved_one_replaces_it_at_its_save(world: World) -> None:
    target = await world.file(world.root, b"b", b"old")
    node = await world.open_new(world.root, b"a", b"newer")
    await rename(world, b"a", b"b")
    assert await contents(world) == {"b": 3}, "until the save the old bytes are safe"
    assert target.is_removed
    assert await world.lookup(b"b") is node
    await world.tree.save(node)
    assert await contents(world) == {"b": 5}


async def test_an_unsaved_file_that_hides_an_object_takes_it_along_when_it_goes(
    world: World,
) -> None:
    await world.file(world.root, b"b", b"old")
    await world.open_new(world.root, b"a", b"newer")
    await rename(world, b"a", b"b")
    await world.tree.unlink(world.root, b"b")
    assert await contents(world) == {}


async def test_an_unsaved_file_that_hides_an_object_can_move_on(world: World) -> None:
    await world.file(world.root, b"b", b"old")
    node = await world.open_new(world.root, b"a", b"newer")
    await rename(world, b"a", b"b")
    await rename(world, b"b", b"c")
    await world.tree.save(node)
    assert await contents(world) == {"c": 5}


async def test_unsaved_bytes_of_a_saved_file_go_first(world: World) -> None:
    node = await world.file(world.root, b"a", b"abc")
    content = world.reopen(node, is_writer=True)
    content.put(b"abcdef")
    await rename(world, b"a", b"b")
    assert await contents(world) == {"b": 6}


async def test_the_same_name_is_no_change(world: World) -> None:
    node = await world.file(world.root, b"a")
    world.store.requests.clear()
    await rename(world, b"a", b"a")
    assert world.store.requests == []
    assert await world.lookup(b"a") is node


async def test_noreplace_and_exchange(world: World) -> None:
    await world.file(world.root, b"a")
    await world.file(world.root, b"b")
    with pytest.raises(EntryExists):
        await rename(world, b"a", b"b", NOREPLACE)
    with pytest.raises(InvalidOperation):
        await rename(world, b"a", b"b", EXCHANGE)
    await rename(world, b"a", b"c", NOREPLACE)
    assert await world.names(world.root) == [b"b", b"c"]


async def test_kinds_must_agree(world: World) -> None:
    await world.file(world.root, b"f")
    await world.directory(world.root, b"d")
    full = await world.directory(world.root, b"full")
    await world.file(full, b"x")
    with pytest.raises(IsADirectory):
        await rename(world, b"f", b"d")
    with pytest.raises(NotADirectory):
        await rename(world, b"d", b"f")
    with pytest.raises(DirectoryNotEmpty):
        await rename(world, b"d", b"full")
    with pytest.raises(EntryNotFound):
        await rename(world, b"none", b"f")


async def test_a_directory_cannot_move_into_itself_nor_over_what_holds_it(world: World) -> None:
    outer = await world.directory(world.root, b"d")
    inner = await world.directory(outer, b"e")
    await world.directory(inner, b"g")
    with pytest.raises(InvalidOperation):
        await world.tree.rename(world.root, b"d", inner, b"x", 0)
    with pytest.raises(InvalidOperation):
        await world.tree.rename(world.root, b"d", outer, b"x", 0)
    with pytest.raises(DirectoryNotEmpty):
        await world.tree.rename(inner, b"g", world.root, b"d", 0)


async def make_tree(world: World) -> tuple[Node, Node, Node]:
    directory = await world.directory(world.root, b"d")
    inner = await world.directory(directory, b"e")
    file = await world.file(inner, b"f", b"abc")
    await world.others_put("d/h/i", b"others")
    return directory, inner, file


async def test_a_directory_moves_with_everything_below_it(world: World) -> None:
    directory, inner, file = await make_tree(world)
    content = world.reopen(file)
    await rename(world, b"d", b"x")
    assert await contents(world) == {"x/": 0, "x/e/": 0, "x/e/f": 3, "x/h/i": 6}
    assert await world.lookup(b"x") is directory
    assert await world.lookup(b"x", b"e") is inner
    assert await world.lookup(b"x", b"e", b"f") is file
    assert content.base is not None
    assert content.base.key == "x/e/f"
    assert await world.names(world.root) == [b"x"]


async def test_a_directory_replaces_an_empty_one(world: World) -> None:
    directory, _, _ = await make_tree(world)
    target = await world.directory(world.root, b"x")
    await rename(world, b"d", b"x")
    assert await world.lookup(b"x") is directory
    assert target.is_removed
    assert "x/e/f" in await world.keys()


async def test_an_implicit_directory_gets_a_marker_by_moving(world: World) -> None:
    await world.others_put("d/f", b"x")
    await rename(world, b"d", b"x")
    assert await world.keys() == ["x/", "x/f"]


async def test_unsaved_files_below_follow(world: World) -> None:
    _directory, inner, file = await make_tree(world)
    new = await world.open_new(inner, b"new", b"12345")
    dirty = world.reopen(file, is_writer=True)
    dirty.put(b"abcdef")
    await rename(world, b"d", b"x")
    assert (await contents(world))["x/e/f"] == 6
    await world.tree.save(new)
    assert (await contents(world))["x/e/new"] == 5
    assert not any(key.startswith("d/") for key in await world.keys())


async def test_a_failed_copy_leaves_the_old_tree_whole_and_no_copies(world: World) -> None:
    directory, _, file = await make_tree(world)
    before = await contents(world)
    failed = False

    def refuse(operation: str, key: str) -> None:
        nonlocal failed
        if key == "x/h/i" and not failed:
            failed = True
            raise Transient("no")

    world.store.before = refuse
    with pytest.raises(Transient):
        await rename(world, b"d", b"x")
    assert await contents(world) == before
    assert await world.lookup(b"d") is directory
    assert await world.lookup(b"d", b"e", b"f") is file
    with pytest.raises(EntryNotFound):
        await world.lookup(b"x")


async def test_a_file_whose_copy_is_refused_keeps_its_name(world: World) -> None:
    node = await world.file(world.root, b"a", b"abc")

    def refuse(operation: str, key: str) -> None:
        if key == "b":
            raise AccessDenied("no")

    world.store.before = refuse
    with pytest.raises(AccessDenied):
        await rename(world, b"a", b"b")
    assert await world.lookup(b"a") is node
    assert await contents(world) == {"a": 3}


async def test_a_save_below_waits_for_the_directorys_rename(copying: World) -> None:
    directory, _, _ = await make_tree(copying)
    new = await copying.open_new(directory, b"new", b"12345")
    release = trio.Event()
    copying.store.before = lambda operation, key: release if operation == "copy" else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rename, copying, b"d", b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(copying.tree.save, new)
        await trio.testing.wait_all_tasks_blocked()
        assert ("write", "d/new") not in copying.store.requests
        release.set()
    assert (await contents(copying))["x/new"] == 5
    assert not any(key.startswith("d/") for key in await copying.keys())


async def test_crossed_renames_of_two_directories_end(world: World) -> None:
    await world.directory(world.root, b"a")
    await world.directory(world.root, b"b")
    a, b = await world.lookup(b"a"), await world.lookup(b"b")
    outcomes: list[str] = []

    async def move(name: bytes, into: Node) -> None:
        try:
            await world.tree.rename(world.root, name, into, b"inner", 0)
            outcomes.append("moved")
        except InvalidOperation:
            outcomes.append("refused")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move, b"a", b)
        nursery.start_soon(move, b"b", a)
    assert sorted(outcomes) == ["moved", "refused"]


async def test_the_new_name_is_absent_until_the_rename_is_done(copying: World) -> None:
    await make_tree(copying)
    await copying.file(copying.root, b"a")
    for old, new in ((b"d", b"x"), (b"a", b"b")):
        seen: list[str] = []
        release = trio.Event()
        copying.store.before = lambda operation, key, release=release: (  # type: ignore[misc]
            release if operation == "delete" else None
        )

        async def look(name: bytes, seen: list[str] = seen) -> None:
            try:
                await copying.lookup(name)
            except EntryNotFound:
                seen.append("absent")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rename, copying, old, new)
            await trio.testing.wait_all_tasks_blocked()
            assert f"{new.decode()}" in {key.split("/")[0] for key in await copying.keys()}
            await look(new if old == b"a" else old)
            release.set()
        await look(old)
        assert seen == ["absent", "absent"]
        assert new in await copying.names(copying.root)


async def test_a_failed_rename_hides_nothing(copying: World) -> None:
    await make_tree(copying)

    def refuse(operation: str, key: str) -> None:
        if operation == "copy":
            raise Transient("no")

    copying.store.before = refuse
    with pytest.raises(Transient):
        await rename(copying, b"d", b"x")
    await copying.others_put("x", b"of others")
    assert (await copying.lookup(b"x")).size == 9


async def test_an_object_of_others_does_not_pass_for_the_nodes_bytes(world: World) -> None:
    _, _, file = await make_tree(world)
    content = world.reopen(file, is_writer=True)
    former = file.info
    await world.others_put("d/e/f", b"of others")
    await rename(world, b"d", b"x")
    assert content.base == former
    content.put(b"mine")
    with pytest.raises(ObjectChanged):
        await world.tree.save(file)
    assert (await contents(world))["x/e/f"] == 9


async def test_no_key_below_a_directory_gets_too_long(nursery: trio.Nursery) -> None:
    world = make_world(nursery, capabilities=replace(NO_MOVE, max_key=20))
    directory = await world.directory(world.root, b"d")
    await world.file(directory, b"f" * 18)
    new = await world.open_new(directory, b"n", b"unsaved")
    before = await contents(world)
    for name in (b"long", b"x" * 20):
        with pytest.raises(NameTooLong):
            await rename(world, b"d", name)
    assert await contents(world) == before
    await world.tree.save(new)
    assert (await contents(world))["d/n"] == 7


async def test_names_whose_keys_are_too_long_are_refused(nursery: trio.Nursery) -> None:
    world = make_world(nursery, capabilities=replace(NO_MOVE, max_key=20), ttl_s=60)
    await world.names(world.root)
    for name, make in ((b"f" * 21, world.file), (b"d" * 20, world.directory)):
        with pytest.raises(NameTooLong):
            await make(world.root, name)
    await world.file(world.root, b"f" * 20)
    await world.directory(world.root, b"d" * 19)
    assert await world.names(world.root) == [b"d" * 19, b"f" * 20]


async def test_within_an_implicit_directory_no_marker_is_needed(world: World) -> None:
    await world.others_put("d/f", b"x")
    directory = await world.lookup(b"d")
    await world.tree.rename(directory, b"f", directory, b"g", 0)
    assert await world.keys() == ["d/g"]
    await world.tree.rename(directory, b"g", world.root, b"h", 0)
    assert await world.keys() == ["d/", "h"]
