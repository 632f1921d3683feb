"""Writes that are to happen only where the caller's knowledge still holds; and refusals."""

from __future__ import annotations

import pytest
import trio

from bucketfs.errors import AccessDenied, BucketNotFound, ObjectChanged, ObjectExists, StorageError
from bucketfs.storage.interface import ABSENT, ObjectAttributes, ObjectStore, Precondition
from bucketfs.storage.opening import open_store
from tests.contract.asking import get, put
from tests.contract.conftest import Server, options_for, url_of


async def test_only_where_nothing_is(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"first", precondition=ABSENT)
    with pytest.raises(ObjectExists):
        await put(store, f"{root}a", b"second", precondition=ABSENT)
    assert await get(store, f"{root}a") == b"first"
    await store.delete(f"{root}a")
    await put(store, f"{root}a", b"third", precondition=ABSENT)
    assert await get(store, f"{root}a") == b"third"


async def test_only_over_the_known_version(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"one")
    new = await put(store, f"{root}a", b"two", precondition=Precondition(old.version))
    with pytest.raises(ObjectChanged):
        await put(store, f"{root}a", b"three", precondition=Precondition(old.version))
    assert await get(store, f"{root}a") == b"two"
    await put(store, f"{root}a", b"four", precondition=Precondition(new.version))
    assert await get(store, f"{root}a") == b"four"


async def test_a_known_version_that_is_gone(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"one")
    await store.delete(f"{root}a")
    with pytest.raises(ObjectChanged):
        await put(store, f"{root}a", b"two", precondition=Precondition(old.version))


async def test_a_marker_keeps_its_condition(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}d/", precondition=ABSENT)
    with pytest.raises(ObjectExists):
        await put(store, f"{root}d/", precondition=ABSENT)


async def test_a_copy_keeps_its_condition(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"source")
    target = await put(store, f"{root}b", b"target")
    with pytest.raises(ObjectExists):
        await store.copy(f"{root}a", f"{root}b", precondition=ABSENT)
    assert await get(store, f"{root}b") == b"target"
    await store.copy(f"{root}a", f"{root}b", precondition=Precondition(target.version))
    assert await get(store, f"{root}b") == b"source"
    await store.copy(f"{root}a", f"{root}c", precondition=ABSENT)
    assert await get(store, f"{root}c") == b"source"


async def test_of_many_that_make_one_wins(store: ObjectStore, root: str) -> None:
    if not store.capabilities.conditional_write:
        pytest.skip("this server does not promise it")
    winners: list[int] = []

    async def make(number: int) -> None:
        try:
            await put(store, f"{root}a", b"%d" % number, precondition=ABSENT)
        except ObjectExists:
            return
        winners.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(make, number)
    assert [b"%d" % number for number in winners] == [await get(store, f"{root}a")]


async def test_metadata_changes_only_over_the_known_version(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"one")
    await put(store, f"{root}a", b"another")
    with pytest.raises(ObjectChanged):
        await store.copy(
            f"{root}a",
            f"{root}a",
            attributes=ObjectAttributes({"mode": "1"}),
            source_version=old.version,
        )
    assert dict((await store.stat(f"{root}a")).metadata or {}) == {}


async def test_a_missing_bucket(server: Server | None) -> None:
    if server is None:
        pytest.skip("needs a server")
    with pytest.raises(BucketNotFound):
        await open_store(url_of(server, "no-such-bucket-here-1250000000"), options_for(server))


async def test_a_wrong_secret(server: Server | None, bucket: str | None) -> None:
    if server is None or not getattr(server, "checks_signatures", True):
        pytest.skip("needs a server that checks signatures")
    with pytest.raises(AccessDenied) as caught:
        await open_store(
            url_of(server, str(bucket)), options_for(server, secret_key="not-the-secret")
        )
    assert "not-the-secret" not in str(caught.value)


async def test_errors_say_where(store: ObjectStore, root: str) -> None:
    with pytest.raises(StorageError) as caught:
        await store.stat(f"{root}nothing")
    assert caught.value.operation
    assert caught.value.key == f"{root}nothing"
