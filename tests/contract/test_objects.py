"""What every ObjectStore does with single objects."""

from __future__ import annotations

import os
import time

import pytest
import trio

from bucketfs.errors import (
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
)
from bucketfs.storage.interface import (
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectStore,
    Version,
)
from tests.contract.asking import LABELLED, MIB, PLAIN, get, put, walk

OTHER = ObjectAttributes({"mode": "33152"}, "text/css")

ODD_NAMES = {
    "space": " a b ",
    "plus": "a+b",
    "ampersand": "a&b<c>\"d'",
    "percent": "a%20b%zz%",
    "query": "a?b=c#d",
    "backslash": "a\\b",
    "unicode": "日本語 ü é 🎈",
    "decomposed": "e\u0301",
    "newline": "a\nb",
    "tab": "a\tb",
    "control": "a\x01b",
    "not-utf-8": b"a\xff\xfeb".decode("utf-8", "surrogateescape"),
    "double-slash": "a//b",
    "dot": "a/./b",
    "dotdot": "a/../b",
    "long": "x" * 250,
    "star": "a*(b)!~'",
}


async def test_what_was_written_is_read(store: ObjectStore, root: str) -> None:
    written = await put(store, f"{root}a", b"hello", LABELLED)
    found = await store.stat(f"{root}a")
    assert found.key == written.key == f"{root}a"
    assert found.size == written.size == 5
    assert found.version == written.version != ""
    assert await get(store, f"{root}a") == b"hello"


async def test_the_info_of_a_write_is_that_of_the_object(store: ObjectStore, root: str) -> None:
    written = await put(store, f"{root}a", b"hello", LABELLED)
    found = await store.stat(f"{root}a")
    assert abs(written.modified_ns - found.modified_ns) <= 2e9
    assert abs(found.modified_ns - time.time_ns()) < 60e9
    assert dict(written.metadata or {}) == dict(found.metadata or {}) == LABELLED.metadata
    assert found.content_type == LABELLED.content_type


async def test_an_empty_object_is_an_object(store: ObjectStore, root: str) -> None:
    assert (await put(store, f"{root}a")).size == 0
    assert (await store.stat(f"{root}a")).size == 0
    assert await get(store, f"{root}a", 0, 10) == b""


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 10, b"0123456789"),
        (0, 1, b"0"),
        (3, 4, b"3456"),
        (9, 1, b"9"),
        (8, 100, b"89"),
        (10, 5, b""),
        (1000, 5, b""),
        (4, 0, b""),
    ],
)
async def test_ranges(
    store: ObjectStore, root: str, start: int, length: int, expected: bytes
) -> None:
    info = await put(store, f"{root}a", b"0123456789", LABELLED)
    buffer = bytearray(length)
    sink = MemorySink(buffer)
    found = await store.read_range(f"{root}a", start, length, sink, info.version)
    assert bytes(buffer[: sink.received]) == expected
    assert found.size == 10
    assert found.version == info.version
    assert dict(found.metadata or {}) == LABELLED.metadata


async def test_a_read_goes_on_where_its_sink_is(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"0123456789")
    buffer = bytearray(b"ab........")
    sink = MemorySink(buffer)
    sink.advance(2)
    await store.read_range(f"{root}a", 0, 10, sink)
    assert bytes(buffer) == b"ab23456789"


async def test_a_full_sink_ends_a_read(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", os.urandom(300_000))
    sink = MemorySink(bytearray(1000))
    await store.read_range(f"{root}a", 0, 300_000, sink)
    assert sink.received == 1000


async def test_a_read_is_of_the_version_asked_for(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"old..")
    new = await put(store, f"{root}a", b"new!!")
    assert old.version != new.version
    sink = MemorySink(bytearray(5))
    with pytest.raises(ObjectChanged):
        await store.read_range(f"{root}a", 0, 5, sink, old.version)
    assert sink.received == 0
    assert await get(store, f"{root}a", 0, 5, at=new.version) == b"new!!"


async def test_what_is_not_there(store: ObjectStore, root: str) -> None:
    with pytest.raises(ObjectNotFound) as caught:
        await store.stat(f"{root}nothing")
    assert caught.value.key == f"{root}nothing"
    with pytest.raises(ObjectNotFound):
        await store.read_range(f"{root}nothing", 0, 5, MemorySink(bytearray(5)))
    with pytest.raises(ObjectNotFound):
        await store.copy(f"{root}nothing", f"{root}b")
    await store.delete(f"{root}nothing")


async def test_metadata_and_content_type_are_kept(store: ObjectStore, root: str) -> None:
    metadata = {
        "mode": "33188",
        "xattr": '{"user.name":"dmFsdWU="}',
        "with-dash": "a b  c",
        "percent": "100%25",
        "long": "v" * (store.capabilities.max_metadata // 2 - 24),
    }
    await put(store, f"{root}a", b"x", ObjectAttributes(metadata, "image/png"))
    found = await store.stat(f"{root}a")
    assert dict(found.metadata or {}) == metadata
    assert found.content_type == "image/png"


async def test_metadata_that_is_not_ascii_comes_back(store: ObjectStore, root: str) -> None:
    metadata = {"name": "grün 日本", "empty-ish": " "}
    await put(store, f"{root}a", b"x", ObjectAttributes({"name": metadata["name"]}))
    found = await store.stat(f"{root}a")
    assert dict(found.metadata or {}) == {"name": metadata["name"]}


async def test_a_new_object_has_only_its_own_metadata(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"x", LABELLED)
    await put(store, f"{root}a", b"y", ObjectAttributes({"other": "1"}))
    assert dict((await store.stat(f"{root}a")).metadata or {}) == {"other": "1"}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
async def test_odd_names(store: ObjectStore, root: str, name: str) -> None:
    key = root + name
    await put(store, key, b"odd", LABELLED)
    assert await get(store, key) == b"odd"
    assert (await walk(store, root))[0] == [name]
    await store.copy(key, key + ".copy")
    assert (await store.stat(key + ".copy")).size == 3
    await store.delete(key)
    assert await store.delete_many([key + ".copy"]) == {}
    assert await walk(store, root) == ([], [])


async def test_a_key_that_is_too_long_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidKey):
        await put(store, "/".join(["x" * 100] * 50), b"x")


async def test_a_marker_is_an_object(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}dir/", b"", LABELLED)
    found = await store.stat(f"{root}dir/")
    assert found.size == 0
    assert dict(found.metadata or {}) == LABELLED.metadata
    with pytest.raises(ObjectNotFound):
        await store.stat(f"{root}dir")
    assert await walk(store, root) == (["dir/"], [])
    await store.delete(f"{root}dir/")
    with pytest.raises(ObjectNotFound):
        await store.stat(f"{root}dir/")


async def test_a_marker_outlives_its_children(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}dir/", b"", LABELLED)
    version = (await store.stat(f"{root}dir/")).version
    await put(store, f"{root}dir/child", b"x")
    assert (await store.stat(f"{root}dir/")).version == version
    await store.delete(f"{root}dir/child")
    assert dict((await store.stat(f"{root}dir/")).metadata or {}) == LABELLED.metadata


async def test_a_directory_without_marker_is_no_object(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}dir/sub/child", b"x")
    for name in ("dir/", "dir/sub/", "dir"):
        with pytest.raises(ObjectNotFound):
            await store.stat(root + name)
    assert await walk(store, root) == (["dir/sub/child"], [])
    await store.delete(f"{root}dir/sub/child")
    assert await walk(store, root, "/") == ([], [])


async def test_a_marker_goes_and_its_children_stay(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}dir/", b"")
    await put(store, f"{root}dir/child", b"x")
    await store.delete(f"{root}dir/")
    assert (await walk(store, root))[0] == ["dir/child"]
    assert await get(store, f"{root}dir/child") == b"x"


async def test_a_file_and_a_directory_of_one_name(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a/b", b"below")
    await put(store, f"{root}a", b"beside")
    assert await get(store, f"{root}a") == b"beside"
    assert await get(store, f"{root}a/b") == b"below"


async def test_copy_keeps_what_stands_beside(store: ObjectStore, root: str) -> None:
    source = await put(store, f"{root}a", b"hello", LABELLED)
    await store.copy(f"{root}a", f"{root}b", source_version=source.version)
    found = await store.stat(f"{root}b")
    assert dict(found.metadata or {}) == LABELLED.metadata
    assert found.content_type == LABELLED.content_type
    assert await get(store, f"{root}b") == b"hello"
    assert await get(store, f"{root}a") == b"hello"


async def test_a_change_of_metadata_alone_has_a_date(store: ObjectStore, root: str) -> None:
    capabilities = store.capabilities
    if not (capabilities.dates_metadata and capabilities.keeps_metadata):
        pytest.skip("it does not say so")
    before = await put(store, f"{root}a", b"hello", LABELLED)
    before = await store.stat(before.key)
    await trio.sleep(2.1)  # Last-Modified has seconds
    await store.copy(before.key, before.key, attributes=OTHER, source_version=before.version)
    after = await store.stat(before.key)
    assert after.modified_ns // 10**9 != before.modified_ns // 10**9


async def test_copy_replaces_what_stands_beside(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"hello", LABELLED)
    other = ObjectAttributes({"mode": "33261"}, "text/html")
    copied = await store.copy(f"{root}a", f"{root}b", attributes=other)
    found = await store.stat(f"{root}b")
    assert dict(found.metadata or {}) == {"mode": "33261"}
    assert found.content_type == "text/html"
    assert copied.version == found.version
    assert copied.size == 5


async def test_copy_onto_itself_changes_metadata(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"hello", LABELLED)
    changed = await store.copy(f"{root}a", f"{root}a", attributes=ObjectAttributes({"mode": "1"}))
    found = await store.stat(f"{root}a")
    assert dict(found.metadata or {}) == {"mode": "1"}
    assert found.version == changed.version
    assert await get(store, f"{root}a") == b"hello"


async def test_copy_of_a_marker(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a/", b"", LABELLED)
    await store.copy(f"{root}a/", f"{root}b/")
    assert dict((await store.stat(f"{root}b/")).metadata or {}) == LABELLED.metadata


async def test_copy_of_another_version_is_refused(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"old")
    await put(store, f"{root}a", b"newer")
    with pytest.raises(ObjectChanged):
        await store.copy(f"{root}a", f"{root}b", source_version=old.version)
    with pytest.raises(ObjectNotFound):
        await store.stat(f"{root}b")


async def test_delete(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"x")
    await store.delete(f"{root}a")
    with pytest.raises(ObjectNotFound):
        await store.stat(f"{root}a")


async def test_delete_of_a_version(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"old")
    new = await put(store, f"{root}a", b"newer")
    with pytest.raises(ObjectChanged):
        await store.delete(f"{root}a", old.version)
    assert await get(store, f"{root}a") == b"newer"
    await store.delete(f"{root}a", new.version)
    assert await walk(store, root) == ([], [])


async def test_move(store: ObjectStore, root: str) -> None:
    if not store.capabilities.move:
        pytest.skip("this store cannot move")
    await put(store, f"{root}d/a", b"hello", LABELLED)
    await put(store, f"{root}b", b"replaced")
    moved = await store.move(f"{root}d/a", f"{root}b")
    assert moved.key == f"{root}b"
    assert await walk(store, root) == (["b"], [])
    found = await store.stat(f"{root}b")
    assert dict(found.metadata or {}) == LABELLED.metadata
    assert found.version == moved.version
    assert await get(store, f"{root}b") == b"hello"
    with pytest.raises(ObjectNotFound):
        await store.move(f"{root}d/a", f"{root}c")


async def skip_without_appends(store: ObjectStore, root: str) -> None:
    """Skip where the store cannot append; some show only with an object whether they can."""
    await put(store, f"{root}any")
    await store.stat(f"{root}any")
    await store.delete(f"{root}any")
    if not store.capabilities.append:
        pytest.skip("this store cannot append")


async def test_append(store: ObjectStore, root: str) -> None:
    await skip_without_appends(store, root)
    first = await store.append(f"{root}a", 0, BytesBody(b"one"))
    second = await store.append(f"{root}a", 3, BytesBody(b"two"))
    assert second.size == 6
    assert first.version != second.version
    assert await get(store, f"{root}a") == b"onetwo"
    for position in (0, 3, 7):
        with pytest.raises(ObjectChanged):
            await store.append(f"{root}a", position, BytesBody(b"x"))
    assert await get(store, f"{root}a") == b"onetwo"


async def test_what_appends_make_has_attributes_and_says_whether_it_grows(
    store: ObjectStore, root: str
) -> None:
    await skip_without_appends(store, root)
    made = await store.append(f"{root}a", 0, BytesBody(b"one"), LABELLED)
    assert dict(made.metadata or {}) == LABELLED.metadata
    grown = await store.append(f"{root}a", 3, BytesBody(b"two"), OTHER)
    shown = LABELLED.metadata if grown.metadata is None else grown.metadata
    kept = OTHER if dict(shown) == OTHER.metadata else LABELLED
    found = await store.stat(f"{root}a")
    assert dict(found.metadata or {}) == kept.metadata
    assert found.content_type == kept.content_type
    assert found.version == grown.version
    grown = await store.append(f"{root}a", 6, BytesBody(b"three"))
    found = await store.stat(f"{root}a")
    assert dict(found.metadata or {}) == kept.metadata
    assert found.content_type == kept.content_type
    assert found.version == grown.version
    assert found.is_appendable == made.is_appendable == grown.is_appendable
    await store.append(f"{root}b", 0, BytesBody(b"x"))
    await put(store, f"{root}b", b"ordinary")
    assert not (await store.stat(f"{root}b")).is_appendable


async def test_an_ordinary_object_is_not_appended_to_or_says_nothing(
    store: ObjectStore, root: str
) -> None:
    await skip_without_appends(store, root)
    info = await put(store, f"{root}a", b"one")
    assert not info.is_appendable
    try:
        await store.append(f"{root}a", 3, BytesBody(b"two"))
    except NotSupported:
        assert await get(store, f"{root}a") == b"one"
    else:
        assert await get(store, f"{root}a") == b"onetwo"


async def test_of_two_appends_at_one_place_one_is_refused(store: ObjectStore, root: str) -> None:
    await skip_without_appends(store, root)
    await store.append(f"{root}a", 0, BytesBody(b"start"))
    refused: list[bytes] = []

    async def add(data: bytes) -> None:
        try:
            await store.append(f"{root}a", 5, BytesBody(data))
        except ObjectChanged:
            refused.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, b"-one-")
        nursery.start_soon(add, b"+two+")
    assert len(refused) == 1
    kept = b"start" + ({b"-one-", b"+two+"} - set(refused)).pop()
    assert await get(store, f"{root}a") == kept


async def test_a_copy_of_what_appends_made_is_an_ordinary_object(
    store: ObjectStore, root: str
) -> None:
    await skip_without_appends(store, root)
    info = await store.append(f"{root}a", 0, BytesBody(b"one"), LABELLED)
    copied = await store.copy(f"{root}a", f"{root}b", source_version=info.version)
    assert not copied.is_appendable
    found = await store.stat(f"{root}b")
    assert (found.is_appendable, found.size, found.version) == (False, 3, copied.version)
    changed = await store.copy(f"{root}a", f"{root}a", attributes=OTHER)
    assert not changed.is_appendable
    assert not (await store.stat(f"{root}a")).is_appendable
    assert await get(store, f"{root}a") == b"one"


async def test_a_big_object(store: ObjectStore, root: str) -> None:
    data = os.urandom(1 << 16) * 150 + b"end"
    await put(store, f"{root}a", data)
    assert await get(store, f"{root}a") == data
    assert await get(store, f"{root}a", 5 * MIB - 3, 7) == data[5 * MIB - 3 : 5 * MIB + 4]


async def test_many_at_once(store: ObjectStore, root: str) -> None:
    async def one(number: int) -> None:
        key, data = f"{root}{number % 7}/{number}", bytes([number]) * (number * 1000)
        await put(store, key, data, LABELLED)
        assert await get(store, key) == data
        await store.delete(key)

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(one, number)
    assert await walk(store, root) == ([], [])


async def test_of_two_writers_one_wins_whole(store: ObjectStore, root: str) -> None:
    bodies = [bytes([65 + number]) * 100_000 for number in range(6)]
    async with trio.open_nursery() as nursery:
        for body in bodies:
            nursery.start_soon(put, store, f"{root}a", body)
    assert await get(store, f"{root}a") in bodies


async def test_a_refused_copy_says_why(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"x")
    with pytest.raises(StorageError) as caught:
        await store.copy(f"{root}a", f"{root}b", source_version=Version("0" * 32))
    assert isinstance(caught.value, ObjectChanged | InvalidRequest)


async def test_attributes_may_be_none_at_all(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"x", PLAIN)
    assert dict((await store.stat(f"{root}a")).metadata or {}) == {}
