"""Contents: reads, writes and saves of one file, on the strictest store there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bucketfs.errors import (
    AccessDenied,
    FileTooLarge,
    NoSpace,
    NotSupported,
    ObjectChanged,
    ObjectExists,
    StorageError,
    Transient,
)
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.storage.interface import (
    ABSENT,
    Body,
    BytesBody,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Upload,
    Version,
)
from bucketfs.storage.memory import MemoryStore

KIB, MIB = 1 << 10, 1 << 20
PART = 64 * KIB
LIMITS = Capabilities(
    part_copy=True, conditional_write=True, min_part=16 * KIB, max_object=100 * MIB
)
PLAIN = ObjectAttributes({"mode": "33188"}, "text/plain")
MULTI = ObjectAttributes({"mode": "33060"}, "text/plain")


class WatchedStore(MemoryStore):
    """A `MemoryStore` that counts what is sent, and that can hold back or refuse it."""

    def __init__(self, capabilities: Capabilities = LIMITS) -> None:
        super().__init__(capabilities=capabilities)
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.gate = trio.Event()
        self.gate.set()

    async def called(self, name: str) -> None:
        self.calls.append(name)
        await self.gate.wait()
        if name in self.failures:
            raise self.failures.pop(name)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        await self.called("write")
        return await super().write(key, body, attributes, precondition)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        await self.called("begin")
        return WatchedUpload(self, await super().begin_upload(key, attributes))


class WatchedUpload:
    """An upload of a `WatchedStore`."""

    def __init__(self, store: WatchedStore, upload: Upload) -> None:
        self.store = store
        self.upload = upload
        self.upload_id = upload.upload_id

    async def add_part(self, number: int, body: Body) -> Part:
        await self.store.called(f"part {number}")
        return await self.upload.add_part(number, body)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        await self.store.called(f"copy {number}")
        return await self.upload.copy_part(number, source, start, length, version)

    async def list_parts(self) -> Sequence[Part]:
        return await self.upload.list_parts()

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        await self.store.called("commit")
        return await self.upload.commit(parts, precondition)

    async def abort(self) -> None:
        self.store.calls.append("abort")
        await self.upload.abort()


class FixedTarget:
    """Where the files of these tests stream to."""

    def key(self) -> str:
        return "k"

    def attributes(self) -> ObjectAttributes:
        return MULTI


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def cache(store: WatchedStore, tmp_path: Path) -> AsyncIterator[PageCache]:
    async with trio.open_nursery() as nursery:
        cache = make_cache(store, nursery, tmp_path / "cache")
        yield cache
        await cache.aclose()
        nursery.cancel_scope.cancel()


def make_cache(
    store: MemoryStore,
    nursery: trio.Nursery,
    folder: Path,
    memory: int = 4 * MIB,
    disk: int = 16 * MIB,
) -> PageCache:
    return PageCache(
        store,
        nursery,
        memory_bytes=memory,
        disk_bytes=disk,
        folder=folder,
        part_size=PART,
        concurrency=4,
    )


def known_version(content: Content) -> Precondition:
    """Return that the object is still what `content` was opened on."""
    assert content.base is not None
    return Precondition(content.base.version)


def pattern(size: int, seed: int = 1) -> bytes:
    return bytes((index * 7 + (index >> 8) * seed + seed) & 255 for index in range(size))


async def stored(store: MemoryStore, key: str = "k") -> bytes:
    info = await store.stat(key)
    buffer = bytearray(info.size)
    await store.read_range(key, 0, info.size, MemorySink(buffer))
    return bytes(buffer)


async def write_all(content: Content, data: bytes, step: int = 16 * KIB) -> None:
    for start in range(0, len(data), step):
        await content.write(start, data[start : start + step])


async def opened(cache: PageCache, store: MemoryStore, data: bytes) -> Content:
    return cache.open(await store.write("k", BytesBody(data), PLAIN))


async def test_an_empty_new_file_is_one_put(cache: PageCache, store: WatchedStore) -> None:
    content = cache.create()
    assert content.is_dirty
    assert content.base is None
    saved = await content.save("k", PLAIN, ABSENT)
    assert store.calls == ["write"]
    assert not content.is_dirty
    assert content.base == saved.info
    assert saved.attributes == PLAIN
    assert await stored(store) == b""


async def test_a_small_file_is_one_put_with_its_attributes(
    cache: PageCache, store: WatchedStore
) -> None:
    content = cache.create()
    await content.write(3, b"abc")
    await content.write(0, b"xyz")
    assert bytes(await content.read(0, 100)) == b"xyzabc"
    await content.save("k", PLAIN, ABSENT)
    assert store.calls == ["write"]
    assert await stored(store) == b"xyzabc"
    assert (await store.stat("k")).metadata == PLAIN.metadata
    assert bytes(await content.read(1, 4)) == b"yzab"


async def test_reads_merge_written_bytes_holes_and_the_base(
    cache: PageCache, store: WatchedStore
) -> None:
    data = pattern(1000)
    content = await opened(cache, store, data)
    assert not content.is_dirty
    await content.write(100, b"A" * 50)
    await content.truncate(500)
    await content.write(600, b"B" * 10)
    expected = bytearray(data[:500] + bytes(100) + b"B" * 10)
    expected[100:150] = b"A" * 50
    assert content.size == 610
    assert bytes(await content.read(0, 10_000)) == bytes(expected)
    assert bytes(await content.read(90, 20)) == bytes(expected[90:110])
    assert await content.read(610, 5) == b""
    await content.save("k", PLAIN, known_version(content))
    assert await stored(store) == bytes(expected)


async def test_a_file_streams_while_it_is_written(cache: PageCache, store: WatchedStore) -> None:
    data = pattern(5 * PART + 100)
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, data)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert content.is_streaming
    assert {"begin", "part 1", "part 5"} <= set(store.calls)
    assert bytes(await content.read(PART - 5, 10)) == data[PART - 5 : PART + 5]
    saved = await content.save("k", PLAIN, ABSENT)
    assert store.calls.count("begin") == 1
    assert sorted(c for c in store.calls if c.startswith("part")) == [
        f"part {number}" for number in range(1, 7)
    ]
    assert saved.attributes == MULTI
    assert await stored(store) == data
    assert not content.is_dirty
    assert not content.is_streaming


async def test_a_write_into_a_sent_part_sends_it_again(
    cache: PageCache, store: WatchedStore
) -> None:
    data = bytearray(pattern(4 * PART))
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, bytes(data))
    await trio.testing.wait_all_tasks_blocked(0.05)
    await content.write(10, b"changed")
    data[10:17] = b"changed"
    await content.save("k", PLAIN, ABSENT)
    assert store.calls.count("part 1") == 2
    assert store.calls.count("part 2") == 1
    assert await stored(store) == bytes(data)


async def test_a_write_into_a_part_on_its_way_sends_it_again(
    cache: PageCache, store: WatchedStore
) -> None:
    data = bytearray(pattern(2 * PART))
    content = cache.create()
    content.target = FixedTarget()
    await content.write(0, bytes(data[: PART + 1]))
    await trio.testing.wait_all_tasks_blocked(0.05)
    store.gate = trio.Event()
    await content.write(PART + 1, bytes(data[PART + 1 :]))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert store.calls[-1] == "part 2"
    await content.write(PART + 10, b"changed")
    data[PART + 10 : PART + 17] = b"changed"
    store.gate.set()
    await trio.testing.wait_all_tasks_blocked(0.05)
    await content.save("k", PLAIN, ABSENT)
    assert store.calls.count("part 2") == 2
    assert await stored(store) == bytes(data)


async def test_truncating_sent_parts_drops_the_stream(
    cache: PageCache, store: WatchedStore
) -> None:
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, pattern(4 * PART))
    await content.truncate(10)
    assert not content.is_streaming
    await content.save("k", PLAIN, ABSENT)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert "abort" in store.calls
    assert await stored(store) == pattern(4 * PART)[:10]


async def test_a_stream_to_another_key_is_not_used(cache: PageCache, store: WatchedStore) -> None:
    data = pattern(4 * PART)
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, data)
    saved = await content.save("elsewhere", PLAIN, ABSENT)
    assert saved.info.key == "elsewhere"
    assert saved.attributes == PLAIN
    assert await stored(store, "elsewhere") == data


async def test_a_small_change_of_a_large_file_copies_the_rest(
    cache: PageCache, store: WatchedStore
) -> None:
    data = bytearray(pattern(8 * PART))
    content = await opened(cache, store, bytes(data))
    store.calls.clear()
    await content.write(3 * PART + 5, b"new")
    data[3 * PART + 5 : 3 * PART + 8] = b"new"
    await content.save("k", PLAIN, known_version(content))
    assert sorted(store.calls) == ["begin", "commit", "copy 1", "copy 3", "part 2"]
    assert await stored(store) == bytes(data)
    assert bytes(await content.read(0, len(data))) == bytes(data)


async def test_without_part_copy_a_large_file_is_sent_anew(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = WatchedStore(Capabilities(min_part=16 * KIB, conditional_write=True))
    cache = make_cache(store, nursery, tmp_path)
    data = bytearray(pattern(4 * PART))
    content = await opened(cache, store, bytes(data))
    await content.write(len(data), b"tail")
    await content.save("k", PLAIN, known_version(content))
    assert not [call for call in store.calls if call.startswith("copy")]
    assert await stored(store) == bytes(data) + b"tail"


class NoPartCopy(WatchedStore):
    """A store that learns from an answer that its server does not copy parts."""

    is_known = False

    @property
    def capabilities(self) -> Capabilities:
        return replace(LIMITS, part_copy=not self.is_known)

    async def called(self, name: str) -> None:
        await super().called(name)
        if name.startswith("copy"):
            self.is_known = True
            raise NotSupported("the server does not copy parts")


async def test_a_store_that_turns_out_not_to_copy_parts(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = NoPartCopy()
    cache = make_cache(store, nursery, tmp_path)
    data = bytearray(pattern(4 * PART))
    content = await opened(cache, store, bytes(data))
    await content.write(3 * PART, b"new")
    data[3 * PART : 3 * PART + 3] = b"new"
    await content.save("k", PLAIN, known_version(content))
    assert await stored(store) == bytes(data)


@pytest.mark.parametrize("size", [100, 4 * PART])
@pytest.mark.parametrize(
    "failure", [Transient("busy"), AccessDenied("no"), ObjectChanged("other")], ids=repr
)
async def test_a_failed_save_loses_nothing(
    cache: PageCache, store: WatchedStore, size: int, failure: StorageError
) -> None:
    data = pattern(size)
    content = cache.create()
    await write_all(content, data)
    store.failures = {"write": failure, "commit": failure}
    with pytest.raises(type(failure)):
        await content.save("k", PLAIN, ABSENT)
    assert content.is_dirty
    assert bytes(await content.read(0, size)) == data
    store.failures.clear()
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == data


async def test_a_stream_goes_on_after_a_passing_failure_of_its_commit(
    cache: PageCache, store: WatchedStore
) -> None:
    data = pattern(4 * PART + 7)
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, data)
    store.failures = {"commit": Transient("busy")}
    with pytest.raises(Transient):
        await content.save("k", PLAIN, ABSENT)
    await content.save("k", PLAIN, ABSENT)
    assert store.calls.count("begin") == 1
    assert store.calls.count("part 1") == 1
    assert await stored(store) == data


async def test_parts_that_changed_during_a_failed_commit_are_sent_again(
    cache: PageCache, store: WatchedStore
) -> None:
    data = bytearray(pattern(4 * PART + 7))
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, bytes(data))
    await trio.testing.wait_all_tasks_blocked(0.05)
    store.failures = {"commit": Transient("busy")}
    store.gate = trio.Event()

    async def save() -> None:
        with pytest.raises(Transient):
            await content.save("k", PLAIN, ABSENT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await content.write(10, b"changed")
        data[10:17] = b"changed"
        store.gate.set()
    assert not content.is_streaming
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == bytes(data)
    assert store.calls.count("begin") == 1
    assert [store.calls.count(f"part {number}") for number in range(1, 6)] == [2, 1, 1, 1, 1]


@pytest.mark.parametrize("failing", ["begin", "part 2"])
async def test_a_stream_that_failed_is_made_good_by_the_save(
    cache: PageCache, store: WatchedStore, failing: str
) -> None:
    data = pattern(5 * PART)
    store.failures = {failing: Transient("busy")}
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, data)
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == data


async def test_someone_elses_object_is_not_overwritten(
    cache: PageCache, store: WatchedStore
) -> None:
    content = cache.create()
    await content.write(0, b"mine")
    await store.write("k", BytesBody(b"theirs"), PLAIN)
    with pytest.raises(ObjectExists):
        await content.save("k", PLAIN, ABSENT)
    assert content.is_dirty
    assert await stored(store) == b"theirs"
    assert bytes(await content.read(0, 10)) == b"mine"


@pytest.mark.parametrize("is_others", [False, True])
async def test_a_read_during_a_save_that_has_arrived_goes_on_from_there(
    cache: PageCache, store: WatchedStore, monkeypatch: pytest.MonkeyPatch, is_others: bool
) -> None:
    data = bytes(range(256)) * KIB
    content = await opened(cache, store, data)
    await content.write(0, b"changed")
    arrived, answer, copy_whole = trio.Event(), trio.Event(), store.called

    async def unanswered(name: str) -> None:
        await copy_whole(name)
        if name == "commit":
            # What the commit makes is there before anybody hears of it.
            await MemoryStore.write(store, "k", BytesBody(b"changed" + data[7:]), PLAIN)
            arrived.set()
            await answer.wait()
            if is_others:
                raise AccessDenied("no")
            store._objects["k"] = kept

    kept = store._objects["k"]
    monkeypatch.setattr(store, "called", unanswered)
    outcomes: list[object] = []

    async def save() -> None:
        try:
            await content.save("k", PLAIN, None)
        except AccessDenied:
            outcomes.append("refused")

    async def read() -> None:
        try:
            outcomes.append(bytes(await content.read(200 * KIB, 20)))
        except ObjectChanged:
            outcomes.append("changed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save)
        await arrived.wait()
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == []
        answer.set()
    assert outcomes == (["refused", "changed"] if is_others else [data[200 * KIB :][:20]])
    assert "commit" in store.calls


@pytest.mark.parametrize("size", [1000, 4 * PART])
async def test_writes_during_a_save_are_for_the_next_one(
    cache: PageCache, store: WatchedStore, size: int
) -> None:
    data = bytearray(pattern(size))
    content = cache.create()
    await write_all(content, bytes(data))
    store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(content.save, "k", PLAIN, ABSENT)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await content.write(500, b"later")
        await content.truncate(size - 10)
        await content.truncate(size)
        store.gate.set()
    assert await stored(store) == bytes(data)
    assert content.is_dirty
    data[500:505] = b"later"
    data[size - 10 :] = bytes(10)
    assert bytes(await content.read(0, size)) == bytes(data)
    await content.save("k", PLAIN, known_version(content))
    assert await stored(store) == bytes(data)
    assert not content.is_dirty


async def test_a_cancelled_save_leaves_the_content_dirty(
    cache: PageCache, store: WatchedStore
) -> None:
    content = cache.create()
    await content.write(0, b"kept")
    store.gate = trio.Event()
    with trio.move_on_after(0.02):
        await content.save("k", PLAIN, ABSENT)
    store.gate.set()
    assert content.is_dirty
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == b"kept"


async def test_a_reader_of_a_replaced_object_is_told(cache: PageCache, store: WatchedStore) -> None:
    content = await opened(cache, store, pattern(3 * MIB))
    await store.write("k", BytesBody(b"other"), PLAIN)
    with pytest.raises(ObjectChanged):
        await content.read(0, 100)


async def test_a_deleted_object_is_a_replaced_one_to_its_reader(
    cache: PageCache, store: WatchedStore
) -> None:
    content = await opened(cache, store, pattern(3 * MIB))
    await store.delete("k")
    with pytest.raises(ObjectChanged):
        await content.read(0, 100)


async def test_after_fetch_all_the_object_may_vanish(cache: PageCache, store: WatchedStore) -> None:
    data = bytearray(pattern(3 * MIB + 5))
    content = await opened(cache, store, bytes(data))
    await content.write(MIB, b"new")
    data[MIB : MIB + 3] = b"new"
    await content.fetch_all()
    await store.delete("k")
    assert bytes(await content.read(0, len(data))) == bytes(data)
    await content.save("again", PLAIN, ABSENT)
    assert await stored(store, "again") == bytes(data)


async def test_fetch_all_of_a_clean_file_leaves_it_clean(
    cache: PageCache, store: WatchedStore
) -> None:
    data = pattern(MIB)
    content = await opened(cache, store, data)
    await content.fetch_all()
    assert not content.is_dirty
    await store.delete("k")
    assert bytes(await content.read(0, MIB)) == data


async def test_a_renamed_object_goes_on_being_read(cache: PageCache, store: WatchedStore) -> None:
    data = pattern(3 * MIB)
    content = await opened(cache, store, data)
    info = await store.move("k", "new")
    content.rebased(info)
    assert content.base == info
    assert bytes(await content.read(5, 10)) == data[5:15]
    await content.write(0, b"x")
    await content.save("new", PLAIN, Precondition(info.version))
    assert await stored(store, "new") == b"x" + data[1:]


async def test_files_larger_than_the_store_holds_are_refused(cache: PageCache) -> None:
    content = cache.create()
    with pytest.raises(FileTooLarge):
        await content.truncate(100 * MIB + 1)
    with pytest.raises(FileTooLarge):
        await content.write(100 * MIB, b"x")
    assert content.size == 0


async def test_a_sparse_file_needs_no_memory(cache: PageCache, store: WatchedStore) -> None:
    content = cache.create()
    await content.write(0, b"head")
    await content.truncate(50 * MIB)
    assert cache.statistics()["written_memory_bytes"] < MIB
    assert bytes(await content.read(40 * MIB, 10)) == bytes(10)
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == b"head" + bytes(50 * MIB - 4)


async def test_short_memory_goes_to_disk_and_comes_back(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = WatchedStore()
    cache = make_cache(store, nursery, tmp_path, memory=256 * KIB, disk=8 * MIB)
    data = bytearray(pattern(2 * MIB))
    content = cache.create()
    await write_all(content, bytes(data))
    for offset in range(0, 2 * MIB, 300 * KIB + 1):
        await content.write(offset, b"changed")
        data[offset : offset + 7] = b"changed"
    statistics = cache.statistics()
    assert statistics["spilled_bytes"] > MIB
    assert statistics["written_memory_bytes"] <= 256 * KIB
    assert statistics["dirty_bytes"] == 2 * MIB
    assert bytes(await content.read(0, 2 * MIB)) == bytes(data)
    await content.save("k", PLAIN, ABSENT)
    assert await stored(store) == bytes(data)
    assert cache.statistics()["spilled_bytes"] == 0
    assert list((tmp_path / "spill").iterdir()) == []


async def test_nothing_can_free_space_is_an_error_and_loses_nothing(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = WatchedStore()
    cache = make_cache(store, nursery, tmp_path, memory=256 * KIB, disk=256 * KIB)
    content = cache.create()
    with pytest.raises(NoSpace):
        await write_all(content, pattern(MIB), 40 * KIB)
    written = content.size
    assert 400 * KIB <= written < 512 * KIB
    assert bytes(await content.read(0, MIB)) == pattern(MIB)[:written]
    await content.save("k", PLAIN, ABSENT)
    assert (await store.stat("k")).size == written
    await content.write(written, pattern(40 * KIB))


async def test_a_writer_waits_for_uploads_when_both_budgets_are_full(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = WatchedStore()
    cache = make_cache(store, nursery, tmp_path, memory=256 * KIB, disk=256 * KIB)
    first, second = cache.create(), cache.create()
    await write_all(first, pattern(400 * KIB))
    store.gate = trio.Event()
    async with trio.open_nursery() as tasks:
        tasks.start_soon(first.save, "k", PLAIN, ABSENT)
        tasks.start_soon(write_all, second, pattern(300 * KIB))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert second.size < 300 * KIB
        store.gate.set()
    assert second.size == 300 * KIB
    assert bytes(await second.read(0, 300 * KIB)) == pattern(300 * KIB)


async def test_many_files_stream_at_once_with_little_memory(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = WatchedStore()
    cache = make_cache(store, nursery, tmp_path, memory=MIB, disk=100 * MIB)
    data = pattern(12 * PART)

    class OwnTarget(FixedTarget):
        def __init__(self, name: str) -> None:
            self.name = name

        def key(self) -> str:
            return self.name

    contents = [cache.create() for _ in range(50)]
    for number, content in enumerate(contents):
        content.target = OwnTarget(f"k{number}")
    for start in range(0, len(data), PART // 2):
        for content in contents:
            await content.write(start, data[start : start + PART // 2])
    assert cache.memory.used_bytes <= MIB
    for number, content in enumerate(contents):
        await content.save(f"k{number}", PLAIN, ABSENT)
    for number in range(50):
        assert await stored(store, f"k{number}") == data


async def test_discard_gives_everything_back(tmp_path: Path, nursery: trio.Nursery) -> None:
    store = WatchedStore()
    cache = make_cache(store, nursery, tmp_path, memory=256 * KIB)
    content = cache.create()
    content.target = FixedTarget()
    await write_all(content, pattern(MIB))
    await content.discard()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert store.calls[-1] == "abort"
    statistics = cache.statistics()
    assert statistics["spilled_bytes"] == statistics["written_memory_bytes"] == 0
    assert list((tmp_path / "spill").iterdir()) == []


async def test_saved_bytes_are_dropped_when_memory_is_wanted(
    cache: PageCache, store: WatchedStore
) -> None:
    content = cache.create()
    data = pattern(20 * KIB)
    await content.write(0, data)
    await content.save("k", PLAIN, ABSENT)
    assert cache.statistics()["written_memory_bytes"] > 0
    cache.memory.reclaim(MIB)
    assert cache.statistics()["written_memory_bytes"] == 0
    assert bytes(await content.read(0, 20 * KIB)) == data
