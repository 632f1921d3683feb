"""CosStore over the emulator: what the one contract of stores does not ask, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trio
from werkzeug.wrappers import Response

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.cos.addressing import find_address
from bucketfs.storage.cos.copying import Copier
from bucketfs.storage.cos.opening import open_cos
from bucketfs.storage.cos.store import CosStore
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectStore,
    Precondition,
)
from bucketfs.storage.location import StoreOptions, StoreUrl
from bucketfs.storage.opening import open_store
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, FixedCredentials
from tests.contract.asking import LABELLED, MIB, PLAIN, get, put, walk
from tests.emulators.cos.cloud import REGION, SECRET_ID, SECRET_KEY
from tests.emulators.cos.refusals import refused
from tests.emulators.cos.signature import Account
from tests.emulators.cos_client import sdk
from tests.emulators.serving import Ask, RunningEmulator
from tests.faults.proxy import faulty


@pytest.fixture
def bucket(cos: RunningEmulator) -> str:
    """A bucket of this test alone."""
    return cos.make_bucket()


@pytest.fixture(autouse=True)
def _straight(cos: RunningEmulator) -> Iterator[None]:
    yield
    cos.knobs.reset()


@pytest.fixture
async def bare(cos: RunningEmulator, bucket: str) -> AsyncIterator[CosStore]:
    """The dialect alone: nothing is retried."""
    opened = CosStore(
        find_address(bucket, REGION, cos.endpoint),
        client=HttpClient(concurrency=8, timeout_s=20),
        credentials=FixedCredentials(Credentials(SECRET_ID, SECRET_KEY)),
    )
    yield opened
    await opened.aclose()


@pytest.fixture
async def store(cos: RunningEmulator, bucket: str) -> AsyncIterator[ObjectStore]:
    """The store as a mount has it."""
    opened = await open_store(f"cos://{bucket}", options(cos))
    cos.knobs.seen.clear()
    yield opened
    await opened.aclose()


def options(cos: RunningEmulator, **more: Any) -> StoreOptions:
    """Return how the emulator's buckets are opened."""
    known = StoreOptions(
        endpoint=cos.endpoint, environment=cos.environment, timeout_s=10, attempts=3
    )
    return replace(known, **more)


def asked(cos: RunningEmulator) -> list[str]:
    """Return method and sub-resources of every request since the last look."""
    found = [
        f"{ask.method} {'object' if ask.key else 'bucket'}"
        + "".join(sorted(f" {name}" for name, _ in ask.query if name in WORDS))
        for ask in cos.knobs.seen
    ]
    cos.knobs.seen.clear()
    return found


WORDS = {"uploads", "uploadId", "append", "delete", "versioning"}


async def test_nothing_is_seen_before_a_person_says_where(cos: RunningEmulator) -> None:
    with pytest.raises(BucketNotFound, match="no such bucket"):
        await open_store("cos://never-1250000000", options(cos))
    with pytest.raises(ConfigurationError, match="region"):
        await open_store("cos://b-1250000000", options(cos, environment={}))


async def test_a_bucket_of_another_region(cos: RunningEmulator, bucket: str) -> None:
    with pytest.raises(BucketNotFound, match="region"):
        await open_store(f"cos://{bucket}", options(cos, region="ap-beijing"))


async def test_clocks_and_keys(cos: RunningEmulator, bucket: str) -> None:
    wrong = {**cos.environment, "COS_SECRET_KEY": "wrong"}
    with pytest.raises(AccessDenied, match="SecretKey is wrong"):
        await open_store(f"cos://{bucket}", options(cos, environment=wrong))
    wrong = {**cos.environment, "COS_SECRET_ID": "unknown"}
    with pytest.raises(AccessDenied, match="does not know this SecretId"):
        await open_store(f"cos://{bucket}", options(cos, environment=wrong))
    cos.knobs.skew_s = -1200
    with pytest.raises(AccessDenied, match="clock"):
        await open_store(f"cos://{bucket}", options(cos))


async def test_a_key_that_may_only_read(cos: RunningEmulator, bucket: str) -> None:
    reader = Account("reader", "secret", rights=frozenset({"list", "read"}))
    cos.emulator.accounts["reader"] = reader
    keys = {**cos.environment, "COS_SECRET_ID": "reader", "COS_SECRET_KEY": "secret"}
    store = await open_store(f"cos://{bucket}", options(cos, environment=keys))
    with pytest.raises(AccessDenied):
        await put(store, "a", b"x")
    assert await walk(store, "") == ([], [])
    await store.aclose()


async def test_temporary_keys_that_have_ended(cos: RunningEmulator, bucket: str) -> None:
    cos.emulator.accounts["short"] = Account("short", "secret", "token", 0.0)
    keys = {**cos.environment, "COS_SECRET_ID": "short", "COS_SECRET_KEY": "secret"}
    with pytest.raises(AccessDenied, match="have ended"):
        await open_store(
            f"cos://{bucket}", options(cos, environment={**keys, "COS_TOKEN": "token"})
        )


async def test_requests_of_single_operations(cos: RunningEmulator, store: ObjectStore) -> None:
    """What each operation costs; docs/performance.md shows these numbers."""
    await put(store, "a", b"x", LABELLED, ABSENT)
    assert asked(cos) == ["PUT object"]
    info = await store.stat("a")
    assert asked(cos) == ["HEAD object"]
    await store.read_range("a", 0, 1, MemorySink(bytearray(1)), info.version)
    assert asked(cos) == ["GET object"]
    await store.copy("a", "b", source_version=info.version)
    assert asked(cos) == ["PUT object"]  # The source was written here a moment ago.
    await store.append("log", 0, BytesBody(b"x"))
    await store.append("log", 1, BytesBody(b"y"))
    assert asked(cos) == ["POST object append", "POST object append"]
    await store.list_page("", "/")
    assert asked(cos) == ["GET bucket"]
    await store.delete("a")
    assert asked(cos) == ["DELETE object"]
    assert await store.delete_many(["b", "log", "never"]) == {}
    assert asked(cos) == ["POST bucket delete"]
    await (await open_cos_again(cos, store)).aclose()
    assert asked(cos) == ["GET bucket", "GET bucket versioning"]


async def open_cos_again(cos: RunningEmulator, store: ObjectStore) -> ObjectStore:
    """Open the newest bucket once more."""
    name = list(cos.emulator.buckets)[-1].name
    return await open_store(f"cos://{name}", options(cos))


async def test_what_the_sdk_made_is_read_and_the_other_way_round(
    cos: RunningEmulator, store: ObjectStore, bucket: str
) -> None:
    client = sdk(cos)
    client.put_object(
        Bucket=bucket, Key="目录/a b", Body=b"by sdk", ContentType="text/css",
        CacheControl="no-store", Metadata={"x-cos-meta-name": "grün"},
    )  # fmt: skip
    found = await store.stat("目录/a b")
    assert dict(found.metadata or {}) == {"name": "grün", ":cache-control": "no-store"}
    assert found.content_type == "text/css"
    assert await get(store, "目录/a b") == b"by sdk"
    attributes = ObjectAttributes({"mode": "33188", ":content-language": "de"}, "text/plain")
    await put(store, "x/+ ./y", b"by us", attributes)
    answer = client.get_object(Bucket=bucket, Key="x/+ ./y")
    assert answer["Body"].get_raw_stream().read() == b"by us"
    assert (answer["x-cos-meta-mode"], answer["Content-Language"]) == ("33188", "de")
    upload = await store.begin_upload("parts", PLAIN)
    parts = [
        await upload.add_part(1, BytesBody(b"1" * MIB)),
        await upload.add_part(2, BytesBody(b"2")),
    ]
    await upload.commit(parts)
    answer = client.get_object(Bucket=bucket, Key="parts")
    assert answer["Body"].get_raw_stream().read() == b"1" * MIB + b"2"
    await store.append("log", 0, BytesBody(b"one"))
    client.append_object(Bucket=bucket, Key="log", Position=3, Data=b"two")
    await store.append("log", 6, BytesBody(b"three"))
    assert await get(store, "log") == b"onetwothree"


async def test_appends_where_others_append_too(
    cos: RunningEmulator, store: ObjectStore, bucket: str
) -> None:
    await store.append("log", 0, BytesBody(b"one"))
    sdk(cos).append_object(Bucket=bucket, Key="log", Position=3, Data=b"TWO")
    with pytest.raises(ObjectChanged):
        await store.append("log", 3, BytesBody(b"two"))
    await store.append("log", 6, BytesBody(b"three"))
    assert await get(store, "log") == b"oneTWOthree"
    with pytest.raises(ObjectChanged):
        await store.append("never", 5, BytesBody(b"x"))
    await put(store, "plain", b"x")
    with pytest.raises(NotSupported, match="appending"):
        await store.append("plain", 1, BytesBody(b"x"))


async def test_an_append_whose_answer_was_lost_is_not_made_twice(
    cos: RunningEmulator, store: ObjectStore
) -> None:
    await store.append("log", 0, BytesBody(b"one"))
    lose_answers(cos, 1, "POST")
    grown = await store.append("log", 3, BytesBody(b"two"))
    assert grown.size == 6
    assert await get(store, "log") == b"onetwo"


def lose_answers(cos: RunningEmulator, count: int, method: str) -> None:
    """Do the next `count` requests of `method`, but answer that something went wrong."""
    left = [count]

    def spoil(ask: Ask, response: Response) -> Response:
        if ask.method != method or left[0] == 0:
            return response
        left[0] -= 1
        return refused(500, "InternalError")

    cos.knobs.spoil = spoil


async def test_a_commit_whose_answer_was_lost(cos: RunningEmulator, store: ObjectStore) -> None:
    upload = await store.begin_upload("a", PLAIN)
    parts = [
        await upload.add_part(1, BytesBody(b"1" * MIB)),
        await upload.add_part(2, BytesBody(b"2")),
    ]
    lose_answers(cos, 1, "POST")
    made = await upload.commit(parts)
    assert made.version == (await store.stat("a")).version


async def test_a_commit_that_is_repeated_knows_its_own_object(bare: CosStore) -> None:
    upload = await bare.begin_upload("a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"one"))
    made = await upload.commit([part])
    assert (await upload.commit([part])).version == made.version
    await put(bare, "a", b"two")
    with pytest.raises(ObjectNotFound):
        await upload.commit([part])


async def test_a_lost_commit_is_no_foreign_change(cos: RunningEmulator, bare: CosStore) -> None:
    old = await put(bare, "b", b"old")
    for key, condition in (("a", ABSENT), ("b", Precondition(old.version))):
        upload = await bare.begin_upload(key, PLAIN)
        part = await upload.add_part(1, BytesBody(b"new"))
        lose_answers(cos, 1, "POST")
        with pytest.raises(Transient):
            await upload.commit([part], condition)
        made = await upload.commit([part], condition)
        assert made.version == (await bare.stat(key)).version
    upload = await bare.begin_upload("b", PLAIN)
    part = await upload.add_part(1, BytesBody(b"new"))
    with pytest.raises(ObjectExists):
        await upload.commit([part], ABSENT)  # The same bytes, but not by this upload.


async def test_appendable_objects_are_copied_by_way_of_here(store: ObjectStore) -> None:
    data = b"0123456789" * (MIB // 2)
    await store.append("log", 0, BytesBody(data))
    copied = await store.copy("log", "copy")
    assert copied.version == (await store.stat("copy")).version
    assert await get(store, "copy") == data
    changed = await store.copy("log", "log", attributes=ObjectAttributes({"mode": "1"}))
    found = await store.stat("log")
    assert (changed.version, dict(found.metadata or {})) == (found.version, {"mode": "1"})
    assert await get(store, "log") == data
    with pytest.raises(NotSupported):
        await store.append("log", len(data), BytesBody(b"x"))  # It is an ordinary one by now.


async def test_parts_of_appendable_objects_are_sent(store: ObjectStore) -> None:
    await store.append("log", 0, BytesBody(b"a" * MIB + b"b" * MIB))
    version = (await store.stat("log")).version
    upload = await store.begin_upload("log", PLAIN)
    parts = [
        await upload.copy_part(1, "log", 1, MIB, version),
        await upload.add_part(2, BytesBody(b"end")),
    ]
    await upload.commit(parts, Precondition(version))
    assert await get(store, "log") == b"a" * (MIB - 1) + b"bend"


async def test_copies_of_large_objects_go_by_parts(bare: CosStore) -> None:
    data = b"0123456789" * MIB
    await put(bare, "a", data, LABELLED)
    copier = Copier(bare._place, bare._writer, max_copy=MIB)
    await copier.copy("a", "b", None, None, ABSENT)
    assert await get(bare, "b") == data
    assert (await bare.stat("b")).version.endswith("-1")
    assert dict((await bare.stat("b")).metadata or {}) == LABELLED.metadata
    with pytest.raises(ObjectExists):
        await copier.copy("a", "b", None, None, ABSENT)


async def test_storage_classes(cos: RunningEmulator, bucket: str) -> None:
    store = await open_store(f"cos://{bucket}", options(cos, storage_class="STANDARD_IA"))
    await put(store, "a", b"x")
    await store.copy("a", "at once", source_version=(await store.stat("a")).version)
    upload = await store.begin_upload("parts", PLAIN)
    await upload.commit([await upload.add_part(1, BytesBody(b"x"))])
    for key in ("a", "at once", "parts"):
        assert (await store.stat(key)).storage_class == "STANDARD_IA"
    await store.aclose()
    store = await open_store(f"cos://{bucket}", options(cos))
    await store.copy("a", "b")
    await store.copy("b", "b", attributes=ObjectAttributes({"mode": "1"}))
    assert (await store.stat("b")).storage_class == "STANDARD_IA"
    sdk(cos).append_object(
        Bucket=bucket, Key="log", Position=0, Data=b"x", StorageClass="STANDARD_IA"
    )
    await store.copy("log", "copy")
    assert (await store.stat("copy")).storage_class == "STANDARD_IA"
    sdk(cos).put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="ARCHIVE")
    with pytest.raises(ObjectArchived):
        await get(store, "cold")
    with pytest.raises(ObjectArchived):
        await store.copy("cold", "warm")
    await store.aclose()


async def test_traffic_limits(cos: RunningEmulator, bucket: str) -> None:
    store = await open_store(f"cos://{bucket}", options(cos, traffic_limit_bytes_s=MIB))
    cos.knobs.seen.clear()
    await put(store, "a", b"x")
    await get(store, "a")
    limits = [(ask.method, ask.headers.get("x-cos-traffic-limit")) for ask in cos.knobs.seen]
    assert limits == [("PUT", str(8 * MIB)), ("HEAD", None), ("GET", str(8 * MIB))]
    await store.aclose()
    location = StoreUrl("cos", bucket, "")
    for limit in (102_399, 104_857_601):
        with pytest.raises(ConfigurationError, match="102400 to 104857600"):
            await open_cos(location, options(cos, traffic_limit_bytes_s=limit))


async def test_buckets_with_versions_are_looked_at_before_a_write(
    cos: RunningEmulator, bucket: str
) -> None:
    client = sdk(cos)
    client.put_bucket_versioning(Bucket=bucket, Status="Suspended")
    store = await open_store(f"cos://{bucket}", options(cos))
    client.put_object(Bucket=bucket, Key="a", Body=b"theirs")
    with pytest.raises(ObjectExists):
        await put(store, "a", b"ours", precondition=ABSENT)
    await store.aclose()


async def test_keys_that_cos_does_not_hold(bare: CosStore) -> None:
    for key in ("k" * 851, "é" * 426, "/a", "a\udcff"):
        with pytest.raises(InvalidKey):
            await put(bare, key, b"x")
    await put(bare, "é" * 425, b"x")
    with pytest.raises(ObjectNotFound):
        await bare.stat("/a")  # Others may have made it.


async def test_metadata_that_is_too_much(bare: CosStore) -> None:
    with pytest.raises(InvalidRequest):
        await put(bare, "a", b"x", ObjectAttributes({"a": "v" * 2048}))


def spoil_sums(cos: RunningEmulator, count: int, method: str) -> None:
    """Tell a wrong CRC-64 in the next `count` answers to `method`."""
    left = [count]

    def spoil(ask: Ask, response: Response) -> Response:
        if ask.method == method and left[0] and "x-cos-hash-crc64ecma" in response.headers:
            left[0] -= 1
            response.headers["x-cos-hash-crc64ecma"] = "1"
        return response

    cos.knobs.spoil = spoil


async def test_what_arrives_as_other_bytes_is_sent_again(
    cos: RunningEmulator, bare: CosStore
) -> None:
    spoil_sums(cos, 2, "PUT")
    await put(bare, "a", b"data", precondition=ABSENT)
    assert asked(cos).count("PUT object") == 3
    spoil_sums(cos, 3, "PUT")
    with pytest.raises(ConfusedServer, match="other bytes"):
        await put(bare, "a", b"data")


async def test_a_part_that_arrives_as_other_bytes_may_be_sent_again(
    cos: RunningEmulator, bare: CosStore
) -> None:
    upload = await bare.begin_upload("a", PLAIN)
    spoil_sums(cos, 1, "PUT")
    with pytest.raises(Transient, match="other bytes"):
        await upload.add_part(1, BytesBody(b"x"))
    await upload.commit([await upload.add_part(1, BytesBody(b"x"))])


async def test_wrong_sums_of_appends_commits_and_reads(
    cos: RunningEmulator, bare: CosStore
) -> None:
    spoil_sums(cos, 1, "POST")
    with pytest.raises(ConfusedServer, match="other bytes"):
        await bare.append("log", 0, BytesBody(b"x"))
    upload = await bare.begin_upload("a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"x"))
    spoil_sums(cos, 1, "POST")
    with pytest.raises(ConfusedServer, match="other bytes"):
        await upload.commit([part])
    await put(bare, "a", b"data")
    spoil_sums(cos, 1, "GET")
    with pytest.raises(ConfusedServer, match="other bytes"):
        await bare.read_range("a", 0, 4, MemorySink(bytearray(4)))
    spoil_sums(cos, 1, "GET")
    await bare.read_range("a", 0, 3, MemorySink(bytearray(3)))  # No whole object: no sum.


async def test_throttling_and_failures_pass(cos: RunningEmulator, store: ObjectStore) -> None:
    cos.knobs.refuse_next(1, lambda ask: refused(503, "SlowDown"))
    await put(store, "a", b"x")
    cos.knobs.refuse_next(1, lambda ask: refused(500, "InternalError"))
    assert await get(store, "a", 0, 1) == b"x"
    cos.knobs.refuse_next(100, lambda ask: refused(503, "SlowDown"))
    with pytest.raises(Transient) as caught:
        await store.stat("a")
    assert caught.value.throttled
    assert caught.value.request_id


async def test_connections_that_break(cos: RunningEmulator, bucket: str) -> None:
    data = bytes(range(256)) * 4096
    with faulty(cos.endpoint) as server:
        store = await open_store(f"cos://{bucket}", options(cos, endpoint=server.url))
        server.fail_next(1, "lost", "PUT")
        info = await put(store, "a", data, LABELLED, ABSENT)
        for fault in ("cut", "reset", "503"):
            server.fail_next(1, fault, "GET")
            assert await get(store, "a", 0, len(data), at=info.version) == data
        server.fail_next(1, "lost", "POST")
        await store.append("log", 0, BytesBody(b"once"))
        assert await get(store, "log") == b"once"
        await store.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"<ListBucketResult><Contents><Key>a</Key>",
        b"<html><body>It works!</body></html>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult><Name>&a;</Name></ListBucketResult>',
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"",
    ],
)
async def test_listings_that_are_none(cos: RunningEmulator, bare: CosStore, body: bytes) -> None:
    cos.knobs.refuse = lambda ask: Response(body, 200)
    with pytest.raises(ConfusedServer):
        await bare.list_page("")


async def test_copies_that_fail_late(cos: RunningEmulator, bare: CosStore) -> None:
    await put(bare, "a", b"x")
    late = b"\n\n<Error><Code>InternalError</Code><Message>late</Message></Error>"
    cos.knobs.refuse_next(1, lambda ask: Response(late, 200), "PUT")
    with pytest.raises(Transient, match="late"):
        await bare.copy("a", "b")


async def test_a_next_marker_that_is_left_out(cos: RunningEmulator, bare: CosStore) -> None:
    for key in ("a b", "c", "d"):
        await put(bare, key, b"x")

    def spoil(ask: Ask, response: Response) -> Response:
        text = re.sub(rb"<NextMarker>[^<]*</NextMarker>", b"", response.get_data())
        response.set_data(text)
        return response

    cos.knobs.spoil = spoil
    assert await walk(bare, "", limit=1) == (["a b", "c", "d"], [])


async def test_of_many_that_make_one_wins(cos: RunningEmulator, store: ObjectStore) -> None:
    winners: list[int] = []

    async def make(number: int) -> None:
        try:
            await put(store, "a", b"%d" % number, precondition=ABSENT)
        except ObjectExists:
            return
        winners.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(make, number)
    assert [b"%d" % number for number in winners] == [await get(store, "a")]
