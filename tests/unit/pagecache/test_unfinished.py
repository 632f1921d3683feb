"""Uploads that go on: after a passing failure, and in the next mount. No byte is sent twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bucketfs.errors import AccessDenied, ObjectNotFound, Transient
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.images import Image
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord, PartRecord
from bucketfs.pagecache.unfinished import MOST_TOUCHES
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

KIB = 1 << 10
PART = 64 * KIB
LIMITS = Capabilities(
    part_copy=True, conditional_write=True, min_part=16 * KIB, max_object=100 << 20
)
FIRST = ObjectAttributes({"mode": "33188"}, "text/plain")
LATER = ObjectAttributes({"mode": "33060"}, "text/plain")
URL = "memory://bucket"
SIZE = 4 * PART + 100
ALL = [1, 2, 3, 4, 5]


class CountingStore(MemoryStore):
    """A store that counts the parts that come whole, and refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__(capabilities=LIMITS)
        self.begun = 0
        self.sent: list[int] = []
        self.copied: list[int] = []
        self.aborted: list[str] = []
        self.failures: dict[int | str, Exception] = {}

    def refuse(self, name: int | str) -> None:
        if name in self.failures:
            raise self.failures.pop(name)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        self.begun += 1
        return CountedUpload(self, await super().begin_upload(key, attributes))

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        return CountedUpload(self, await super().resume_upload(key, upload_id, attributes))


class CountedUpload:
    """An upload of a `CountingStore`."""

    def __init__(self, store: CountingStore, inner: Upload) -> None:
        self.upload_id = inner.upload_id
        self._store = store
        self._inner = inner

    async def add_part(self, number: int, body: Body) -> Part:
        self._store.refuse(number)
        part = await self._inner.add_part(number, body)
        self._store.sent.append(number)
        return part

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        self._store.refuse(number)
        part = await self._inner.copy_part(number, source, start, length, version)
        self._store.copied.append(number)
        return part

    async def list_parts(self) -> Sequence[Part]:
        return await self._inner.list_parts()

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        self._store.refuse("commit")
        info = await self._inner.commit(parts, precondition)
        self._store.refuse("after commit")
        return info

    async def abort(self) -> None:
        self._store.aborted.append(self.upload_id)
        await self._inner.abort()


class FixedTarget:
    """Where the files of these tests stream to."""

    def key(self) -> str:
        return "k"

    def attributes(self) -> ObjectAttributes:
        return FIRST


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@asynccontextmanager
async def mounted(store: CountingStore, folder: Path) -> AsyncIterator[tuple[PageCache, Journal]]:
    """What one mount has, until it ends; its background tasks are cut off."""
    async with trio.open_nursery() as nursery:
        cache = PageCache(
            store,
            nursery,
            memory_bytes=4 << 20,
            disk_bytes=16 << 20,
            folder=folder,
            part_size=PART,
            concurrency=1,
        )
        journal = Journal.open(folder, URL)
        cache.use_journal(journal)
        yield cache, journal
        await trio.testing.wait_all_tasks_blocked(0.01)
        await journal.aclose()
        await cache.aclose()
        nursery.cancel_scope.cancel()


def pattern(size: int = SIZE) -> bytes:
    return bytes((index * 7 + (index >> 8)) & 255 for index in range(size))


async def stored(store: MemoryStore) -> bytes:
    info = await store.stat("k")
    buffer = bytearray(info.size)
    await store.read_range("k", 0, info.size, MemorySink(buffer))
    return bytes(buffer)


async def failed_save(cache: PageCache, store: CountingStore, failing: int | str) -> Content:
    """Return a content whose first save failed there, for the moment."""
    content = cache.create()
    await content.write(0, pattern())
    store.failures = {failing: Transient("busy")}
    with pytest.raises(Transient):
        await content.save("k", FIRST, ABSENT)
    return content


@pytest.mark.parametrize("failing", [1, 3, 5, "commit"])
async def test_after_a_passing_failure_only_the_rest_is_sent(
    store: CountingStore, tmp_path: Path, failing: int | str
) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, failing)
        saved = await content.save("k", LATER, ABSENT)
        # It was begun with the first attributes: who saves has to compare.
        assert saved.attributes == FIRST
        assert dict((await store.stat("k")).metadata or {}) == FIRST.metadata
        assert await stored(store) == pattern()
        assert (store.begun, sorted(store.sent), store.aborted) == (1, ALL, [])
    assert Journal.read(tmp_path).uploads == ()


async def test_parts_that_were_written_since_are_sent_again(
    store: CountingStore, tmp_path: Path
) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, "commit")
        await content.write(PART + 5, b"new")
        await content.truncate(4 * PART + 50)
        await content.save("k", FIRST, ABSENT)
        expected = bytearray(pattern(4 * PART + 50))
        expected[PART + 5 : PART + 8] = b"new"
        assert await stored(store) == bytes(expected)
        assert (store.begun, sorted(store.sent)) == (1, [1, 2, 2, 3, 4, 5, 5])


async def test_after_many_writes_everything_is_sent_again(
    store: CountingStore, tmp_path: Path
) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, "commit")
        for turn in range(MOST_TOUCHES + 2):
            await content.write(turn * 2, b"n")
        await content.write(2 * PART, b"new")
        await content.save("k", FIRST, ABSENT)
        assert sorted(store.sent) == sorted(2 * ALL)
        assert (await stored(store))[2 * PART : 2 * PART + 3] == b"new"


async def test_copied_parts_are_not_copied_again(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        base = await store.write("k", BytesBody(pattern(64 * PART)), FIRST)
        content = cache.open(base)
        await content.write(32 * PART, b"new")
        store.failures = {"commit": Transient("busy")}
        for _ in range(2):
            if content.is_dirty:
                try:
                    await content.save("k", FIRST, Precondition(base.version))
                except Transient:
                    assert store.copied
        assert not content.is_dirty
        assert store.begun == 1
        assert len(store.copied) == len(set(store.copied))
        assert len(store.sent) == len(set(store.sent))


async def test_a_file_that_was_renamed_begins_anew(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, 3)
        await content.save("other", FIRST, ABSENT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (store.begun, len(store.aborted)) == (2, 1)
        assert (await store.stat("other")).size == SIZE


@pytest.mark.parametrize("failing", [3, "commit"])
async def test_an_upload_that_is_gone_meanwhile_begins_anew(
    store: CountingStore, tmp_path: Path, failing: int | str
) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, failing)
        for pending in await store.list_uploads(""):
            await (await store.resume_upload("k", pending.upload_id, FIRST)).abort()
        await content.save("k", LATER, ABSENT)
        assert await stored(store) == pattern()
        assert store.begun == 2
    assert Journal.read(tmp_path).uploads == ()


async def test_a_failure_that_lasts_aborts(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = cache.create()
        await content.write(0, pattern())
        store.failures = {3: AccessDenied("no")}
        with pytest.raises(AccessDenied):
            await content.save("k", FIRST, ABSENT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(store.aborted) == 1
        assert list(await store.list_uploads("")) == []


async def test_a_discarded_file_aborts(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, 3)
        await content.discard()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert list(await store.list_uploads("")) == []
    assert Journal.read(tmp_path).uploads == ()


async def test_a_small_file_now_drops_the_upload(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = await failed_save(cache, store, 3)
        await content.truncate(10)
        await content.save("k", LATER, ABSENT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await stored(store) == pattern(10)
        assert list(await store.list_uploads("")) == []


async def kept(content: Content, journal: Journal) -> FileRecord:
    """Put the file into the journal, as its keeper does."""
    number = content.record = content.record or journal.new_number()
    image = await content.image()
    record = FileRecord(
        number=number,
        key="k",
        size=image.size,
        ranges=image.ranges,
        spill=image.spill,
        data=image.data,
        base=image.base,
        expected=ABSENT,
        attributes=LATER,
        kept_ns=1,
    )
    await journal.put_file(record)
    return record


async def crash_while_saving(
    store: CountingStore, folder: Path, failing: int | str, *, is_streaming: bool
) -> FileRecord:
    """Leave a file whose save was under way when the mount ended."""
    async with mounted(store, folder) as (cache, journal):
        content = cache.create()
        if is_streaming:
            content.target = FixedTarget()
            store.failures = {failing: Transient("busy")}
        await content.write(0, pattern())
        await trio.testing.wait_all_tasks_blocked(0.05)
        record = await kept(content, journal)
        if is_streaming and isinstance(failing, int):
            store.failures = {failing: Transient("busy")}
        if not is_streaming:
            store.failures = {failing: Transient("busy")}
        with pytest.raises(Transient):
            await content.save("k", FIRST, ABSENT)
        return record


async def restored(cache: PageCache, record: FileRecord) -> Content:
    image = Image(record.size, record.ranges, record.spill, record.data, record.base)
    return await cache.restore(image, record.number)


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize("failing", [2, 5, "commit"])
async def test_the_next_mount_goes_on_with_an_upload(
    store: CountingStore, tmp_path: Path, failing: int | str, is_streaming: bool
) -> None:
    record = await crash_while_saving(store, tmp_path, failing, is_streaming=is_streaming)
    (upload,) = Journal.read(tmp_path).uploads
    assert upload.file_number == record.number
    assert [part.number for part in upload.parts] == sorted(store.sent)
    async with mounted(store, tmp_path) as (cache, _):
        content = await restored(cache, record)
        assert content.streamed_attributes == FIRST
        saved = await content.save("k", LATER, ABSENT)
        assert saved.attributes == FIRST
        assert await stored(store) == pattern()
        assert (store.begun, sorted(store.sent)) == (1, ALL)
    assert Journal.read(tmp_path).uploads == ()


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_an_upload_under_way_becomes_the_files_when_it_is_kept(
    store: CountingStore, tmp_path: Path, is_streaming: bool
) -> None:
    """A save fails first and is kept then: the upload must not look like nobody's."""
    async with mounted(store, tmp_path) as (cache, journal):
        if is_streaming:
            content = cache.create()
            content.target = FixedTarget()
            await content.write(0, pattern())
            await trio.testing.wait_all_tasks_blocked(0.05)
        else:
            content = await failed_save(cache, store, 3)
        assert [item.file_number for item in Journal.read(tmp_path).uploads] == [None]
        record = await kept(content, journal)
        assert [item.file_number for item in Journal.read(tmp_path).uploads] == [record.number]


async def test_the_next_mount_sends_again_what_is_other_bytes_now(
    store: CountingStore, tmp_path: Path
) -> None:
    record = await crash_while_saving(store, tmp_path, "commit", is_streaming=False)
    async with mounted(store, tmp_path) as (cache, journal):
        (upload,) = journal.uploads
        wrong = upload.parts[1]
        await journal.put_part(
            upload.upload_id,
            PartRecord(wrong.number, wrong.start, wrong.stop, wrong.tag, wrong.size, bytes(16)),
        )
    async with mounted(store, tmp_path) as (cache, _):
        content = await restored(cache, record)
        await content.write(3 * PART, b"new")
        await content.save("k", FIRST, ABSENT)
        expected = bytearray(pattern())
        expected[3 * PART : 3 * PART + 3] = b"new"
        assert await stored(store) == bytes(expected)
        assert sorted(store.sent) == sorted([*ALL, 2, 4])


async def test_the_next_mount_sends_again_what_the_store_does_not_have(
    store: CountingStore, tmp_path: Path
) -> None:
    record = await crash_while_saving(store, tmp_path, "commit", is_streaming=False)
    (pending,) = await store.list_uploads("")
    other = await MemoryStore.resume_upload(store, "k", pending.upload_id, FIRST)
    await other.add_part(2, BytesBody(bytes(PART)))
    async with mounted(store, tmp_path) as (cache, _):
        content = await restored(cache, record)
        await content.save("k", FIRST, ABSENT)
        assert await stored(store) == pattern()
        assert sorted(store.sent) == sorted([*ALL, 2])


async def test_the_next_mount_begins_anew_where_the_upload_is_gone(
    store: CountingStore, tmp_path: Path
) -> None:
    record = await crash_while_saving(store, tmp_path, "commit", is_streaming=False)
    (pending,) = await store.list_uploads("")
    await (await store.resume_upload("k", pending.upload_id, FIRST)).abort()
    async with mounted(store, tmp_path) as (cache, _):
        content = await restored(cache, record)
        saved = await content.save("k", LATER, ABSENT)
        assert saved.attributes == LATER
        assert await stored(store) == pattern()
        assert store.begun == 2
    assert Journal.read(tmp_path).uploads == ()


async def test_an_upload_that_the_next_mount_has_no_use_for_is_aborted(
    store: CountingStore, tmp_path: Path
) -> None:
    record = await crash_while_saving(store, tmp_path, "commit", is_streaming=False)
    async with mounted(store, tmp_path) as (cache, _):
        content = await restored(cache, record)
        await content.truncate(10)
        await content.save("k", LATER, ABSENT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert content.streamed_attributes is None
        assert list(await store.list_uploads("")) == []
        assert await stored(store) == pattern(10)
    assert Journal.read(tmp_path).uploads == ()


async def test_an_upload_gone_at_once_is_an_error(store: CountingStore, tmp_path: Path) -> None:
    async with mounted(store, tmp_path) as (cache, _):
        content = cache.create()
        await content.write(0, pattern())
        store.failures = {2: ObjectNotFound("no such upload")}
        with pytest.raises(ObjectNotFound):
            await content.save("k", FIRST, ABSENT)
        assert content.is_dirty
