"""A kill between the bucket's answer and the journal: the next mount knows its own object again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bucketfs.fuse.keeping import Keeper
from bucketfs.namespace.nodes import Node
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from tests.unit.fuse.test_keeping import Killed, Life, in_bucket, live

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
