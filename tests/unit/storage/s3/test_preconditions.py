"""Guard: which conditions are trusted, learned or compared by a HEAD."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bucketfs.errors import ObjectChanged, ObjectExists, Transient
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.s3.preconditions import Guard
from bucketfs.storage.s3.store import S3Store
from tests.unit.storage.s3.buckets import Bucket, store_at
from tests.unit.transport.scripted import ScriptedServer

NOTHING = ObjectAttributes()


async def write(
    store: S3Store, key: str, data: bytes, precondition: Precondition | None = None
) -> ObjectInfo:
    return await store.write(key, BytesBody(data), NOTHING, precondition)


async def test_a_server_that_keeps_if_none_match_is_trusted_after_the_first_file() -> None:
    bucket = Bucket()
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            await write(store, "a", b"1", ABSENT)
            assert bucket.asked == ["HEAD", "PUT", "PUT", "HEAD"]
            bucket.asked.clear()
            await write(store, "b", b"1", ABSENT)
            with pytest.raises(ObjectExists):
                await write(store, "b", b"2", ABSENT)
    assert bucket.asked == ["PUT", "PUT"]
    assert bucket.objects == {"a": b"1", "b": b"1"}


async def test_a_server_that_ignores_if_none_match_is_asked_by_head() -> None:
    bucket = Bucket(keeps_absent=False)
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            await write(store, "a", b"1", ABSENT)
            bucket.asked.clear()
            await write(store, "b", b"1", ABSENT)
            with pytest.raises(ObjectExists):
                await write(store, "b", b"2", ABSENT)
    assert bucket.asked == ["HEAD", "PUT", "HEAD"]
    assert bucket.objects["b"] == b"1"


@pytest.mark.parametrize("kind", ["keeps", "ignores", "refuses all"])
async def test_an_overwrite_of_another_version_is_refused_by_every_kind_of_server(
    kind: str,
) -> None:
    bucket = Bucket(keeps_match=kind != "ignores", has_broken_match=kind == "refuses all")
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            info = await write(store, "a", b"1")
            info = await write(store, "a", b"2", Precondition(info.version))
            info = await write(store, "a", b"3", Precondition(info.version))
            bucket.asked.clear()
            with pytest.raises(ObjectChanged):
                await write(store, "a", b"4", Precondition(Version("other")))
            assert bucket.asked == (["PUT"] if kind == "keeps" else ["HEAD"])
            await store.delete("a")
            with pytest.raises(ObjectChanged):
                await write(store, "a", b"4", Precondition(info.version))
    assert bucket.objects == {}


async def test_large_objects_are_never_written_twice_to_learn() -> None:
    bucket = Bucket()
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            await write(store, "a", bytes(100_000), ABSENT)
    assert bucket.asked.count("PUT") == 1


async def test_own_writes_are_believed_for_a_second(autojump_clock: MockClock) -> None:
    stats = []

    async def stat(key: str) -> ObjectInfo:
        stats.append(key)
        return ObjectInfo(key, 1, Version("theirs"), 0)

    guard = Guard(stat, is_native=True)
    await guard.wrote(ObjectInfo("k", 1, Version("ours"), 0))
    await guard.check("k", Precondition(Version("ours")))
    assert not stats
    await trio.sleep(1.1)
    with pytest.raises(ObjectChanged):
        await guard.check("k", Precondition(Version("ours")))
    assert stats == ["k"]


async def test_a_server_that_shows_another_etag_than_it_answered_is_asked_after_writes() -> None:
    async def stat(key: str) -> ObjectInfo:
        return ObjectInfo(key, 1, Version("shown"), 0)

    async def put(conditions: object) -> ObjectInfo:
        return ObjectInfo("k", 1, Version("answered"), 0)

    guard = Guard(stat, is_native=False)
    for _ in range(2):
        assert (await guard.write("k", 1, None, put)).version == "shown"


async def test_a_write_that_was_acknowledged_does_not_fail_by_the_look_after_it() -> None:
    async def stat(key: str) -> ObjectInfo:
        raise Transient("no answer")

    async def put(conditions: object) -> ObjectInfo:
        return ObjectInfo("k", 1, Version("answered"), 0)

    guard = Guard(stat, is_native=False)
    assert (await guard.write("k", 1, None, put)).version == "answered"


async def test_native_conditions_are_headers_from_the_first_write() -> None:
    seen = []

    async def stat(key: str) -> ObjectInfo:
        raise AssertionError("no HEAD is needed")

    async def put(conditions: object) -> ObjectInfo:
        seen.append(conditions)
        return ObjectInfo("k", 1, Version("v"), 0)

    guard = Guard(stat, is_native=True)
    await guard.write("k", 1, ABSENT, put)
    await guard.write("k", 1, Precondition(Version("v")), put)
    assert seen == [{"if-none-match": "*"}, {"if-match": '"v"'}]
