"""Native appends: when a file may grow by one, and what a content does then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bucketfs.errors import ObjectChanged
from bucketfs.pagecache.appending import AppendPolicy, Growth
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.extents import Extents, Kind
from bucketfs.storage.interface import (
    ABSENT,
    Body,
    BytesBody,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.memory import MemoryStore

KIB = 1 << 10
STORE = Capabilities(append=True, part_copy=True, conditional_write=True, min_part=16 * KIB)
FIRST = ObjectAttributes({"mode": "33188", "mtime": "1"}, "text/plain")
LATER = ObjectAttributes({"mode": "33188", "mtime": "2"}, "text/plain")
HERE = Precondition(Version("v1"))


class AppendingStore(MemoryStore):
    """A `MemoryStore` that counts the bytes of each way in which they come."""

    def __init__(self, capabilities: Capabilities) -> None:
        super().__init__(capabilities=capabilities)
        self.sent: list[tuple[str, int]] = []

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        self.sent.append(("write", body.size))
        return await super().write(key, body, attributes, precondition)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        self.sent.append(("append", body.size))
        return await super().append(key, position, body, attributes)

    async def bytes_of(self, key: str) -> bytes:
        size = (await self.stat(key)).size
        buffer = bytearray(size)
        await self.read_range(key, 0, size, MemorySink(buffer))
        return bytes(buffer)


@pytest.fixture
def capabilities() -> Capabilities:
    return STORE


@pytest.fixture
def store(capabilities: Capabilities) -> AppendingStore:
    return AppendingStore(capabilities)


@pytest.fixture
async def cache(store: AppendingStore, tmp_path: Path) -> AsyncIterator[PageCache]:
    async with trio.open_nursery() as nursery:
        made = PageCache(
            store,
            nursery,
            memory_bytes=1 << 20,
            disk_bytes=1 << 20,
            folder=tmp_path / "cache",
            part_size=64 * KIB,
            concurrency=4,
        )
        yield made
        await made.aclose()
        nursery.cancel_scope.cancel()


async def log_file(cache: PageCache, data: bytes = b"one\n") -> Content:
    """Return a new file that a handle appended to and synced."""
    content = cache.create()
    await content.write(0, data)
    content.note_appender(is_synced=True)
    await content.save("log", FIRST, ABSENT, may_append=True)
    return content


async def grow(content: Content, data: bytes, attributes: ObjectAttributes = LATER) -> ObjectInfo:
    """Write at the end and save; return what is in the bucket."""
    base = content.base
    assert base is not None
    await content.write(content.size, data)
    condition = Precondition(base.version)
    return (await content.save("log", attributes, condition, may_append=True)).info


async def test_a_growing_file_sends_only_what_is_new(
    store: AppendingStore, cache: PageCache
) -> None:
    content = await log_file(cache)
    lines = [b"%d\n" % number for number in range(20)]
    for line in lines:
        info = await grow(content, line)
        assert info.is_appendable
    assert await store.bytes_of("log") == b"one\n" + b"".join(lines)
    assert store.sent == [("append", 4)] + [("append", len(line)) for line in lines]
    assert bytes(await content.read(0, 100)) == await store.bytes_of("log")


async def test_what_stands_beside_a_grown_object_is_told(
    store: AppendingStore, cache: PageCache
) -> None:
    content = await log_file(cache)
    await content.write(4, b"two\n")
    saved = await content.save("log", LATER, ABSENT, may_append=True)
    assert saved.attributes == FIRST
    assert saved.info.metadata == (await store.stat("log")).metadata == FIRST.metadata
    assert saved.info.content_type == "text/plain"


async def test_what_was_overtaken_is_refused_and_kept(
    store: AppendingStore, cache: PageCache
) -> None:
    content = await log_file(cache)
    await store.append("log", 4, BytesBody(b"by others\n"))
    with pytest.raises(ObjectChanged):
        await grow(content, b"ours\n")
    assert content.is_dirty
    assert bytes(await content.read(4, 100)) == b"ours\n"
    assert await store.bytes_of("log") == b"one\nby others\n"


async def test_an_object_that_became_an_ordinary_one_is_not_overwritten(
    store: AppendingStore, cache: PageCache
) -> None:
    content = await log_file(cache)
    await store.write("log", BytesBody(b"ONE\n"), FIRST)
    with pytest.raises(ObjectChanged):
        await grow(content, b"two\n")
    assert await store.bytes_of("log") == b"ONE\n"


async def test_an_append_of_ours_of_which_nobody_heard_is_known_again(
    store: AppendingStore, cache: PageCache
) -> None:
    content = await log_file(cache)
    await content.write(4, b"two\nthree\n")
    assert await content.shared_with(await store.stat("log")) is None
    ours = await store.append("log", 4, BytesBody(b"two\n"))
    assert await content.shared_with(ours) == 8
    content.rebased(ours)
    saved = await content.save("log", LATER, Precondition(ours.version), may_append=True)
    assert not content.is_dirty
    assert await store.bytes_of("log") == b"one\ntwo\nthree\n"
    others = await store.append("other", 0, BytesBody(b"one\ntwo\nTHREE\n"))
    assert await content.shared_with(replace(others, key="other")) is None
    assert saved.info.size == 14


@pytest.mark.parametrize("change", ["edit", "truncate", "attributes"])
async def test_other_changes_make_it_an_ordinary_object(
    store: AppendingStore, cache: PageCache, change: str
) -> None:
    content = await log_file(cache)
    expected = b"one\ntwo\n"
    await content.write(4, b"two\n")
    if change == "edit":
        await content.write(0, b"ONE")
        expected = b"ONE\ntwo\n"
    elif change == "truncate":
        await content.truncate(2)
        expected = b"on"
    base = content.base
    assert base is not None
    condition = Precondition(base.version)
    saved = await content.save("log", LATER, condition, may_append=change != "attributes")
    assert saved.attributes == LATER
    assert not (await store.stat("log")).is_appendable
    assert await store.bytes_of("log") == expected
    assert (await grow(content, b"more")).is_appendable is False


@pytest.mark.parametrize("capabilities", [Capabilities(append=True, max_append=200 * KIB)])
async def test_what_outgrows_appends_is_sent_whole(store: AppendingStore, cache: PageCache) -> None:
    content = await log_file(cache, b"x" * 40 * KIB)
    for _ in range(5):
        info = await grow(content, b"y" * 40 * KIB)
    assert (info.size, info.is_appendable) == (240 * KIB, False)
    assert await store.bytes_of("log") == b"x" * 40 * KIB + b"y" * 200 * KIB


async def test_a_file_that_is_only_written_is_ordinary(
    store: AppendingStore, cache: PageCache
) -> None:
    content = cache.create()
    await content.write(0, b"one")
    content.note_appender(is_synced=False)
    saved = await content.save("log", FIRST, ABSENT, may_append=True)
    assert not saved.info.is_appendable
    assert store.sent == [("write", 3)]


@pytest.mark.parametrize(
    ("policy", "is_synced", "expected"),
    [
        ("auto", True, 0),
        ("auto", False, None),
        ("always", True, 0),
        ("always", False, 0),
        ("never", True, None),
    ],
)
def test_new_files_by_policy(policy: AppendPolicy, is_synced: bool, expected: int | None) -> None:
    extents = Extents()
    extents.put(0, 10, Kind.SPILLED)
    growth = Growth(policy)
    assert growth.position(extents, None, ABSENT, STORE) is None
    growth.note_appender(is_synced=is_synced)
    assert growth.position(extents, None, ABSENT, STORE) == expected
    assert growth.position(extents, None, HERE, STORE) is None
    assert growth.position(extents, None, None, STORE) is None
    assert growth.position(Extents(), None, ABSENT, STORE) is None
    assert growth.position(extents, None, ABSENT, Capabilities()) is None


@pytest.mark.parametrize("policy", ["auto", "always", "never"])
@pytest.mark.parametrize("is_appendable", [True, False])
@pytest.mark.parametrize("is_edited", [True, False])
@pytest.mark.parametrize("added", [0, 5])
def test_what_is_there_grows_where_only_its_end_is_new(
    policy: AppendPolicy, is_appendable: bool, is_edited: bool, added: int
) -> None:
    base = ObjectInfo("log", 10, Version("v"), 0, is_appendable=is_appendable)
    extents = Extents(10)
    extents.put(10, 10 + added, Kind.SPILLED)
    if is_edited:
        extents.put(9, 10, Kind.SPILLED)
    may_grow = policy != "never" and is_appendable and not is_edited and added
    found = Growth(policy).position(extents, base, HERE, STORE)
    assert found == (10 if may_grow else None)
    assert Growth(policy).position(extents, base, None, STORE) is None
