"""A kill between the bucket's answer and the journal: the next mount knows its own object again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bucketfs.errors import ObjectChanged
from bucketfs.fuse.keeping import Keeper
from bucketfs.namespace.nodes import Changes, Node
from bucketfs.pagecache.journal import Journal
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore
from tests.unit.fuse.test_keeping import ME, Killed, Life, in_bucket, live

pytestmark = pytest.mark.allows_warnings


async def save_and_be_killed(life: Life, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save, and die before the journal hears of it."""

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "saved", killed)
        with pytest.raises(Killed):
            await life.tree.save(node)
    life.die()


@pytest.mark.parametrize("more", [b"", b"X"], ids=["as kept", "written since"])
async def test_an_edited_file_can_be_read_and_saved(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    store = MemoryStore()
    await store.write("f", BytesBody(b"0123456789"), ObjectAttributes())
    first = await live(store, tmp_path, nursery)
    node = await first.tree.lookup(first.tree.root, b"f")
    number = await first.handles.open(node, os.O_RDWR)
    await first.handles.write(number, 3, b"abc")
    await first.handles.flush(number)
    if more:
        await first.handles.write(number, 0, more)
    await save_and_be_killed(first, node, monkeypatch)
    second = await live(store, tmp_path, nursery)
    expected = (more or b"0") + b"12abc6789"
    (restored,) = second.restored
    assert await second.read(restored) == expected
    await second.tree.save(restored)
    assert await in_bucket(store, "f") == expected
    assert second.tree.unsaved() == []
    second.die()


@pytest.mark.parametrize("change", ["write", "chmod", "unlink", "rename"])
async def test_a_state_that_was_saved_before_never_comes_back_after_a_kill(
    tmp_path: Path, nursery: trio.Nursery, change: str
) -> None:
    store = MemoryStore()
    first = await live(store, tmp_path, nursery)
    node = await first.create("f", b"old")
    await first.tree.save(node)  # its record is dropped a moment later
    if change == "write":
        number = await first.handles.open(node, os.O_RDWR)
        await first.handles.write(number, 0, b"newer")
        await first.handles.sync(number)
    elif change == "chmod":
        await first.tree.change(node, Changes(mode=0o600), ME)
    elif change == "unlink":
        await first.tree.unlink(first.tree.root, b"f")
    else:
        await first.tree.rename(first.tree.root, b"f", first.tree.root, b"g", 0)
    first.die()
    assert Journal.read(tmp_path).files == ()


class GrowingStore(MemoryStore):
    """A bucket that appends natively and tells which objects grow, as COS and BOS do."""

    def __init__(self) -> None:
        super().__init__(capabilities=replace(DEFAULT_CAPABILITIES, append=True))


async def killed_log(
    store: MemoryStore, folder: Path, nursery: trio.Nursery, in_bucket_now: bytes
) -> Life:
    """Keep a log of one line in the journal; the bucket has got what was being appended."""
    first = await live(store, folder, nursery)
    await first.create("log", b"one\n")
    first.die()
    await store.append("log", 0, BytesBody(in_bucket_now), ObjectAttributes({"mode": "33188"}))
    return await live(store, folder, nursery)


@pytest.mark.parametrize("more", [b"", b"two\n"])
async def test_an_append_that_was_under_way_is_taken_as_it_arrived(
    tmp_path: Path, nursery: trio.Nursery, more: bytes
) -> None:
    store = GrowingStore()
    life = await killed_log(store, tmp_path, nursery, b"one\n" + more)
    assert life.restored == []
    assert life.tree.unsaved() == []
    node = await life.tree.lookup(life.tree.root, b"log")
    assert await life.read(node) == b"one\n" + more
    number = await life.handles.open(node, os.O_WRONLY | os.O_APPEND)
    await life.handles.write(number, node.size, b"three\n")
    await life.handles.sync(number)
    assert await in_bucket(store, "log") == b"one\n" + more + b"three\n"
    await life.rest()
    assert Journal.read(tmp_path).files == ()
    life.die()


async def test_a_log_of_others_in_its_place_is_a_conflict(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = GrowingStore()
    life = await killed_log(store, tmp_path, nursery, b"other\n")
    (node,) = life.restored
    with pytest.raises(ObjectChanged):
        await life.tree.save(node)
    assert await in_bucket(store, "log") == b"other\n"
    life.die()
