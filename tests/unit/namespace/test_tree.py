"""Looking up, listing, making and removing names."""

from __future__ import annotations

import stat

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
    ReadOnly,
    StaleHandle,
    Transient,
)
from bucketfs.namespace.nodes import Caller, key_of
from bucketfs.namespace.removal import FETCH_LIMIT_BYTES

from .trees import CALLER, World, listed, make_world, mode_of


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return make_world(nursery)


async def test_an_object_of_others_is_found_with_its_attributes(world: World) -> None:
    await world.others_put("d/f", b"abc", mode=str(stat.S_IFREG | 0o640), uid="7")
    node = await world.lookup(b"d", b"f")
    assert (node.size, mode_of(node), node.attributes.uid) == (3, 0o640, 7)
    assert key_of(node) == "d/f"
    assert node.lookups == 1


async def test_the_same_version_keeps_its_inode_and_takes_new_attributes(world: World) -> None:
    info = await world.others_put("f", b"abc")
    node = await world.lookup(b"f")
    await world.store.copy("f", "f", attributes=world.tree.stored_attributes(node))
    again = await world.lookup(b"f")
    # This bucket gives every copy a new version; what counts is the version.
    changed = (await world.store.stat("f")).version != info.version
    assert (again is node) is not changed


async def test_a_replaced_object_is_a_new_inode_and_the_old_one_goes_stale(world: World) -> None:
    await world.others_put("f", b"old")
    old = await world.lookup(b"f")
    await world.others_put("f", b"new!")
    new = await world.lookup(b"f")
    assert new.inode != old.inode
    assert (new.size, old.is_stale) == (4, True)
    with pytest.raises(StaleHandle):
        await world.tree.refresh(old)


async def test_what_is_doubted_is_asked_for_again_within_the_ttl(nursery: trio.Nursery) -> None:
    world = make_world(nursery, ttl_s=1000)
    await world.others_put("f", b"old")
    await world.others_put("g", b"same")
    nodes = {child.name: child for child in await listed(world.tree, world.root)}
    assert len(nodes) == 2
    old, other = await world.lookup(b"f"), await world.lookup(b"g")
    await world.others_put("f", b"new!")
    await world.tree.refresh(old)
    assert await world.lookup(b"f") is old, "within the ttl it is believed"
    world.tree.doubt(old)
    with pytest.raises(StaleHandle):
        await world.tree.refresh(old)
    assert (await world.lookup(b"f")).size == 4
    assert await world.lookup(b"g") is other


async def test_an_open_handle_of_a_replaced_object_keeps_its_attributes(world: World) -> None:
    await world.others_put("f", b"old")
    node = await world.lookup(b"f")
    world.reopen(node)
    await world.others_put("f", b"new!")
    await world.tree.refresh(node)
    assert node.is_stale
    assert node.size == 3


async def test_another_type_under_the_same_name_is_a_new_inode(world: World) -> None:
    await world.others_put("f", b"x")
    file = await world.lookup(b"f")
    await world.store.delete("f")
    await world.others_put("f/below", b"x")
    directory = await world.lookup(b"f")
    assert directory.is_directory
    assert directory.inode != file.inode


async def test_an_absent_name_is_not_found_and_an_unreachable_one_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EntryNotFound):
        await world.lookup(b"f")

    async def refuse(*_: object, **__: object) -> None:
        raise AccessDenied("no")

    for request in ("stat", "list_page", "read_range"):
        monkeypatch.setattr(world.store, request, refuse)
    with pytest.raises(AccessDenied):
        await world.lookup(b"f")


async def test_a_name_over_255_bytes_is_too_long(world: World) -> None:
    with pytest.raises(NameTooLong):
        await world.lookup(b"n" * 256)


async def test_a_created_file_costs_no_request_before_its_save(world: World) -> None:
    node = await world.open_new(world.root, b"f", b"abc")
    assert world.store.requests == []
    assert await world.lookup(b"f") is node
    assert await world.names(world.root) == [b"f"]
    await world.tree.save(node)
    assert world.store.requests == [("write", "f")]
    assert await world.names(world.root) == [b"f"]


async def test_a_name_that_is_there_is_not_created_again(world: World) -> None:
    await world.others_put("f")
    await world.open_new(world.root, b"local")
    for name in (b"f", b"local"):
        with pytest.raises(EntryExists):
            await world.tree.create(world.root, name, 0o644, CALLER)
        with pytest.raises(EntryExists):
            await world.tree.make_directory(world.root, name, 0o755, CALLER)


async def test_two_creates_of_one_name_at_once_make_one_file(world: World) -> None:
    outcomes: list[str] = []

    async def create() -> None:
        try:
            await world.tree.create(world.root, b"f", 0o644, CALLER)
            outcomes.append("made")
        except EntryExists:
            outcomes.append("there")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        nursery.start_soon(create)
    assert sorted(outcomes) == ["made", "there"]


async def test_a_directory_is_a_marker_with_attributes(world: World) -> None:
    await world.directory(world.root, b"d")
    metadata = await world.metadata("d/")
    assert int(metadata["mode"]) == stat.S_IFDIR | 0o755
    assert (metadata["uid"], metadata["gid"]) == ("1000", "1000")
    assert (await world.store.stat("d/")).content_type == "application/x-directory"


async def test_a_setgid_directory_gives_its_group_and_the_bit_to_directories(world: World) -> None:
    parent = await world.tree.make_directory(world.root, b"d", 0o2775, Caller(1, 500))
    file = await world.tree.create(parent, b"f", 0o644, CALLER)
    inner = await world.tree.make_directory(parent, b"e", 0o755, CALLER)
    assert (file.attributes.gid, mode_of(file)) == (500, 0o644)
    assert (inner.attributes.gid, mode_of(inner)) == (500, 0o2755)


async def test_making_and_removing_a_name_moves_the_directorys_times(world: World) -> None:
    directory = await world.directory(world.root, b"d")
    before = directory.attributes.mtime_ns
    await world.file(directory, b"f")
    made = directory.attributes.mtime_ns
    await world.tree.unlink(directory, b"f")
    removed = directory.attributes
    assert before < made < removed.mtime_ns == removed.ctime_ns
    await world.lookup(b"d")
    assert directory.attributes.mtime_ns == removed.mtime_ns, "the marker is older than that"


async def test_special_files_are_objects_with_their_type_in_the_metadata(world: World) -> None:
    mode = stat.S_IFCHR | 0o600
    node = await world.tree.make_node(world.root, b"null", mode, 0x103, CALLER)
    assert (node.attributes.rdev, node.kind) == (0x103, stat.S_IFCHR)
    metadata = await world.metadata("null")
    assert (int(metadata["mode"]), metadata["rdev"]) == (mode, str(0x103))


async def test_mknod_makes_no_directories(world: World) -> None:
    with pytest.raises(InvalidOperation):
        await world.tree.make_node(world.root, b"d", stat.S_IFDIR | 0o755, 0, CALLER)


async def test_unlink_deletes_the_object_and_the_name(world: World) -> None:
    await world.file(world.root, b"f")
    await world.tree.unlink(world.root, b"f")
    assert await world.keys() == []
    with pytest.raises(EntryNotFound):
        await world.lookup(b"f")
    with pytest.raises(EntryNotFound):
        await world.tree.unlink(world.root, b"f")


async def test_unlink_of_an_unsaved_file_costs_no_request(world: World) -> None:
    node = await world.open_new(world.root, b"f")
    await world.tree.unlink(world.root, b"f")
    await world.tree.save(node)
    await world.tree.closed(node, is_writer=True)
    assert world.store.requests == []
    assert await world.names(world.root) == []


async def test_a_failed_delete_leaves_the_name(world: World) -> None:
    await world.file(world.root, b"f")

    def refuse(operation: str, key: str) -> None:
        if operation == "delete":
            raise AccessDenied("no")

    world.store.before = refuse
    with pytest.raises(AccessDenied):
        await world.tree.unlink(world.root, b"f")
    assert (await world.lookup(b"f")).size == 1


async def test_an_open_small_file_is_fetched_before_its_object_goes(world: World) -> None:
    node = await world.file(world.root, b"f", b"abc")
    content = world.reopen(node)
    await world.tree.unlink(world.root, b"f")
    assert content.is_fetched
    assert bytes(content.data) == b"abc"
    assert await world.keys() == []
    assert not content.is_discarded
    await world.tree.closed(node)
    assert content.is_discarded


async def test_the_delete_of_a_big_open_file_waits_for_the_last_close(world: World) -> None:
    node = await world.file(world.root, b"f", bytes(FETCH_LIMIT_BYTES + 1))
    content = world.reopen(node)
    await world.tree.unlink(world.root, b"f")
    assert not content.is_fetched
    assert await world.keys() == ["f"]
    with pytest.raises(EntryNotFound):
        await world.lookup(b"f")
    assert await world.names(world.root) == []
    await world.tree.closed(node)
    assert await world.keys() == []


async def test_a_waiting_delete_that_fails_is_unsaved_until_it_is_done(world: World) -> None:
    node = await world.file(world.root, b"f", bytes(FETCH_LIMIT_BYTES + 1))
    world.reopen(node)
    await world.tree.unlink(world.root, b"f")
    assert world.tree.unsaved() == []  # somebody has it open

    def refuse(operation: str, key: str) -> None:
        raise Transient("no")

    world.store.before = refuse
    with pytest.raises(Transient):
        await world.tree.closed(node)
    assert world.tree.unsaved() == [node]
    with pytest.raises(Transient):
        await world.tree.save(node)
    with pytest.raises(EntryNotFound):
        await world.lookup(b"f")
    world.store.before = lambda operation, key: None
    await world.tree.save(node)
    assert world.tree.unsaved() == []
    assert await world.keys() == []


async def test_a_new_file_under_a_waiting_name_does_not_harm_either(world: World) -> None:
    node = await world.file(world.root, b"f", bytes(FETCH_LIMIT_BYTES + 1))
    content = world.reopen(node)
    await world.tree.unlink(world.root, b"f")
    new = await world.file(world.root, b"f", b"new")
    assert content.is_fetched
    await world.tree.closed(node)
    assert (await world.store.stat("f")).size == 3
    assert (await world.lookup(b"f")) is new


async def test_a_directory_with_a_waiting_file_can_be_removed(world: World) -> None:
    directory = await world.directory(world.root, b"d")
    node = await world.file(directory, b"f", bytes(FETCH_LIMIT_BYTES + 1))
    content = world.reopen(node)
    await world.tree.unlink(directory, b"f")
    await world.tree.remove_directory(world.root, b"d")
    assert content.is_fetched
    assert await world.keys() == []


async def test_rmdir_refuses_what_is_not_empty_here_or_in_the_bucket(world: World) -> None:
    local = await world.directory(world.root, b"local")
    await world.open_new(local, b"f")
    await world.directory(world.root, b"remote")
    await world.others_put("remote/f")
    for name in (b"local", b"remote"):
        with pytest.raises(DirectoryNotEmpty):
            await world.tree.remove_directory(world.root, name)


async def test_rmdir_removes_an_empty_directory(world: World) -> None:
    directory = await world.directory(world.root, b"d")
    await world.file(directory, b"f")
    await world.tree.unlink(directory, b"f")
    await world.tree.remove_directory(world.root, b"d")
    assert await world.keys() == []
    with pytest.raises(EntryNotFound):
        await world.tree.create(directory, b"f", 0o644, CALLER)


async def test_unlink_and_rmdir_keep_to_their_types(world: World) -> None:
    await world.directory(world.root, b"d")
    await world.file(world.root, b"f")
    with pytest.raises(IsADirectory):
        await world.tree.unlink(world.root, b"d")
    with pytest.raises(NotADirectory):
        await world.tree.remove_directory(world.root, b"f")
    with pytest.raises(NotADirectory):
        await world.lookup(b"f", b"below")


async def test_an_implicit_directory_outlives_its_last_entry(world: World) -> None:
    await world.others_put("d/f")
    directory = await world.lookup(b"d")
    await world.tree.unlink(directory, b"f")
    assert await world.keys() == ["d/"]
    assert await world.lookup(b"d") is directory


async def test_listed_children_are_adopted_unless_the_directory_changed(
    nursery: trio.Nursery,
) -> None:
    world = make_world(nursery, ttl_s=60)
    await world.file(world.root, b"a")
    await world.file(world.root, b"b")
    children = await listed(world.tree, world.root)
    known = world.tree.adopt(world.root, children[0])
    assert known is not None
    assert known.name == "a"
    await world.tree.unlink(world.root, b"b")
    assert world.tree.adopt(world.root, children[1]) is None, "it is gone since"


async def test_small_files_of_the_root_are_of_unknown_type_until_proved(world: World) -> None:
    await world.others_put("may-be-a-symlink")
    await world.others_put("d/f")
    kinds = {child.name: child.kind_mode for child in await listed(world.tree, world.root)}
    assert kinds == {b"may-be-a-symlink": 0, b"d": stat.S_IFDIR}
    directory = await world.lookup(b"d")
    assert [child.kind_mode for child in await listed(world.tree, directory)] == [stat.S_IFREG]


async def test_forgetting_gives_lookups_back(world: World) -> None:
    await world.file(world.root, b"f")
    node = await world.lookup(b"f")
    assert node.lookups == 2
    world.tree.forget(node.inode, 2)
    with pytest.raises(StaleHandle):
        world.tree.node(node.inode)
    assert (await world.lookup(b"f")).inode != node.inode


async def test_a_read_only_mount_refuses_every_change(nursery: trio.Nursery) -> None:
    world = make_world(nursery, is_read_only=True)
    await world.others_put("f")
    with pytest.raises(ReadOnly):
        await world.tree.create(world.root, b"g", 0o644, CALLER)
    with pytest.raises(ReadOnly):
        await world.tree.make_directory(world.root, b"g", 0o755, CALLER)
    with pytest.raises(ReadOnly):
        await world.tree.unlink(world.root, b"f")
    with pytest.raises(ReadOnly):
        await world.tree.rename(world.root, b"f", world.root, b"g", 0)
    assert world.store.requests == []


async def test_an_entry_that_others_make_at_the_same_moment_is_refused(world: World) -> None:
    release = trio.Event()

    def wait(operation: str, key: str) -> trio.Event:
        return release

    world.store.before = wait
    outcome: list[BaseException | None] = []

    async def make() -> None:
        try:
            await world.directory(world.root, b"d")
            outcome.append(None)
        except EntryExists as exc:
            outcome.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await trio.testing.wait_all_tasks_blocked()
        await world.others_put("d/")
        release.set()
    assert isinstance(outcome[0], EntryExists)
    assert (await world.lookup(b"d")).is_directory
