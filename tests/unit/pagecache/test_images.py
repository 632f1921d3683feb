"""Images: what a content has only here survives the mount that wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.images import ROW_BYTES
from bucketfs.storage.interface import ABSENT, BytesBody, Capabilities, ObjectAttributes
from bucketfs.storage.memory import MemoryStore

KIB = 1 << 10
PLAIN = ObjectAttributes({"mode": "33188"}, "text/plain")
SMALL_PARTS = Capabilities(part_copy=True, conditional_write=True, min_part=16 * KIB)


def make_cache(
    store: MemoryStore, nursery: trio.Nursery, folder: Path, *, disk: int = 8 << 20
) -> PageCache:
    return PageCache(
        store,
        nursery,
        memory_bytes=1 << 20,
        disk_bytes=disk,
        folder=folder,
        part_size=64 * KIB,
        concurrency=2,
    )


async def all_of(content: Content) -> bytes:
    data = b""
    while len(data) < content.size:
        data += await content.read(len(data), content.size)
    return data


@contextmanager
def died(cache: PageCache) -> Iterator[None]:
    """Let another mount have the folder, with the spill files as they are."""
    cache._folder.close()
    yield


@pytest.mark.parametrize("size", [0, 10, ROW_BYTES, ROW_BYTES + 1, 300 * KIB])
async def test_a_new_file_survives(tmp_path: Path, nursery: trio.Nursery, size: int) -> None:
    store = MemoryStore(capabilities=SMALL_PARTS)
    data = bytes(range(256)) * (size // 256 + 1)
    cache = make_cache(store, nursery, tmp_path)
    content = cache.create()
    await content.write(0, data[:size])
    image = await content.image()
    assert (image.data is None) == (size > ROW_BYTES)
    assert (image.spill is not None) == (size > ROW_BYTES)
    with died(cache):
        later = make_cache(store, nursery, tmp_path)
        restored = await later.restore(image)
        later.rescue(kept={image.spill} if image.spill else ())
        assert restored.is_dirty
        assert await all_of(restored) == data[:size]
        saved = await restored.save("k", PLAIN, ABSENT)
        assert saved.info.size == size
        assert not restored.is_dirty
        assert list((tmp_path / "spill").iterdir()) == []


async def test_an_edit_survives_with_the_version_that_it_rests_on(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = MemoryStore(capabilities=SMALL_PARTS)
    old = bytes(range(256)) * KIB
    info = await store.write("k", BytesBody(old), PLAIN)
    cache = make_cache(store, nursery, tmp_path)
    content = cache.open(info)
    await content.write(100 * KIB, b"new" * KIB)
    await content.truncate(200 * KIB)
    await content.truncate(210 * KIB)
    expected = bytearray(old[: 200 * KIB] + bytes(10 * KIB))
    expected[100 * KIB : 103 * KIB] = b"new" * KIB
    image = await content.image()
    assert image.base == info
    with died(cache):
        later = make_cache(store, nursery, tmp_path)
        restored = await later.restore(image)
        assert await all_of(restored) == bytes(expected)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    base=st.integers(0, 150),
    changes=st.lists(
        st.tuples(st.booleans(), st.integers(0, 160), st.integers(1, 60)), min_size=1, max_size=8
    ),
)
async def test_any_changes_survive(
    tmp_path_factory: pytest.TempPathFactory,
    nursery: trio.Nursery,
    base: int,
    changes: list[tuple[bool, int, int]],
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    store = MemoryStore(capabilities=SMALL_PARTS)
    expected = bytearray(bytes(range(256)) * 4 * base)
    info = await store.write("k", BytesBody(bytes(expected)), PLAIN)
    cache = make_cache(store, nursery, folder)
    content = cache.open(info)
    for number, (is_cut, at, length) in enumerate(changes, start=1):
        start = at * KIB
        if is_cut:
            await content.truncate(start)
            expected = expected[:start] + bytes(max(0, start - len(expected)))
        else:
            data = bytes([number]) * length * KIB
            await content.write(start, data)
            expected += bytes(max(0, start - len(expected)))
            expected[start : start + len(data)] = data
    image = await content.image()
    assert image.size == len(expected)
    assert [stop for _, stop, _ in image.ranges[:-1]] == [s for s, _, _ in image.ranges[1:]]
    with died(cache):
        later = make_cache(store, nursery, folder)
        assert await all_of(await later.restore(image)) == bytes(expected)
        await later.aclose()


async def test_without_its_spill_file_an_image_is_refused(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    cache = make_cache(MemoryStore(), nursery, tmp_path)
    content = cache.create()
    await content.write(0, b"x" * 100 * KIB)
    image = await content.image()
    for file in (tmp_path / "spill").iterdir():
        file.unlink()
    with died(cache), pytest.raises(CacheDirectoryError, match="spill"):
        await make_cache(MemoryStore(), nursery, tmp_path).restore(image)


async def test_a_full_disk_budget_is_told_and_loses_nothing(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    cache = make_cache(MemoryStore(), nursery, tmp_path, disk=64 * KIB)
    content = cache.create()
    await content.write(0, b"x" * 200 * KIB)
    with pytest.raises(NoSpace):
        await content.image()
    assert await all_of(content) == b"x" * 200 * KIB
    assert cache.statistics()["spilled_bytes"] == 0
