"""Handles: opening, appending, saving at close, and forgetting."""

from __future__ import annotations

import os
from typing import cast

import pytest

from bucketfs.errors import ObjectChanged, StaleHandle, Transient
from bucketfs.fuse.durability import Durability
from bucketfs.fuse.handles import Handles
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree

from .fakes import FakeContent, FakeContents, FakeKeeper, FakeTree


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def contents() -> FakeContents:
    return FakeContents()


@pytest.fixture
def handles(tree: FakeTree, contents: FakeContents) -> Handles:
    durability = Durability(cast("Tree", tree), FakeKeeper())
    return Handles(cast("Tree", tree), contents, durability, ttl_s=5)  # type: ignore[arg-type]


async def test_a_node_has_one_content_however_often_it_is_open(
    tree: FakeTree, contents: FakeContents, handles: Handles
) -> None:
    node = tree.add(2, "f")
    first = await handles.open(node, os.O_RDONLY)
    second = await handles.open(node, os.O_RDWR)
    assert first != second
    assert contents.made == 1
    assert (node.opens, node.writers) == (2, 1)
    await handles.write(second, 0, b"abc")
    assert await handles.read(first, 1, 10) == b"bc"


async def test_bytes_that_the_stat_brought_are_used_once(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    node.data = b"whole"
    number = await handles.open(node, os.O_RDONLY)
    assert await handles.read(number, 0, 10) == b"whole"
    assert node.data is None


async def test_a_reader_that_meets_another_version_casts_doubt(
    tree: FakeTree, handles: Handles
) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_RDONLY)
    content = cast("FakeContent", node.content)
    content.read_error = Transient("away")
    with pytest.raises(Transient):
        await handles.read(number, 0, 1)
    assert tree.doubted == []
    content.read_error = ObjectChanged("replaced")
    with pytest.raises(ObjectChanged):
        await handles.read(number, 0, 1)
    assert tree.doubted == [node]


async def test_a_replaced_file_is_stale_at_open(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    tree.stale.add("f")
    with pytest.raises(StaleHandle):
        await handles.open(node, os.O_RDONLY)
    assert node.opens == 0


async def test_a_version_that_others_replaced_is_stale_although_open(
    tree: FakeTree, handles: Handles
) -> None:
    node = tree.add(2, "f")
    await handles.open(node, os.O_RDONLY)
    node.is_stale = True
    with pytest.raises(StaleHandle):
        await handles.open(node, os.O_RDONLY)


async def test_the_target_knows_the_key_of_the_moment(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_RDWR)
    target = handles.file(number).content.target
    assert target is not None
    assert target.key() == "f"
    node.name = "g"
    assert target.key() == "g"
    assert target.attributes().metadata == {"mode": str(0o100644)}


async def test_appends_go_to_the_end(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "log")
    node.data = b"x" * 5000
    number = await handles.open(node, os.O_WRONLY | os.O_APPEND)
    await handles.write(number, 17, b"end")
    assert await handles.read(number, 4998, 10) == b"xxend"
    # the kernel writing back a page of a shared mapping
    await handles.write(number, 4096, b"MAP")
    assert await handles.read(number, 4096, 4) == b"MAPx"
    # a kernel that believes the file to be longer makes no hole
    await handles.write(number, 8192, b"!")
    assert handles.file(number).content.size == 5004


async def test_a_content_hears_who_appends(tree: FakeTree, handles: Handles) -> None:
    number = await handles.open(tree.add(2, "log"), os.O_WRONLY | os.O_APPEND)
    other = await handles.open(tree.add(3, "f"), os.O_WRONLY)
    await handles.flush(number)
    for handle in (number, other):
        await handles.write(handle, 0, b"line")
        await handles.sync(handle)
        await handles.write(handle, 4, b"line")
        await handles.flush(handle)
    log, file = handles.file(number).content, handles.file(other).content
    assert log.appender_syncs == [True, False]  # type: ignore[attr-defined]
    assert file.appender_syncs == []  # type: ignore[attr-defined]


async def test_close_saves_what_a_writer_may_have_written(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    reader = await handles.open(node, os.O_RDONLY)
    writer = await handles.open(node, os.O_WRONLY)
    await handles.write(writer, 0, b"abc")
    await handles.flush(reader)
    assert tree.saved == []
    await handles.flush(writer)
    assert tree.saved == ["f"]
    await handles.flush(writer)
    assert tree.saved == ["f"]


async def test_flush_tells_the_error_and_the_bytes_stay(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_WRONLY)
    await handles.write(number, 0, b"abc")
    tree.save_error = Transient("away")
    with pytest.raises(Transient):
        await handles.flush(number)
    assert node.is_dirty


@pytest.mark.allows_warnings
async def test_release_closes_even_if_nothing_can_be_saved(
    tree: FakeTree, handles: Handles
) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_WRONLY)
    await handles.write(number, 0, b"abc")
    tree.save_error = Transient("away")
    await handles.close(number)
    assert (node.opens, len(handles)) == (0, 0)
    assert node.is_dirty
    with pytest.raises(StaleHandle):
        handles.file(number)


@pytest.mark.allows_warnings
async def test_release_tells_nobody_of_a_delete_that_is_tried_again(
    tree: FakeTree, handles: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tree.closed

    async def fail(node: Node, *, is_writer: bool) -> None:
        await closed(node, is_writer=is_writer)
        raise Transient("away")

    monkeypatch.setattr(tree, "closed", fail)
    for inode in (2, 3):
        await handles.open(tree.add(inode, f"f{inode}"), os.O_RDONLY)
    await handles.close_all()
    assert len(handles) == 0


async def test_truncate_by_path_is_saved_at_once(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    node.data = b"abcdef"
    await handles.truncate(node, 2, None)
    assert tree.saved == ["f"]
    assert (node.opens, node.writers, node.size) == (0, 0, 2)


async def test_truncate_by_handle_waits_for_close(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_RDWR)
    await handles.truncate(node, 9, number)
    assert tree.saved == []
    assert node.size == 9


async def test_a_file_that_was_removed_meanwhile_is_not_opened(
    tree: FakeTree, handles: Handles
) -> None:
    node = tree.add(2, "f")
    first = await handles.open(node, os.O_RDONLY)
    node.is_removed = True
    again = await handles.open(node, os.O_RDONLY)
    for number in (first, again):
        await handles.close(number)
    with pytest.raises(StaleHandle):
        await handles.open(node, os.O_RDONLY)
    assert (node.opens, len(handles)) == (0, 0)


async def test_writes_to_a_removed_file_begin_no_upload(tree: FakeTree, handles: Handles) -> None:
    node = tree.add(2, "f")
    number = await handles.open(node, os.O_RDWR)
    node.is_removed = True
    await handles.write(number, 0, b"abc")
    assert cast("FakeContent", node.content).target is None
    await handles.flush(number)
    assert tree.saved == []
