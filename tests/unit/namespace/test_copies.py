"""What proves that an object is the copy of another, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bucketfs.errors import ObjectArchived, Transient
from bucketfs.namespace.copies import COMPARED_AT_ONCE_BYTES, by_suffix, is_copy
from bucketfs.storage.interface import BytesBody, ObjectAttributes, ObjectInfo, Version
from bucketfs.storage.memory import MemoryStore

from .trees import NO_MOVE

OWN = {"mtime": "1.000000002", "ctime": "1.000000003"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(capabilities=NO_MOVE)


async def put(store: MemoryStore, key: str, data: bytes, **metadata: str) -> ObjectInfo:
    return await store.write(key, BytesBody(data), ObjectAttributes(metadata))


async def test_equal_etags_of_one_size_need_no_request(store: MemoryStore) -> None:
    one = ObjectInfo("one", 5, Version("tag"), 0)
    assert await is_copy(store, one, replace(one, key="other"))
    assert not await is_copy(store, one, replace(one, key="other", size=6))


async def test_versions_that_no_server_gave_prove_nothing(store: MemoryStore) -> None:
    one = await put(store, "one", b"bytes")
    other = await put(store, "other", b"BYTES")
    same = Version("~100-5")
    assert not await is_copy(store, replace(one, version=same), replace(other, version=same))


async def test_times_to_the_nanosecond_prove_it_without_reading(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (
        await put(store, "one", b"bytes", **OWN),
        await put(store, "other", b"bytes", **OWN),
    )

    async def refuse(*_: object, **__: object) -> ObjectInfo:
        raise AssertionError("it was read")

    monkeypatch.setattr(store, "read_range", refuse)
    assert await is_copy(store, one, other)


@pytest.mark.parametrize("metadata", [{}, {"mtime": "1"}])
async def test_without_them_the_bytes_are_compared(
    store: MemoryStore, metadata: dict[str, str]
) -> None:
    data = bytes(COMPARED_AT_ONCE_BYTES) + b"end"
    one = await put(store, "one", data, **metadata)
    assert await is_copy(store, one, await put(store, "same", data, **metadata))
    assert not await is_copy(store, one, await put(store, "other", data[:-1] + b"D", **metadata))


async def test_what_is_not_as_it_was_listed_is_no_copy(store: MemoryStore) -> None:
    one, other = await put(store, "one", b"bytes"), await put(store, "other", b"bytes")
    await put(store, "other", b"bytes")
    assert not await is_copy(store, one, other)
    await store.delete("other")
    assert not await is_copy(store, one, other)


async def test_what_cannot_be_read_is_no_copy_but_a_failure_is_one(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await put(store, "one", b"bytes"), await put(store, "other", b"bytes")

    async def archived(*_: object, **__: object) -> ObjectInfo:
        raise ObjectArchived("in the archive")

    monkeypatch.setattr(store, "read_range", archived)
    assert not await is_copy(store, one, other)

    async def away(*_: object) -> ObjectInfo:
        raise Transient("the server is away")

    monkeypatch.setattr(store, "stat", away)
    with pytest.raises(Transient):
        await is_copy(store, one, other)


async def test_a_tree_by_suffixes_of_many_pages_in_any_order() -> None:
    store = MemoryStore(capabilities=replace(NO_MOVE, listing_is_ordered=False))
    for number in range(1500):
        await put(store, f"d/{number}", b"")
    await put(store, "e/other", b"")
    assert set(await by_suffix(store, "d/")) == {str(number) for number in range(1500)}
