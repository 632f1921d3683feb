"""Random operations on a content, against a bytearray, with budgets that are always too small."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketfs.errors import Transient
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.storage.interface import (
    Body,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Upload,
)
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.memory_upload import MemoryUpload

KIB = 1 << 10
LIMITS = Capabilities(part_copy=True, conditional_write=True, min_part=2 * KIB, max_parts=500)
NO_COPY = Capabilities(conditional_write=True, min_part=2 * KIB, max_parts=500)
ATTRIBUTES = ObjectAttributes()

OFFSETS = st.integers(0, 120 * KIB)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, st.integers(1, 40 * KIB)),
        st.tuples(st.just("append"), st.integers(1, 30), st.integers(1, 6 * KIB)),
        st.tuples(st.just("truncate"), OFFSETS, st.none()),
        st.tuples(st.just("read"), OFFSETS, st.integers(0, 60 * KIB)),
        st.tuples(st.just("save"), st.booleans(), st.booleans()),
        st.tuples(st.just("fetch_all"), st.none(), st.none()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
    ),
    max_size=20,
)


class FailingStore(MemoryStore):
    """A store whose uploads fail at a given rate, and whose commit always fails if `is_broken`."""

    rate = 0.0
    is_broken = False

    def __init__(self, capabilities: Capabilities, seed: int) -> None:
        super().__init__(capabilities=capabilities)
        self.random = random.Random(seed)

    async def wait(self) -> None:
        """Let other tasks run while a request is under way."""
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    async def trouble(self) -> None:
        await self.wait()
        if self.random.random() < self.rate:
            raise Transient("made to fail")

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        upload = await super().begin_upload(key, attributes)
        return FailingUpload(self, upload.upload_id)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        await self.wait()
        if self.is_broken:
            raise Transient("broken")
        return await super().write(key, body, attributes, precondition)


class FailingUpload(MemoryUpload):
    """An upload of a `FailingStore`."""

    def __init__(self, store: FailingStore, upload_id: str) -> None:
        super().__init__(store, upload_id)
        self.failing = store

    async def add_part(self, number: int, body: Body) -> Part:
        await self.failing.trouble()
        return await super().add_part(number, body)

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        await self.failing.wait()
        if self.failing.is_broken:
            raise Transient("broken")
        return await super().commit(parts, precondition)


class Target:
    """Where everything streams to."""

    def key(self) -> str:
        return "k"

    def attributes(self) -> ObjectAttributes:
        return ATTRIBUTES


class Machine:
    """One file, its model, and the operations on both."""

    def __init__(self, cache: PageCache, store: FailingStore, seed: int) -> None:
        self.cache = cache
        self.store = store
        self.random = random.Random(seed)
        self.model = bytearray()
        self.content = self.made(cache.create())

    def made(self, content: Content) -> Content:
        content.target = Target()
        return content

    async def write(self, offset: int, length: int) -> None:
        data = self.random.randbytes(length)
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + length] = data
        await self.content.write(offset, data)

    async def append(self, times: int, length: int) -> None:
        for _ in range(times):
            await self.write(len(self.model), length)

    async def truncate(self, size: int, _: object) -> None:
        self.model.extend(bytes(max(0, size - len(self.model))))
        del self.model[size:]
        await self.content.truncate(size)

    async def read(self, offset: int, length: int) -> None:
        expected = bytes(self.model[offset : offset + length])
        assert bytes(await self.content.read(offset, length)) == expected

    async def save(self, fails: bool, is_written_meanwhile: bool) -> None:
        base = self.content.base
        known = Precondition(base.version if base is not None else None)
        self.store.is_broken = fails
        async with trio.open_nursery() as nursery:
            before = bytes(self.model)
            task = trio.Event()

            async def save() -> None:
                task.set()
                try:
                    await self.content.save("k", ATTRIBUTES, known)
                except Transient:
                    return
                assert await self.stored() == before or is_written_meanwhile

            nursery.start_soon(save)
            await task.wait()
            if is_written_meanwhile:
                for _ in range(self.random.randrange(12)):
                    await trio.lowlevel.checkpoint()
                await self.write(self.random.randrange(60 * KIB), 3 * KIB)
                await self.append(3, 5 * KIB)
        self.store.is_broken = False

    async def stored(self) -> bytes:
        info = await self.store.stat("k")
        buffer = bytearray(info.size)
        await self.store.read_range("k", 0, info.size, MemorySink(buffer))
        return bytes(buffer)

    async def fetch_all(self, *_: object) -> None:
        await self.content.fetch_all()

    async def reopen(self, *_: object) -> None:
        await self.settle()
        await self.content.discard()
        self.content = self.made(self.cache.open(await self.store.stat("k")))

    async def settle(self) -> None:
        while self.content.is_dirty:
            await self.save(False, False)

    async def finish(self) -> None:
        await self.read(0, len(self.model) + 1)
        await self.settle()
        assert await self.stored() == bytes(self.model)
        await self.read(0, len(self.model) + 1)
        await self.content.discard()
        statistics = self.cache.statistics()
        assert statistics["spilled_bytes"] == statistics["written_memory_bytes"] == 0


async def run(folder: Path, capabilities: Capabilities, operations: list[Any], seed: int) -> None:
    store = FailingStore(capabilities, seed)
    store.rate = 0.3 if seed % 3 == 0 else 0.0
    async with trio.open_nursery() as nursery:
        cache = PageCache(
            store,
            nursery,
            memory_bytes=64 * KIB,
            disk_bytes=4096 * KIB,
            folder=folder,
            part_size=8 * KIB,
            concurrency=3,
        )
        machine = Machine(cache, store, seed)
        for name, first, second in operations:
            await getattr(machine, name)(first, second)
        await machine.finish()
        await cache.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("capabilities", [LIMITS, NO_COPY], ids=["copies", "rewrites"])
@settings(max_examples=150)
@given(operations=OPERATIONS, seed=st.integers(0, 1000))
def test_a_content_is_a_bytearray(
    tmp_path_factory: pytest.TempPathFactory,
    capabilities: Capabilities,
    operations: list[Any],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    trio.run(run, folder, capabilities, operations, seed)
