"""With write-back the objects of removed files are deleted together, and each is told of alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import trio

from bucketfs.errors import AccessDenied
from bucketfs.fuse.durability import Durability
from bucketfs.namespace.nodes import Node
from bucketfs.pagecache.journal import Journal
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore

from .test_keeping import Life, keys_of, live

NAMES = [f"f{number}" for number in range(5)]


class BatchStore(MemoryStore):
    """Remembers which keys were deleted together; some are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.refused: set[str] = set()

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        batch = list(keys)
        self.batches.append(batch)
        await super().delete_many([key for key in batch if key not in self.refused])
        return {key: AccessDenied("no", key=key) for key in batch if key in self.refused}


@pytest.fixture
def store() -> BatchStore:
    return BatchStore()


async def removed(life: Life, store: BatchStore) -> list[Node]:
    """Remove files that are in the bucket; return their nodes, whose objects are still there."""
    for name in NAMES:
        await store.write(name, BytesBody(b"x"), ObjectAttributes())
    nodes = []
    for name in NAMES:
        nodes.append(await life.tree.lookup(life.tree.root, name.encode()))
        await life.tree.unlink(life.tree.root, name.encode())
    assert await keys_of(store) == NAMES
    return nodes


async def test_one_request_deletes_all_that_are_due(
    store: BatchStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    nodes = await removed(life, store)
    assert len(life.later) == len(NAMES)
    nursery.start_soon(life.later.run, Durability(life.tree, life.keeper, life.later))
    with trio.fail_after(5):
        while len(life.later):  # noqa: ASYNC110 - the queue tells nobody that it is empty
            await trio.sleep(0.01)
    assert store.batches == [NAMES]
    assert await keys_of(store) == []
    assert not any(node.waits_for_delete for node in nodes)
    await life.rest()
    assert Journal.read(tmp_path).jobs == ()
    life.die()


@pytest.mark.allows_warnings
async def test_one_that_is_refused_waits_and_the_others_go(
    store: BatchStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    nodes = await removed(life, store)
    store.refused = {"f2"}
    with pytest.raises(AccessDenied):
        await life.tree.end_removed(nodes)
    assert await keys_of(store) == ["f2"]
    assert [node.name for node in nodes if node.waits_for_delete] == ["f2"]
    store.refused = set()
    await life.tree.end_removed(nodes)
    assert await keys_of(store) == []
    life.die()


async def test_one_that_is_open_again_is_left_alone(
    store: BatchStore, tmp_path: Path, nursery: trio.Nursery
) -> None:
    life = await live(store, tmp_path, nursery)
    nodes = await removed(life, store)
    life.tree.opened(nodes[0], is_writer=False)
    await life.tree.end_removed(nodes)
    assert store.batches == [NAMES[1:]]
    assert await keys_of(store) == NAMES[:1]
    await life.tree.closed(nodes[0], is_writer=False)
    assert await keys_of(store) == []
    life.die()
