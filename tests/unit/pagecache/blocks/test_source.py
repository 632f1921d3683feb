"""Reading by way of the disk: few requests, one version, the right bytes whatever is on disk."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketfs.counting import causes
from bucketfs.errors import ObjectChanged, ObjectNotFound
from bucketfs.pagecache.blocks.blockfile import BLOCK_BYTES, OpenBlock
from bucketfs.pagecache.blocks.source import is_cacheable
from bucketfs.pagecache.blocks.warming import DiskRefused, Progress, Warmer, stretches
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.storage.interface import (
    BytesBody,
    ObjectAttributes,
    ObjectInfo,
    Sink,
    Version,
)
from bucketfs.storage.memory import MemoryStore

KIB, MIB = 1 << 10, 1 << 20
SIZE = 5 * MIB + 12_345
DATA = random.Random(1).randbytes(SIZE)


class CountingStore(MemoryStore):
    """A `MemoryStore` that remembers which ranges were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int]] = []

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        self.asked.append((key, start, length))
        return await super().read_range(key, start, length, sink, if_version)


@asynccontextmanager
async def caching(
    store: MemoryStore,
    folder: Path,
    limit: int = 256 * MIB,
    identity: str = "s3://b",
    memory: int = 96 * MIB,
) -> AsyncIterator[PageCache]:
    async with trio.open_nursery() as nursery:
        cache = PageCache(
            store,
            nursery,
            memory_bytes=memory,
            disk_bytes=64 * MIB,
            folder=folder,
            part_size=8 * MIB,
            concurrency=4,
            read_cache_bytes=limit,
            identity=identity,
        )
        await wait_until(lambda: cache.blocks is not None and cache.blocks.folder.is_scanned)
        yield cache
        await cache.aclose()
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 (other threads make it true)
            await trio.sleep(0.005)


async def read_all(content: Content, step: int = 128 * KIB) -> bytes:
    pieces = [bytes(await content.read(at, step)) for at in range(0, content.size, step)]
    return b"".join(pieces)


async def read_once(cache: PageCache, info: ObjectInfo) -> bytes:
    """Open, read and close a file."""
    content = cache.open(info)
    try:
        return await read_all(content)
    finally:
        await content.discard()


def blocks_of(size: int) -> int:
    return -(-size // BLOCK_BYTES)


def held(cache: PageCache) -> int:
    return cache.statistics()["cached_blocks"]


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


async def stored(store: MemoryStore, data: bytes = DATA, key: str = "k") -> ObjectInfo:
    return await store.write(key, BytesBody(data), ObjectAttributes())


async def filled(cache: PageCache, info: ObjectInfo, store: CountingStore) -> None:
    """Have all of an object on disk by reading it once, and forget what that asked for."""
    assert await read_once(cache, info) == DATA
    await wait_until(lambda: held(cache) == blocks_of(SIZE))
    store.asked.clear()


async def test_what_was_read_once_is_never_asked_again(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await filled(cache, info, store)
        assert await read_once(cache, info) == DATA
        assert store.asked == []
    async with caching(store, tmp_path) as cache:  # the next mount
        assert await read_once(cache, info) == DATA
        await wait_until(lambda: cache.statistics()["cache_hit_bytes"] == SIZE)
    assert store.asked == []


async def test_who_reads_from_disk_waits_for_no_request(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        for has_waited in (True, False):
            cause = causes.own("test")
            with causes.acting(cause):
                await read_once(cache, info)
            assert cause.has_waited is has_waited
            await wait_until(lambda: held(cache) == blocks_of(SIZE))


async def test_reading_begins_while_the_folder_is_not_known_yet(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await read_once(cache, info)
    store.asked.clear()
    async with caching(store, tmp_path) as cache:
        assert cache.blocks is not None
        cache.blocks.folder._scanned.clear()
        assert await read_once(cache, info) == DATA
    assert store.asked == []


async def test_another_version_is_asked_for(store: CountingStore, tmp_path: Path) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await read_once(cache, info)
        await wait_until(lambda: held(cache) == blocks_of(SIZE))
        opened = cache.open(info)
        changed = DATA[:MIB] + bytes(reversed(DATA[MIB:]))
        newer = await stored(store, changed)
        assert await read_once(cache, newer) == changed
        # One open is one version: the disk still has the old one's.
        assert await read_all(opened) == DATA
        await opened.discard()


async def test_a_replaced_object_is_read_no_further_than_the_disk_has_it(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        content = cache.open(info)
        await content.read(0, 4 * KIB)  # the first window: one whole block
        await wait_until(lambda: held(cache) == 1)
        await stored(store, bytes(SIZE))
        other = cache.open(info)
        assert await other.read(0, 128 * KIB) == DATA[: 128 * KIB]
        with pytest.raises(ObjectChanged):
            await other.read(4 * MIB, 4 * KIB)
        await store.delete("k")
        with pytest.raises((ObjectChanged, ObjectNotFound)):
            await cache.open(info).read(4 * MIB, 4 * KIB)


async def test_a_bucket_of_another_name_shares_nothing(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await read_once(cache, info)
    other = CountingStore()
    wrong = await stored(other, bytes(SIZE))
    assert wrong.version == info.version
    async with caching(other, tmp_path, identity="s3://c") as cache:
        assert await read_once(cache, wrong) == bytes(SIZE)


async def test_small_files_are_kept_too(store: CountingStore, tmp_path: Path) -> None:
    infos = [await stored(store, b"%d" % number, f"k{number}") for number in range(20)]
    empty = await stored(store, b"", "empty")
    async with caching(store, tmp_path) as cache:
        for number, info in enumerate(infos):
            # Half of them come with their bytes, as the look-up has them.
            content = cache.open(info, b"%d" % number if number % 2 else None)
            assert await content.read(0, 100) == b"%d" % number
            await content.discard()
        cache.open(empty, b"")
        await wait_until(lambda: held(cache) == 20)
    store.asked.clear()
    async with caching(store, tmp_path) as cache:
        for number, info in enumerate(infos):
            assert await cache.open(info).read(0, 100) == b"%d" % number
    assert store.asked == []


@given(gone=st.sets(st.integers(0, blocks_of(SIZE) - 1)))
@settings(max_examples=25, deadline=None)
async def test_what_is_missing_is_filled_by_one_reading(
    tmp_path_factory: pytest.TempPathFactory, gone: set[int]
) -> None:
    folder, store = tmp_path_factory.mktemp("cache"), CountingStore()
    info = await stored(store)
    async with caching(store, folder) as cache:
        warmer = cache.warmer()
        assert warmer is not None
        await warm(warmer, info, Progress())
    for path in (folder / "blocks").glob("??/*"):
        if int(path.name.partition("-")[2], 16) in gone:
            path.unlink()
    async with caching(store, folder) as cache:
        assert await read_once(cache, info) == DATA
        await wait_until(lambda: held(cache) == blocks_of(SIZE))


@pytest.mark.allows_warnings
async def test_only_what_is_missing_is_asked_for(store: CountingStore, tmp_path: Path) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await read_once(cache, info)
        assert cache.blocks is not None
        await wait_until(lambda: held(cache) == blocks_of(SIZE))
        digest = cache.blocks.digest("k", info.version, SIZE)
        files = {path.name[-1]: path for path in (tmp_path / "blocks").glob("??/*")}
        assert len(files) == blocks_of(SIZE)
        files["2"].unlink()
        file = bytearray(files["4"].read_bytes())
        file[5000] ^= 1
        files["4"].write_bytes(file)
        store.asked.clear()
    async with caching(store, tmp_path) as cache:
        await read_once(cache, info)
        asked = sorted(store.asked)
        assert cache.blocks is not None
        await wait_until(lambda: held(cache) == blocks_of(SIZE))
        numbers = [
            at // MIB for _, start, count in asked for at in range(start, start + count, 4 * KIB)
        ]
        assert numbers == [2] * 256 + [4] * 256
        assert cache.blocks.folder.has(digest, 2)


async def test_a_random_read_proves_one_chunk(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        await filled(cache, info, store)
        read: list[int] = []
        real = OpenBlock.read_into

        def counted(self: OpenBlock, offset: int, target: memoryview) -> None:
            read.append(target.nbytes)
            real(self, offset, target)

        monkeypatch.setattr(OpenBlock, "read_into", counted)
        content = cache.open(info)
        for place in (3 * MIB + 70 * KIB, 1_234_567, SIZE - 200_000):
            read.clear()
            at = place - place % 4096
            assert await content.read(at, 4096) == DATA[at : at + 4096]
            assert sum(read) <= 128 * KIB
    assert store.asked == []


async def test_random_reads_fill_nothing_and_cost_what_they_ask(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        content = cache.open(info)
        for place in (3 * MIB, 2 * MIB, 4 * MIB + 4096):
            assert await content.read(place, 4096) == DATA[place : place + 4096]
        assert store.asked == [("k", place, 4096) for place in (3 * MIB, 2 * MIB, 4 * MIB + 4096)]
        assert cache.memory.used_bytes < MIB
        await wait_until(lambda: cache.statistics()["cache_misses"] == 3)


@pytest.mark.parametrize("version", ["", "~1700000000-5"])
async def test_a_version_that_is_only_a_date_is_not_cached(version: str) -> None:
    assert not is_cacheable(ObjectInfo("k", 5, Version(version), 0))
    assert is_cacheable(ObjectInfo("k", 5, Version("abc"), 0))


async def test_a_renamed_file_is_read_on(store: CountingStore, tmp_path: Path) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        content = cache.open(info)
        await content.read(0, 4096)
        content.rebased(await store.move("k", "new"))
        assert await read_all(content) == DATA
        await content.discard()


async def test_memory_goes_to_those_who_need_it(store: CountingStore, tmp_path: Path) -> None:
    info = await stored(store)
    async with caching(store, tmp_path, memory=16 * MIB) as cache:
        contents = [cache.open(info) for _ in range(30)]
        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(read_all, content)
        for content in contents:
            await content.discard()
        await wait_until(lambda: cache.memory.used_bytes <= 4 * MIB)


# -- warming


async def warm(warmer: Warmer, info: ObjectInfo, progress: Progress) -> None:
    for stretch in stretches(info):
        await warmer.warm(stretch, progress)


async def test_what_was_warmed_is_read_without_a_request(
    store: CountingStore, tmp_path: Path
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        warmer = cache.warmer()
        assert warmer is not None
        progress = Progress()
        await warm(warmer, info, progress)
        assert progress.bytes == SIZE
        assert store.asked == [("k", 0, SIZE)]
        await warm(warmer, info, Progress())
        assert await read_once(cache, info) == DATA
        await wait_until(lambda: cache.memory.used_bytes == 0)
    assert len(store.asked) == 1


async def test_warming_asks_only_for_what_is_missing(store: CountingStore, tmp_path: Path) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        content = cache.open(info)
        await content.read(0, 4096)
        await wait_until(lambda: held(cache) == 1)
        store.asked.clear()
        warmer = cache.warmer()
        assert warmer is not None
        await warm(warmer, info, Progress())
        assert store.asked == [("k", MIB, SIZE - MIB)]


async def test_warming_refuses_what_it_cannot_do(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await stored(store)
    async with caching(store, tmp_path) as cache:
        warmer = cache.warmer()
        assert warmer is not None
        assert cache.blocks is not None
        await warm(warmer, ObjectInfo("none", 0, Version(""), 0), Progress())
        assert not warmer.can_keep(ObjectInfo("k", SIZE, Version("~1-2"), 0))
        with pytest.raises(ObjectChanged):
            await warm(warmer, ObjectInfo("k", SIZE, Version("v99"), 0), Progress())
        monkeypatch.setattr(cache.blocks.folder, "put", lambda *_: False)
        with pytest.raises(DiskRefused, match="takes nothing"):
            await warm(warmer, info, Progress())
        assert cache.memory.used_bytes == 0


@given(st.integers(0, 200 * MIB))
def test_stretches_are_the_object_and_no_more(size: int) -> None:
    found = list(stretches(ObjectInfo("k", size, Version("v"), 0)))
    edges = [0, *(stretch.stop for stretch in found)]
    assert [stretch.first for stretch in found] == edges[:-1]
    assert edges[-1] == blocks_of(size)


async def test_the_cost_is_that_of_the_disk(store: CountingStore, tmp_path: Path) -> None:
    infos = [
        await stored(store, DATA[:size], f"k{size}")
        for size in (1, 3968, 3969, MIB, MIB + 1, 2 * MIB, SIZE)
    ]
    async with caching(store, tmp_path) as cache:
        warmer = cache.warmer()
        assert warmer is not None
        for info in infos:
            before = cache.statistics()["cached_bytes"]
            await warm(warmer, info, Progress())
            after = cache.statistics()["cached_bytes"]
            assert after - before == warmer.disk_bytes(info)


# -- whatever is on disk


@pytest.mark.allows_warnings
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    damage=st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 1 << 21), st.sampled_from("fctsx")),
        max_size=6,
    ),
    reads=st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 2 * MIB)), max_size=6),
)
async def test_damage_is_never_served(
    tmp_path_factory: pytest.TempPathFactory,
    damage: list[tuple[int, int, str]],
    reads: list[tuple[int, int]],
) -> None:
    folder, store = tmp_path_factory.mktemp("cache"), CountingStore()
    info = await stored(store)
    async with caching(store, folder) as cache:
        warmer = cache.warmer()
        assert warmer is not None
        await warm(warmer, info, Progress())
        for which, place, how in damage:
            harm(sorted((folder / "blocks").glob("??/*")), which, place, how)
        content = cache.open(info)
        for start, length in reads:
            assert await content.read(start, length) == DATA[start : start + length]
        assert await read_once(cache, info) == DATA


def harm(files: list[Path], which: int, place: int, how: str) -> None:
    """Damage one of the files."""
    if not files:
        return
    path = files[which % len(files)]
    file = bytearray(path.read_bytes())
    if how == "x":
        path.unlink()
    elif how == "c" or not file:
        path.write_bytes(file[: place % (len(file) + 1)])
    elif how == "f":
        file[place % len(file)] ^= 1 + place % 255
        path.write_bytes(file)
    elif how == "t":
        file[place % len(file) :] = bytes(len(file) - place % len(file))
        path.write_bytes(file)
    else:
        path.write_bytes(files[(which + 1) % len(files)].read_bytes())
