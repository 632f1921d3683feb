"""With write-back the markers of directories wait as files do: in the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from bucketfs.errors import EntryNotFound, NoSpace
from bucketfs.namespace.nodes import Changes, Node
from bucketfs.pagecache.journal import Journal
from bucketfs.storage.interface import ABSENT, BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore

from .test_keeping import ME, Life, keys_of, live

pytestmark = pytest.mark.allows_warnings


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def mode_in_bucket(store: MemoryStore, key: str) -> int:
    metadata = (await store.stat(key)).metadata or {}
    return int(metadata["mode"]) & 0o7777


async def make(life: Life, *path: bytes, mode: int = 0o755) -> Node:
    node = life.tree.root
    for name in path:
        node = node.children.get(name.decode()) or await life.tree.make_directory(
            node, name, mode, ME
        )
    return node


async def save_all(life: Life) -> None:
    for node in life.tree.unsaved():
        await life.tree.save(node)
    await life.rest()


async def names_in(life: Life, directory: Node) -> list[bytes]:
    return [child.name async for page in life.tree.pages(directory) for child in page]


async def test_a_new_directory_costs_no_request_and_is_there(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    directory = await make(life, b"d", b"e", mode=0o750)
    assert await keys_of(store) == []
    assert (await life.tree.lookup(life.tree.root, b"d")).is_directory
    assert await names_in(life, life.tree.root) == [b"d"]
    assert directory.attributes.mode & 0o777 == 0o750
    await save_all(life)
    assert await keys_of(store) == ["d/", "d/e/"]
    assert await mode_in_bucket(store, "d/e/") == 0o750
    assert Journal.read(tmp_path).files == ()
    assert await names_in(life, life.tree.root) == [b"d"]
    life.die()


async def test_it_survives_a_kill_with_its_attributes(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    first = await live(store, tmp_path, nursery)
    directory = await make(first, b"d", b"e")
    await first.tree.change(directory, Changes(mode=0o711), ME)
    first.die()
    second = await live(store, tmp_path, nursery)
    outer = await second.tree.lookup(second.tree.root, b"d")
    found = await second.tree.lookup(outer, b"e")
    assert (found.is_directory, found.attributes.mode & 0o777) == (True, 0o711)
    await save_all(second)
    assert await mode_in_bucket(store, "d/e/") == 0o711
    assert Journal.read(tmp_path).files == ()
    second.die()


async def test_one_that_is_removed_again_never_gets_to_the_bucket(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await live(store, tmp_path, nursery)
    await make(life, b"d")

    async def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be written or deleted")

    monkeypatch.setattr(store, "write", refuse)
    monkeypatch.setattr(store, "delete", refuse)
    await life.tree.remove_directory(life.tree.root, b"d")
    with pytest.raises(EntryNotFound):
        await life.tree.lookup(life.tree.root, b"d")
    assert life.tree.unsaved() == []
    await life.rest()
    assert Journal.read(tmp_path).files == ()
    life.die()


async def test_changes_of_a_directory_are_one_request(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await store.write("d/", BytesBody(b""), ObjectAttributes({"mode": str(0o40755)}))
    first = await live(store, tmp_path, nursery)
    directory = await first.tree.lookup(first.tree.root, b"d")
    before = (await store.stat("d/")).version
    await first.tree.change(directory, Changes(mode=0o700), ME)
    await first.tree.change(directory, Changes(mtime_ns=5), ME)
    assert (await store.stat("d/")).version == before
    first.die()
    second = await live(store, tmp_path, nursery)
    directory = await second.tree.lookup(second.tree.root, b"d")
    assert directory.attributes.mtime_ns == 5
    await save_all(second)
    assert await mode_in_bucket(store, "d/") == 0o700
    assert second.tree.unsaved() == []
    second.die()


async def test_what_others_made_of_it_meanwhile_is_taken(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    await make(life, b"new", mode=0o711)
    await store.write("old/", BytesBody(b""), ObjectAttributes({"mode": str(0o40755)}))
    old = await life.tree.lookup(life.tree.root, b"old")
    await life.tree.change(old, Changes(mode=0o700), ME)
    await store.write("new/", BytesBody(b""), ObjectAttributes({"mode": str(0o40755)}), ABSENT)
    await store.delete("old/")
    await save_all(life)
    assert await mode_in_bucket(store, "new/") == 0o711
    assert await keys_of(store) == ["new/"]
    assert life.tree.unsaved() == []
    assert Journal.read(tmp_path).files == ()
    life.die()


async def test_a_file_that_goes_leaves_a_new_directory_without_a_request(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    directory = await make(life, b"d")
    await life.create("f", b"bytes", directory)
    await life.tree.unlink(directory, b"f")
    assert await keys_of(store) == []
    await save_all(life)
    assert await keys_of(store) == ["d/"]
    life.die()


@pytest.mark.parametrize("replaces", [False, True])
async def test_it_is_renamed_with_what_is_in_it(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, *, replaces: bool
) -> None:
    first = await live(store, tmp_path, nursery)
    directory = await make(first, b"d", mode=0o711)
    await first.create("f", b"bytes", directory)
    await first.tree.save(await first.tree.lookup(directory, b"f"))
    await first.create("g", b"unsaved", directory)
    if replaces:
        await make(first, b"x")
    await first.tree.rename(first.tree.root, b"d", first.tree.root, b"x", 0)
    await first.rest()
    first.die()
    second = await live(store, tmp_path, nursery)
    assert await names_in(second, second.tree.root) == [b"x"]
    await save_all(second)
    assert await keys_of(store) == ["x/", "x/f", "x/g"]
    assert await mode_in_bucket(store, "x/") == 0o711
    assert Journal.read(tmp_path).files == ()
    second.die()


def failing(life: Life) -> Callable[..., object]:
    async def full(*_: object) -> None:
        raise NoSpace("the disk is full")

    return full


async def test_a_journal_that_is_full_keeps_nothing_back(
    store: MemoryStore, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await live(store, tmp_path, nursery)
    monkeypatch.setattr(life.journal, "put_file", failing(life))
    directory = await make(life, b"d")
    assert await keys_of(store) == ["d/"]
    await life.tree.change(directory, Changes(mode=0o700), ME)
    assert await mode_in_bucket(store, "d/") == 0o700
    assert life.tree.unsaved() == []
    life.die()
