"""KodoStore where Kodo is not like other clouds, over the emulator; and beside Qiniu's own SDK."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from werkzeug.wrappers import Response as Answer

from bucketfs.errors import (
    AccessDenied,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    MemorySink,
    ObjectAttributes,
    Precondition,
)
from bucketfs.storage.kodo.opening import open_kodo
from bucketfs.storage.kodo.store import KodoStore
from bucketfs.storage.location import StoreOptions, parse_url
from bucketfs.storage.probing import abilities
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_kodo import KodoCredentials
from tests.contract.asking import LABELLED, PLAIN, get, put
from tests.emulators.kodo.answers import json_answer
from tests.emulators.kodo.sdk import Sdk
from tests.emulators.kodo.stored import qetag
from tests.emulators.serving import Ask, RunningEmulator

MIB = 1 << 20


@pytest.fixture
def sdk(kodo: RunningEmulator) -> Sdk:
    """The SDK with a bucket of its own."""
    return Sdk(kodo, kodo.make_bucket())


@pytest.fixture
async def store(sdk: Sdk) -> AsyncIterator[KodoStore]:
    """That bucket, without decorators."""
    opened = await opened_store(sdk)
    yield opened
    await opened.aclose()
    sdk.server.knobs.reset()
    sdk.server.emulator.denied.clear()


async def opened_store(sdk: Sdk, **more: Any) -> KodoStore:
    """Open the SDK's bucket, not checked."""
    options = StoreOptions(
        endpoint=sdk.server.endpoint, environment=sdk.server.environment, timeout_s=10, **more
    )
    return await open_kodo(parse_url(f"kodo://{sdk.bucket}"), options)


def asked(sdk: Sdk) -> list[str]:
    """Return the first segments of what was asked since the last time."""
    names = [
        "GET" if ask.host == sdk.domain else ask.target.split("/")[1].partition("?")[0] or "form"
        for ask in sdk.server.knobs.seen
    ]
    sdk.server.knobs.seen.clear()
    return names


async def test_requests_of_each_operation(store: KodoStore, sdk: Sdk) -> None:
    sdk.server.knobs.seen.clear()
    written = await put(store, "a", b"hello", LABELLED)
    assert asked(sdk) == ["form"]
    sink = MemorySink(bytearray(5))
    await store.read_range("a", 0, 5, sink, written.version)
    assert asked(sdk) == ["v2", "GET"]  # The domain is asked for once.
    await store.read_range("a", 0, 5, MemorySink(bytearray(5)))
    assert asked(sdk) == ["stat", "GET"]
    await store.move("a", "b")
    assert asked(sdk) == ["batch"]
    await store.copy("b", "b", attributes=ObjectAttributes({"mode": "1"}))
    assert asked(sdk) == ["chgm"]  # What this store has just moved need not be asked for.
    await store.delete("b")
    assert asked(sdk) == ["delete"]
    await put(store, "b", b"new", precondition=ABSENT)
    assert asked(sdk) == ["form"]
    await put(store, "c", b"new", precondition=ABSENT)
    assert asked(sdk) == ["stat", "form"]


async def test_the_same_bytes_are_not_made_twice(store: KodoStore, sdk: Sdk) -> None:
    """Kodo itself would call the second a success."""
    sdk.put("lock", b"x")
    with pytest.raises(ObjectExists):
        await put(store, "lock", b"x", precondition=ABSENT)
    await put(store, "lock", b"x")


async def test_of_many_that_make_one_wins(store: KodoStore) -> None:
    winners = []

    async def make(number: int) -> None:
        try:
            await put(store, "a", b"%d" % number, precondition=ABSENT)
        except ObjectExists:
            return
        winners.append(b"%d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(make, number)
    assert winners == [await get(store, "a")]


async def test_an_object_made_after_the_look_is_kept(store: KodoStore, sdk: Sdk) -> None:
    with pytest.raises(ObjectNotFound):
        await store.stat("a")
    sdk.put("a", b"theirs")
    with pytest.raises(ObjectExists):
        await put(store, "a", b"ours", precondition=ABSENT)
    assert await get(store, "a") == b"theirs"
    upload = await store.begin_upload("a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"ours"))
    with pytest.raises(ObjectExists):
        await upload.commit([part], ABSENT)
    assert await get(store, "a") == b"theirs"


async def test_a_copy_onto_what_was_made_meanwhile(store: KodoStore, sdk: Sdk) -> None:
    await put(store, "a", b"ours")
    with pytest.raises(ObjectNotFound):
        await store.stat("b")
    sdk.put("b", b"theirs")
    with pytest.raises(ObjectExists):
        await store.copy("a", "b", precondition=ABSENT)
    assert await get(store, "b") == b"theirs"


async def test_metadata_go_away(store: KodoStore, sdk: Sdk) -> None:
    await put(store, "a", b"x", ObjectAttributes({"mode": "1", "xattr": "%7B"}, "text/plain"))
    await store.copy("a", "a", attributes=ObjectAttributes({"mode": "2"}, "text/html"))
    found = await store.stat("a")
    assert found.metadata == {"mode": "2"}
    assert found.content_type == "text/html"
    (answer,) = [sdk.manager.stat(sdk.bucket, "a")[0]]
    assert answer["x-qn-meta"] == {"mode": "2", "xattr": "=x;"}
    await put(store, "a", b"x", ObjectAttributes({"mode": "2"}))
    assert sdk.manager.stat(sdk.bucket, "a")[0]["x-qn-meta"] == {"mode": "2"}


async def test_metadata_of_a_replaced_object_stay(store: KodoStore, sdk: Sdk) -> None:
    await put(store, "a", b"one", LABELLED)
    sdk.put("a", b"two", metadata={"x-qn-meta-a": "b"})
    with pytest.raises(ObjectChanged):
        await store.copy("a", "a", attributes=ObjectAttributes({"mode": "1"}))
    assert (await store.stat("a")).metadata == {"a": "b"}


async def test_a_domain_that_is_behind_is_asked_past_its_memory(store: KodoStore, sdk: Sdk) -> None:
    old, new = b"old bytes", b"new bytes"
    await put(store, "a", new)
    remembered = f'"{qetag(old)}"'

    def spoil(ask: Ask, answer: Answer) -> Answer:
        if ask.host == sdk.domain and ask.parameter("v") is None:
            answer.set_data(old)
            answer.headers["ETag"] = remembered
        return answer

    sdk.server.knobs.spoil = spoil
    assert await get(store, "a", 0, 9, at=qetag(new)) == new  # type: ignore[arg-type]
    assert await get(store, "a", 0, 9) == new
    sink = MemorySink(bytearray(9))
    with pytest.raises(ObjectChanged):
        await store.read_range("a", 0, 9, sink, qetag(old[::-1]))  # type: ignore[arg-type]
    assert sink.received == 0


async def test_a_domain_that_knows_nothing_of_an_object_is_not_believed(
    store: KodoStore, sdk: Sdk
) -> None:
    info = await put(store, "a", b"here")
    sdk.server.knobs.refuse = lambda ask: (
        Answer("not found", 404) if ask.host == sdk.domain else None
    )
    with pytest.raises(Transient, match="another version"):
        await store.read_range("a", 0, 4, MemorySink(bytearray(4)), info.version)
    await store.delete("a")
    with pytest.raises(ObjectNotFound):
        await store.read_range("a", 0, 4, MemorySink(bytearray(4)), info.version)


async def test_what_may_not_be_read(store: KodoStore, sdk: Sdk) -> None:
    info = await put(store, "a", b"x")
    sdk.manager.change_status(sdk.bucket, "a", "1", None)
    with pytest.raises(AccessDenied, match="disabled"):
        await store.read_range("a", 0, 1, MemorySink(bytearray(1)), info.version)
    sdk.manager.change_status(sdk.bucket, "a", "0", None)
    sdk.manager.change_type(sdk.bucket, "a", 2)
    for version in (info.version, None):
        with pytest.raises(ObjectArchived):
            await store.read_range("a", 0, 1, MemorySink(bytearray(1)), version)
    sdk.manager.restore_ar(sdk.bucket, "a", 1)
    assert await get(store, "a") == b"x"


async def test_bytes_that_were_damaged_on_the_way(store: KodoStore, sdk: Sdk) -> None:
    def spoil(ask: Ask, answer: Answer) -> Answer:
        return json_answer(200, {"key": "a", "hash": qetag(b"other")}) if not ask.query else answer

    sdk.server.knobs.spoil = spoil
    with pytest.raises(ConfusedServer, match="other bytes"):
        await put(store, "a", b"x")
    sdk.server.knobs.spoil = None
    upload = await store.begin_upload("a", PLAIN)
    sdk.server.knobs.spoil = lambda ask, answer: json_answer(200, {"etag": "E", "md5": "0" * 32})
    with pytest.raises(Transient, match="other bytes"):
        await upload.add_part(1, BytesBody(b"x"))


async def test_a_commit_whose_answer_was_lost(store: KodoStore) -> None:
    upload = await store.begin_upload("a", PLAIN)
    parts = [
        await upload.add_part(1, BytesBody(bytes(MIB))),
        await upload.add_part(2, BytesBody(b"end")),
    ]
    first = await upload.commit(parts)
    assert await upload.commit(parts) == await store.stat("a")
    assert first.version == (await store.stat("a")).version
    await put(store, "a", b"another")
    with pytest.raises(ObjectNotFound):
        await upload.commit(parts)


async def test_thousands_of_keys_in_a_request(store: KodoStore, sdk: Sdk) -> None:
    await put(store, "a", b"x")
    keys = ["a", *(f"absent-{number}" for number in range(1500)), "\udcff"]
    sdk.server.knobs.seen.clear()
    failures = await store.delete_many(keys)
    assert asked(sdk) == ["batch", "batch"]
    assert list(failures) == ["\udcff"]
    assert isinstance(failures["\udcff"], InvalidKey)
    assert sdk.keys() == []


async def test_a_batch_that_fails_in_parts(store: KodoStore, sdk: Sdk) -> None:
    answers = [{"code": 200}, {"code": 599, "data": {"error": "busy"}}, {"code": 403}]
    sdk.server.knobs.refuse = lambda ask: json_answer(298, answers)
    failures = await store.delete_many(["a", "b", "c"])
    assert {key: type(error) for key, error in failures.items()} == {
        "b": Transient,
        "c": AccessDenied,
    }


async def test_a_move_is_told_even_if_the_look_came_too_late(store: KodoStore, sdk: Sdk) -> None:
    await put(store, "a", b"x", LABELLED)

    def spoil(ask: Ask, answer: Answer) -> Answer:
        if not ask.target.startswith("/batch"):
            return answer
        codes = json.loads(answer.get_data())
        return json_answer(298, [{"code": 612, "data": {"error": "gone"}}, codes[1]])

    sdk.server.knobs.spoil = spoil
    moved = await store.move("a", "b")
    assert (moved.key, moved.metadata) == ("b", LABELLED.metadata)


async def test_storage_class_and_traffic_limit(sdk: Sdk) -> None:
    store = await opened_store(
        sdk, storage_class="infrequent_access", traffic_limit_bytes_s=200_000
    )
    await put(store, "a", b"x")
    upload = await store.begin_upload("b", PLAIN)
    await upload.commit([await upload.add_part(1, BytesBody(b"x"))])
    await store.aclose()
    for key in "ab":
        assert sdk.manager.stat(sdk.bucket, key)[0]["type"] == 1
    policy = sdk.auth.up_token_decode(
        sdk.server.knobs.seen[-3].headers["authorization"].partition(" ")[2]
    )[2]
    assert policy["trafficLimit"] == 1_600_000
    with pytest.raises(ConfigurationError, match="deep-archive"):
        await opened_store(sdk, storage_class="frozen")


async def test_hosts_are_asked_for_and_changed_when_they_fail(sdk: Sdk) -> None:
    place = sdk.server.endpoint.partition("://")[2]
    dead = "127.0.0.1:1"

    def spoil(ask: Ask, answer: Answer) -> Answer:
        if not ask.target.startswith("/v4/query"):
            return answer
        found = json.loads(answer.get_data())
        for service in ("up", "rs", "rsf"):
            found["hosts"][0][service]["domains"] = [dead, place]
        return json_answer(200, found)

    sdk.server.knobs.spoil = spoil
    sdk.server.knobs.seen.clear()
    store = opened_by_query(sdk, uc_hosts=[dead, place])
    failures = 0
    for call in (store.check, lambda: put(store, "a", b"x"), lambda: store.stat("a")):
        while True:
            try:
                await call()
                break
            except Transient:
                failures += 1
    assert failures == 4  # Each service has a dead host first.
    assert asked(sdk).count("v4") == 1
    await store.aclose()
    sdk.server.knobs.reset()


def opened_by_query(sdk: Sdk, **more: Any) -> KodoStore:
    """Open a store that asks the emulator for its hosts."""
    return KodoStore(
        sdk.bucket,
        client=HttpClient(timeout_s=10, connect_timeout_s=2),
        credentials=KodoCredentials(sdk.server.environment),
        scheme="http",
        **more,
    )


async def test_another_region_than_was_said(sdk: Sdk) -> None:
    place = sdk.server.endpoint.partition("://")[2]
    store = opened_by_query(sdk, uc_hosts=[place], region="z2")
    with pytest.raises(ConfigurationError, match="z0"):
        await store.check()
    with pytest.raises(AccessDenied, match="z0"):
        await store.stat("a")
    await store.aclose()


async def test_a_bucket_without_a_domain(store: KodoStore, sdk: Sdk) -> None:
    def domains(*names: str) -> None:
        sdk.server.knobs.refuse = lambda ask: (
            json_answer(200, list(names)) if ask.target.startswith("/v2/domains") else None
        )

    domains(".wildcard.example.com")
    with pytest.raises(ConfigurationError, match="domain="):
        await store.check()
    domains("x.bkt.clouddn.com", sdk.domain)
    await put(store, "a", b"x")
    assert await get(store, "a") == b"x"


async def test_a_bucket_without_a_lasting_domain_is_read_from_its_source(sdk: Sdk) -> None:
    place = sdk.server.endpoint.partition("://")[2]
    bound: list[str] = []

    def refuse(ask: Ask) -> Answer | None:
        if ask.target.startswith("/v2/domains"):
            return json_answer(200, bound)
        if ask.host == place and "e=" in ask.target:  # The place is the source domain, too.
            return Answer(b"hello", headers={"ETag": f'"{qetag(b"hello")}"'})
        return None

    def spoil(ask: Ask, answer: Answer) -> Answer:
        if not ask.target.startswith("/v4/query"):
            return answer
        found = json.loads(answer.get_data())
        found["hosts"][0]["io_src"] = {"domains": [place]}
        return json_answer(200, found)

    sdk.server.knobs.refuse, sdk.server.knobs.spoil = refuse, spoil
    for domains in ([], ["x.bkt.clouddn.com"]):
        bound[:] = domains
        store = opened_by_query(sdk, uc_hosts=[place])
        await store.check()
        await put(store, "a", b"hello")
        assert await get(store, "a") == b"hello"
        await store.aclose()
    sdk.server.knobs.reset()


async def test_any_size_is_copied_in_one_request(store: KodoStore) -> None:
    told = {ability.name: ability for ability in abilities(store.capabilities)}
    assert (told["largest copy"].native, told["part copy"].native) == ("any size", "no")


async def test_refusals_at_the_check(store: KodoStore, sdk: Sdk) -> None:
    sdk.server.emulator.denied.add("list")
    with pytest.raises(AccessDenied):
        await store.check()
    sdk.server.emulator.denied.clear()
    sdk.server.knobs.skew_s = -1200
    with pytest.raises(AccessDenied, match="clock"):
        await store.check()
    sdk.server.knobs.reset()
    sdk.server.knobs.refuse = lambda ask: Answer("<html>portal</html>", 200)
    with pytest.raises(ConfusedServer):
        await store.check()


async def test_what_the_sdk_writes_we_read(store: KodoStore, sdk: Sdk, tmp_path: Path) -> None:
    sdk.put("目录/a b", b"hello", metadata={"x-qn-meta-a": "日本", "x-qn-meta-!Cache-Control": "x"})
    assert await get(store, "目录/a b") == b"hello"
    found = await store.stat("目录/a b")
    assert found.metadata == {"a": "日本", "!cache-control": "x"}
    data = os.urandom(9 * MIB)
    (tmp_path / "file").write_bytes(data)
    sdk.put_file("large", tmp_path / "file", tmp_path)
    assert await get(store, "large") == data


async def test_what_we_write_the_sdk_reads(store: KodoStore, sdk: Sdk) -> None:
    metadata = {"mode": "33188", "xattr": "%7B%22a%22%7D", "name": "日本"}
    await put(store, "目录/a b", b"hello", ObjectAttributes(metadata, "text/plain"))
    answer = sdk.get("目录/a b")
    assert answer.content == b"hello"
    assert answer.headers["X-Qn-Meta-Mode"] == "33188"
    assert answer.headers["Content-Type"] == "text/plain"
    assert sdk.keys() == ["目录/a b"]
    upload = await store.begin_upload("large", ObjectAttributes({"mode": "1"}))
    parts = [
        await upload.add_part(number, BytesBody(bytes([number]) * (5 * MIB))) for number in (1, 2)
    ]
    made = await upload.commit(parts)
    assert sdk.manager.stat(sdk.bucket, "large")[0]["hash"] == made.version
    assert sdk.get("large").content == b"\1" * (5 * MIB) + b"\2" * (5 * MIB)


async def test_a_replaced_version_is_refused_before_anything_is_sent(
    store: KodoStore, sdk: Sdk
) -> None:
    old = await put(store, "a", b"old")
    sdk.put("a", b"theirs")
    await trio.sleep(1.1)  # What this store wrote itself is believed for a second.
    with pytest.raises(ObjectChanged):
        await put(store, "a", b"ours", precondition=Precondition(old.version))
    assert await get(store, "a") == b"theirs"


async def test_keys_that_were_exchanged_are_taken_up(sdk: Sdk, tmp_path: Path) -> None:
    secrets, original = sdk.server.emulator.secrets, dict(sdk.server.emulator.secrets)
    path = tmp_path / "keys"
    count = 0

    def exchange() -> None:
        nonlocal count
        count += 1
        path.write_text(f"access_key = AK{count}\nsecret_key = SK{count}\n")
        path.chmod(0o600)
        secrets.clear()
        secrets[f"AK{count}"] = f"SK{count}"

    exchange()
    store = await opened_store(sdk, credential_file=path)
    try:
        await store.check()
        for size in (10, 5 * MIB):
            exchange()
            await put(store, "a", b"x" * size)
            exchange()
            assert len(await get(store, "a")) == size
            exchange()
            assert [item.key for item in (await store.list_page("")).objects] == ["a"]
            exchange()
            await store.delete("a")
        secrets.clear()
        with pytest.raises(AccessDenied):
            await put(store, "a", b"x")
    finally:
        secrets.clear()
        secrets.update(original)
        await store.aclose()
