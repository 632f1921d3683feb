"""Keeping: a real tree over a real page cache and journal, which die and come back."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from bucketfs.errors import EntryNotFound, ObjectChanged, ObjectNotFound, Transient
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.fuse.keeping import Keeper, restore
from bucketfs.fuse.writeback import WriteBack
from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.nodes import Caller, Changes, Node
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.group_commit import GroupCommit
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.spill import SpillFile
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from tests.unit.namespace.trees import listed

ME = Caller(0, 0)
DEFAULTS = Defaults(0, 0)
KIB = 1 << 10


class Killed(Exception):
    """Ends a call where a kill would end everything."""


@dataclass
class Life:
    """One mount of a bucket, without the kernel."""

    store: MemoryStore
    tree: Tree
    pages: PageCache
    journal: Journal
    handles: Handles
    restored: list[Node]
    keeper: Keeper
    later: WriteBack

    async def create(self, name: str, data: bytes, parent: Node | None = None) -> Node:
        node = await self.tree.create(parent or self.tree.root, name.encode(), 0o644, ME)
        number = self.handles.opened(node, os.O_RDWR)
        await self.handles.write(number, 0, data)
        await self.handles.flush(number)
        await self.handles.close(number)
        return node

    async def read(self, node: Node) -> bytes:
        number = await self.handles.open(node, os.O_RDONLY)
        data = bytes(await self.handles.read(number, 0, 1 << 20))
        await self.handles.close(number)
        return data

    async def rest(self) -> None:
        """Live on for the moment after which the journal has forgotten what is done."""
        await GroupCommit.commit(self.journal._commits, is_durable=False)

    def die(self) -> None:
        """Leave everything as a killed process does, but for what the kernel closes."""
        self.journal._commits._connection.close()
        self.pages._folder.close()


async def live(
    store: MemoryStore,
    folder: Path,
    nursery: trio.Nursery,
    *,
    is_write_back: bool = True,
    conflict: str = "fail",
) -> Life:
    pages = PageCache(
        store,
        nursery,
        memory_bytes=8 << 20,
        disk_bytes=64 << 20,
        folder=folder,
        part_size=5 << 20,
        concurrency=4,
    )
    journal = Journal.open(folder, "memory://test")
    keeper = Keeper(journal)
    finder = Finder(
        store,
        ttl_s=5,
        defaults=DEFAULTS,
        attributes_policy="auto",
        concurrency=4,
        nursery=nursery,
    )
    later = WriteBack(most=4)
    tree = Tree(
        store,
        finder,
        defaults=DEFAULTS,
        ttl_s=5,
        kept=keeper,
        conflict=conflict,
        later=later.add if is_write_back else None,
    )
    keeper.tree = tree
    durability = Durability(tree, keeper, later if is_write_back else None)
    restored = await restore(journal, tree, pages, keeper)
    handles = Handles(tree, pages, durability, ttl_s=5)
    return Life(store, tree, pages, journal, handles, restored, keeper, later)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def die_after_saving(life: Life, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be killed when a save has reached the bucket, and nobody has been told."""

    async def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Keeper, "saved", killed)
    with pytest.raises(Killed):
        await life.tree.save(node)
    monkeypatch.undo()
    life.die()


async def in_bucket(store: MemoryStore, key: str) -> bytes:
    size = (await store.stat(key)).size
    data = bytearray(size)
    await store.read_range(key, 0, size, MemorySink(data))
    return bytes(data)


async def keys_of(store: MemoryStore) -> list[str]:
    return [info.key for info in (await store.list_page("")).objects]


@pytest.mark.allows_warnings
@pytest.mark.parametrize("size", [0, 100, 300 * KIB])
async def test_a_closed_file_survives(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, size: int
) -> None:
    data = os.urandom(size)
    first = await live(store, tmp_path, nursery)
    directory = await first.tree.make_directory(first.tree.root, b"d", 0o755, ME)
    await first.create("f", data, directory)
    assert await keys_of(store) == []
    first.die()
    second = await live(store, tmp_path, nursery)
    found = await second.tree.lookup(await second.tree.lookup(second.tree.root, b"d"), b"f")
    assert await second.read(found) == data
    assert [node.name for node in second.restored] == ["d", "f"]
    for node in second.restored:
        await second.tree.save(node)
    assert await in_bucket(store, "d/f") == data
    await second.rest()
    second.die()
    assert Journal.read(tmp_path).files == ()


@pytest.mark.allows_warnings
async def test_renames_removals_and_attributes_of_kept_files_survive(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    first = await live(store, tmp_path, nursery)
    root = first.tree.root
    for name in "abcde":
        await first.create(name, name.encode())
    await first.tree.rename(root, b"a", root, b"b", 0)
    await first.tree.unlink(root, b"c")
    node = await first.tree.lookup(root, b"d")
    await first.tree.change(node, Changes(mode=0o600), ME)
    directory = await first.tree.make_directory(root, b"x", 0o755, ME)
    await first.create("in", b"inside", directory)
    await first.tree.rename(root, b"x", root, b"y", 0)
    first.die()
    second = await live(store, tmp_path, nursery)
    root = second.tree.root
    names = {os.fsdecode(child.name): child for child in await listed(second.tree, root)}
    assert sorted(names) == ["b", "d", "e", "y"]
    assert await second.read(await second.tree.lookup(root, b"b")) == b"a"
    assert (await second.tree.lookup(root, b"d")).attributes.mode & 0o777 == 0o600
    inside = await second.tree.lookup(await second.tree.lookup(root, b"y"), b"in")
    assert await second.read(inside) == b"inside"
    for node in second.tree.unsaved():
        await second.tree.save(node)
    assert await keys_of(store) == ["b", "d", "e", "y/", "y/in"]
    second.die()


@pytest.mark.allows_warnings
async def test_a_failed_close_is_kept_without_write_back(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await live(store, tmp_path, nursery, is_write_back=False)

    async def away(*_: object) -> None:
        raise Transient("the server is away")

    monkeypatch.setattr(store, "write", away)
    with pytest.raises(Transient):
        await first.create("f", b"bytes")
    await first.rest()
    first.die()
    monkeypatch.undo()
    assert Journal.read(tmp_path).files[0].last_error == "the server is away"
    second = await live(store, tmp_path, nursery, is_write_back=False)
    await second.tree.save(second.restored[0])
    assert await in_bucket(store, "f") == b"bytes"
    second.die()


@pytest.mark.allows_warnings
async def test_an_edit_goes_on_from_its_base_and_never_over_others(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    for key in ("mine", "theirs"):
        await store.write(key, BytesBody(b"0123456789"), ObjectAttributes())
    first = await live(store, tmp_path, nursery)
    for name in (b"mine", b"theirs"):
        node = await first.tree.lookup(first.tree.root, name)
        number = await first.handles.open(node, os.O_RDWR)
        await first.handles.write(number, 3, b"abc")
        await first.handles.flush(number)
        await first.handles.close(number)
    first.die()
    await store.write("theirs", BytesBody(b"other"), ObjectAttributes())
    second = await live(store, tmp_path, nursery)
    mine, theirs = sorted(second.restored, key=lambda node: node.name)
    await second.tree.save(mine)
    assert await in_bucket(store, "mine") == b"012abc6789"
    with pytest.raises(ObjectChanged):
        await second.tree.save(theirs)
    assert await in_bucket(store, "theirs") == b"other"
    assert theirs.is_dirty
    # Removing the name drops our bytes only.
    await second.tree.unlink(second.tree.root, b"theirs")
    assert await in_bucket(store, "theirs") == b"other"
    await second.rest()
    second.die()
    assert Journal.read(tmp_path).files == ()


@pytest.mark.allows_warnings
@pytest.mark.parametrize("size", [100, 300 * KIB])
async def test_a_save_that_arrived_before_the_kill_is_recognised(
    store: MemoryStore,
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    data = os.urandom(size)
    first = await live(store, tmp_path, nursery)
    node = await first.create("f", data)

    await die_after_saving(first, node, monkeypatch)
    assert len(Journal.read(tmp_path).files) == 1
    second = await live(store, tmp_path, nursery)
    for restored in second.restored:
        await second.tree.save(restored)
    assert await in_bucket(store, "f") == data
    assert second.tree.unsaved() == []
    await second.rest()
    second.die()
    assert Journal.read(tmp_path).files == ()


@pytest.mark.allows_warnings
async def test_what_is_written_during_a_save_is_kept_on_what_it_left(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await live(store, tmp_path, nursery)
    node = await first.create("f", b"first")
    write, go, begun = store.write, trio.Event(), trio.Event()

    async def slow(*arguments: object) -> object:
        begun.set()
        await go.wait()
        return await write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "write", slow)
    async with trio.open_nursery() as saving:
        saving.start_soon(first.tree.save, node)
        await begun.wait()
        number = await first.handles.open(node, os.O_WRONLY)
        await first.handles.write(number, 0, b"SECOND")
        await first.handles.flush(number)
        await first.handles.close(number)
        go.set()
    monkeypatch.undo()
    assert await in_bucket(store, "f") == b"first"
    first.die()
    second = await live(store, tmp_path, nursery)
    await second.tree.save(second.restored[0])
    assert await in_bucket(store, "f") == b"SECOND"
    second.die()


async def edit_against_others(life: Life) -> tuple[Node, int]:
    """Write to a file whose object others replace meanwhile; return it, still open."""
    await life.store.write("f.txt", BytesBody(b"0123456789"), ObjectAttributes())
    node = await life.tree.lookup(life.tree.root, b"f.txt")
    number = await life.handles.open(node, os.O_RDWR)
    assert await life.handles.read(number, 0, 10) == b"0123456789"
    await life.handles.write(number, 3, b"abc")
    await life.store.write("f.txt", BytesBody(b"other"), ObjectAttributes())
    return node, number


@pytest.mark.allows_warnings
async def test_a_conflict_is_refused_and_the_bytes_are_kept(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery, is_write_back=False)
    node, number = await edit_against_others(life)
    with pytest.raises(ObjectChanged):
        await life.handles.flush(number)
    assert await in_bucket(store, "f.txt") == b"other"
    assert node.is_refused
    await life.rest()
    (record,) = Journal.read(tmp_path).files
    assert (record.is_refused, record.data) == (True, b"\0\0\0abc\0\0\0\0")
    life.die()


@pytest.mark.allows_warnings
@pytest.mark.parametrize("is_write_back", [True, False])
async def test_a_conflict_is_stored_beside_and_told_once(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, is_write_back: bool
) -> None:
    life = await live(store, tmp_path, nursery, is_write_back=is_write_back, conflict="copy")
    # The whole file is written anew: nothing of the version that is gone is needed.
    node, number = await edit_against_others(life)
    await life.handles.write(number, 0, b"ours, all of it")
    if is_write_back:
        await life.handles.flush(number)
    with pytest.raises(ObjectChanged, match=r"f\.txt\.conflict-"):
        await life.handles.sync(number)
    await life.handles.sync(number)
    await life.handles.close(number)
    (kept,) = [key for key in await keys_of(store) if key != "f.txt"]
    assert kept == os.fsdecode(node.name)
    assert await in_bucket(store, kept) == b"ours, all of it"
    assert await in_bucket(store, "f.txt") == b"other"
    theirs = await life.tree.lookup(life.tree.root, b"f.txt")
    assert await life.read(theirs) == b"other"
    await life.rest()
    life.die()
    assert Journal.read(tmp_path).files == ()


@pytest.mark.allows_warnings
async def test_bytes_of_a_version_that_is_gone_cannot_be_stored_beside(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery, is_write_back=False, conflict="copy")
    await store.write("big", BytesBody(b"x" * 8 * KIB * KIB), ObjectAttributes())
    node = await life.tree.lookup(life.tree.root, b"big")
    number = await life.handles.open(node, os.O_RDWR)
    await life.handles.write(number, 3, b"abc")
    await store.write("big", BytesBody(b"other"), ObjectAttributes())
    with pytest.raises(ObjectChanged):
        await life.handles.sync(number)
    assert node.is_refused
    assert await keys_of(store) == ["big"]
    assert len(Journal.read(tmp_path).files) == 1
    life.die()


async def test_the_last_writer_wins_where_that_is_wanted(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery, is_write_back=False, conflict="overwrite")
    _, number = await edit_against_others(life)
    await life.handles.write(number, 0, b"ours, all of it")
    await life.handles.sync(number)
    assert await in_bucket(store, "f.txt") == b"ours, all of it"
    life.die()


async def test_with_write_back_objects_are_deleted_later_but_names_at_once(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    root = life.tree.root
    for name in ("d/a", "d/b", "d/c"):
        await store.write(name, BytesBody(b"x"), ObjectAttributes())
    directory = await life.tree.lookup(root, b"d")
    await life.tree.unlink(directory, b"a")
    await life.tree.unlink(directory, b"b")
    assert await keys_of(store) == ["d/", "d/a", "d/b", "d/c"]
    assert [child.name for child in await listed(life.tree, directory)] == [b"c"]
    with pytest.raises(EntryNotFound):
        await life.tree.lookup(directory, b"a")
    # A new file of the name takes the place of the old object.
    await life.create("a", b"new", directory)
    for node in life.tree.unsaved():
        await life.tree.save(node)
    assert await keys_of(store) == ["d/", "d/a", "d/c"]
    assert await in_bucket(store, "d/a") == b"new"
    # An emptied directory goes with all that waits below it.
    await life.tree.unlink(directory, b"a")
    await life.tree.unlink(directory, b"c")
    await life.tree.remove_directory(root, b"d")
    assert await keys_of(store) == []
    life.die()


async def test_a_waiting_delete_takes_no_object_of_others(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    await store.write("f", BytesBody(b"mine"), ObjectAttributes())
    node = await life.tree.lookup(life.tree.root, b"f")
    await life.tree.unlink(life.tree.root, b"f")
    minute_ago_ns = node.attributes.ctime_ns - 60 * 10**9
    node.attributes = replace(node.attributes, ctime_ns=minute_ago_ns)
    await store.write("f", BytesBody(b"theirs"), ObjectAttributes())
    for node in life.tree.unsaved():
        await life.tree.save(node)
    assert await in_bucket(store, "f") == b"theirs"
    life.die()


@pytest.mark.allows_warnings
async def test_an_edit_that_arrived_before_the_kill_can_be_read(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write("f", BytesBody(b"0123456789"), ObjectAttributes())
    first = await live(store, tmp_path, nursery)
    node = await first.tree.lookup(first.tree.root, b"f")
    number = await first.handles.open(node, os.O_RDWR)
    await first.handles.write(number, 3, b"abc")
    await first.handles.flush(number)
    await first.handles.close(number)

    await die_after_saving(first, node, monkeypatch)
    second = await live(store, tmp_path, nursery)
    (restored,) = second.restored
    assert await second.read(restored) == b"012abc6789"
    assert await in_bucket(store, "f") == b"012abc6789"
    second.die()


@pytest.mark.allows_warnings
@pytest.mark.parametrize("later", [b"short", b"as long as", b"longer than what was"])
async def test_a_later_state_that_arrived_before_the_kill_is_not_mixed_with_an_earlier(
    store: MemoryStore,
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    later: bytes,
) -> None:
    await store.write("f", BytesBody(b"0123456789"), ObjectAttributes())
    first = await live(store, tmp_path, nursery)
    node = await first.tree.lookup(first.tree.root, b"f")
    number = await first.handles.open(node, os.O_RDWR)
    await first.handles.write(number, 3, b"abc")
    await first.handles.flush(number)
    await first.handles.truncate(node, 0, number)
    await first.handles.write(number, 0, later)
    await first.tree.change(node, Changes(mode=0o600), ME)

    await die_after_saving(first, node, monkeypatch)
    second = await live(store, tmp_path, nursery)
    found = await second.tree.lookup(second.tree.root, b"f")
    assert await second.read(found) == later
    assert found.attributes.mode & 0o777 == 0o600
    for node in second.tree.unsaved():
        await second.tree.save(node)
    assert await in_bucket(store, "f") == later
    second.die()


@pytest.mark.allows_warnings
async def test_two_closes_at_once_keep_what_both_wrote(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await live(store, tmp_path, nursery)
    node = await first.tree.create(first.tree.root, b"f", 0o644, ME)
    one, two = (first.handles.opened(node, os.O_RDWR) for _ in range(2))
    size = 300 * KIB
    await first.handles.write(one, 0, b"1" * size)
    sync, go, begun = SpillFile.sync, threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(spill: SpillFile) -> None:
        token.run_sync_soon(begun.set)
        assert go.wait(30)
        sync(spill)

    monkeypatch.setattr(SpillFile, "sync", slow)
    async with trio.open_nursery() as closing:
        closing.start_soon(first.handles.flush, one)
        await begun.wait()
        await first.handles.write(two, size, b"2" * size)
        closing.start_soon(first.handles.flush, two)
        await trio.testing.wait_all_tasks_blocked(0.05)
        go.set()
    first.die()
    second = await live(store, tmp_path, nursery)
    (restored,) = second.restored
    assert await second.read(restored) == b"1" * size + b"2" * size
    second.die()


@pytest.mark.allows_warnings
@pytest.mark.parametrize("how", ["sync", "close"])
async def test_an_older_state_never_comes_back_over_what_a_save_was_told_of(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, how: str
) -> None:
    first = await live(store, tmp_path, nursery, is_write_back=how == "sync")
    node = await first.create("f", b"old")
    await first.keeper.keep(node)
    number = await first.handles.open(node, os.O_RDWR)
    await first.handles.write(number, 0, b"newer")
    await (first.handles.sync if how == "sync" else first.handles.flush)(number)
    first.die()
    assert all(record.data == b"newer" for record in Journal.read(tmp_path).files)
    second = await live(store, tmp_path, nursery)
    assert await second.read(await second.tree.lookup(second.tree.root, b"f")) == b"newer"
    second.die()


@pytest.mark.parametrize("grows", [False, True])
async def test_a_record_that_comes_back_finds_no_bytes_of_a_later_state(
    tmp_path: Path, nursery: trio.Nursery, grows: bool
) -> None:
    store = MemoryStore()
    first = await live(store, tmp_path, nursery)
    base = b"0" * 10
    if grows:
        await store.append("f", 0, BytesBody(base), ObjectAttributes())
    else:
        await store.write("f", BytesBody(base), ObjectAttributes())
    node = await first.tree.lookup(first.tree.root, b"f")
    number = await first.handles.open(node, os.O_WRONLY | os.O_APPEND)
    await first.handles.write(number, len(base), b"1" * (100 * KIB))
    await first.handles.flush(number)
    await first.tree.save(node)
    # The file of spilled bytes is gone, the record of them goes later. Another one is begun:
    await first.handles.write(number, len(base) + 100 * KIB, b"2" * KIB)
    assert isinstance(node.content, Content)
    await node.content.image()
    first.die()
    (record,) = Journal.read(tmp_path).files
    assert record.size == len(base) + 100 * KIB
    second = await live(store, tmp_path, nursery)
    assert second.restored == []
    assert second.journal.files == ()
    again = await second.tree.lookup(second.tree.root, b"f")
    assert await second.read(again) == base + b"1" * (100 * KIB)
    second.die()


async def test_a_file_that_is_saved_later_leaves_no_bytes_here(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    before = life.pages.memory.used_bytes
    node = await life.create("f", b"bytes" * 1000)
    assert life.pages.memory.used_bytes > before
    await life.tree.save(node)
    assert node.content is None
    assert life.pages.memory.used_bytes == before
    life.die()


async def test_a_removed_file_never_comes_back(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    first = await live(store, tmp_path, nursery)
    await first.create("f", b"bytes")
    await first.tree.unlink(first.tree.root, b"f")
    first.die()
    assert Journal.read(tmp_path).files == ()


@pytest.mark.allows_warnings
async def test_a_name_is_there_after_a_kill_though_an_open_file_has_just_taken_it(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    await life.create("d", b"closed, and not in the bucket yet")
    node = await life.tree.create(life.tree.root, b"a", 0o644, ME)
    number = life.handles.opened(node, os.O_RDWR)
    await life.handles.write(number, 0, b"still open")
    await life.tree.rename(life.tree.root, b"a", life.tree.root, b"d", 0)
    life.die()
    assert await keys_of(store) == []
    again = await live(store, tmp_path, nursery)
    assert [child.name for child in await listed(again.tree, again.tree.root)] == [b"d"]
    assert await again.read(await again.tree.lookup(again.tree.root, b"d")) == b"still open"
    assert len(again.restored) == 1
    again.die()


async def test_an_upload_that_is_gone_is_no_missing_file(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await live(store, tmp_path, nursery)
    node = await life.create("f", b"bytes")

    async def gone(*_: object) -> None:
        raise ObjectNotFound("there is no such upload")

    monkeypatch.setattr(store, "write", gone)
    with pytest.raises(Transient, match="begun anew"):
        await life.tree.save(node)
    assert await life.read(node) == b"bytes"
    monkeypatch.undo()
    await life.tree.save(node)
    assert await in_bucket(store, "f") == b"bytes"
    life.die()
