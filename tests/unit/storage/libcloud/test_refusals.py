"""What a driver's exceptions hide: absent is what the server calls absent, and nothing else."""

from __future__ import annotations

import socket
import time

import pytest
import trio

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidRequest,
    ObjectChanged,
    ObjectNotFound,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes, Version
from bucketfs.storage.libcloud.opening import open_libcloud
from bucketfs.storage.location import StoreOptions, parse_url
from bucketfs.storage.retrying import Retrying
from tests.unit.storage.libcloud.boxes import ETAG, FOUND, dispatched, listing, s3_box
from tests.unit.transport.scripted import STRANGER, Answer, Heard, raw, reply

PLAIN = ObjectAttributes()


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return reply(status, body, {"x-amz-request-id": "RID", **(headers or {})})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, InvalidRequest), (401, AccessDenied), (403, AccessDenied), (404, ObjectNotFound)),
        *((409, InvalidRequest), (429, Transient), (500, Transient), (502, Transient)),
        *((503, Transient), (504, Transient), (507, QuotaExceeded)),
    ],
)
async def test_a_look_that_is_refused(status: int, kind: type[StorageError]) -> None:
    async with s3_box(dispatched(head=reply(status))) as (store, _):
        with pytest.raises(kind) as caught:
            await store.stat("a")
        assert (caught.value.key, caught.value.operation) == ("a", "stat")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400, "EntityTooLarge"), StorageError),
        (error(404, "NoSuchBucket"), BucketNotFound),
        (error(403, "QuotaExceeded"), QuotaExceeded),
        (error(503, "SlowDown"), Transient),
        (error(412, "PreconditionFailed"), ObjectChanged),
    ],
)
async def test_a_write_that_is_refused(answer: Answer, kind: type[StorageError]) -> None:
    async with s3_box(dispatched(put=answer)) as (store, _):
        with pytest.raises(kind) as caught:
            await store.write("a", BytesBody(b"x"), PLAIN)
        assert caught.value.request_id == "RID"


async def test_a_pause_that_the_server_asks_for() -> None:
    async with s3_box(dispatched(head=reply(503, b"", {"Retry-After": "7"}))) as (store, _):
        with pytest.raises(Transient) as caught:
            await store.stat("a")
        assert (caught.value.retry_after_s, caught.value.throttled) == (7.0, True)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(204, None), (404, None), (200, None), (403, AccessDenied), (500, Transient)],
)
async def test_a_delete(status: int, kind: type[StorageError] | None) -> None:
    async with s3_box(dispatched(delete=reply(status))) as (store, server):
        if kind is None:
            await store.delete("a")
        else:
            with pytest.raises(kind):
                await store.delete("a")
        assert [heard.method for heard in server.heard] == ["HEAD", "DELETE"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(404, "NoSuchBucket"), BucketNotFound),
        (error(403, "AccessDenied"), AccessDenied),
        (error(500, "InternalError"), Transient),
        (reply(200, b"<html><body>proxy</body></html>"), ConfusedServer),
        (reply(200, b"<ListBucketResult><Conte"), ConfusedServer),
        (reply(200, b""), ConfusedServer),
        (reply(200, listing(is_truncated=True)), ConfusedServer),
        (reply(200, listing("b", "a")), ConfusedServer),
        (reply(200, b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'), ConfusedServer),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<List"), Transient),
        (raw(b""), Transient),
    ],
)
async def test_a_listing_that_is_none(answer: Answer, kind: type[StorageError]) -> None:
    async with s3_box(dispatched(list=answer)) as (store, _):
        with pytest.raises(kind):
            await store.list_page("")


async def test_a_container_that_is_not_there() -> None:
    async with s3_box(dispatched(container=reply(404))) as (store, _):
        with pytest.raises(BucketNotFound):
            await store.check()


async def test_a_wrong_region_is_told() -> None:
    answer = reply(301, b"", {"x-amz-bucket-region": "eu-west-1"})
    async with s3_box(dispatched(list=answer)) as (store, _):
        with pytest.raises(ConfigurationError, match="region=eu-west-1"):
            await store.check()


async def test_a_server_that_does_not_answer_in_time() -> None:
    def silent(connection: socket.socket, heard: Heard) -> bool:
        time.sleep(1.5)
        return False

    answers = dispatched(get=silent, head=reply(200, b"x" * 5, FOUND), put=silent)
    async with s3_box(answers, timeout_s=0.3) as (store, _):
        began_s = time.monotonic()
        with pytest.raises(Transient):
            await store.read_range("a", 0, 5, MemorySink(bytearray(5)))
        with pytest.raises(Transient):
            await store.write("a", BytesBody(b"x"), PLAIN)
        assert time.monotonic() - began_s < 1.4


async def test_a_certificate_of_a_stranger_is_not_tried_again() -> None:
    async with s3_box(dispatched(), certificate=STRANGER) as (store, server):
        with pytest.raises(ConfusedServer, match="does REQUESTS_CA_BUNDLE name its authority"):
            await Retrying(store).around("check", None, store.check)
        assert (server.connections, server.heard) == (1, [])


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_an_authority_of_the_environment_holds_for_every_request(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(STRANGER))
    answers = dispatched(
        list=reply(200, listing("a")),
        head=reply(200, b"hello", FOUND),
        get=ranged(b"ell"),
        put=reply(200, b"", FOUND),
    )
    async with s3_box(answers, certificate=STRANGER) as (store, _):
        await store.check()
        await store.write("a", BytesBody(b"hello"), PLAIN)
        sink = MemorySink(bytearray(3))
        await store.read_range("a", 1, 3, sink)
        assert sink.received == 3


@pytest.mark.parametrize("provider", ["s3", "s3_rgw"])
async def test_a_server_that_is_not_there(provider: str) -> None:
    """It may come; what is told of it has no signature, although some are in the URL."""
    environment = {"LIBCLOUD_KEY": "key", "LIBCLOUD_SECRET": "hunter2"}
    options = StoreOptions(endpoint="http://127.0.0.1:1", environment=environment)
    store = await open_libcloud(parse_url(f"libcloud+{provider}://box"), options)
    with pytest.raises(Transient, match="cannot connect") as caught:
        await store.stat("a")
    await store.aclose()
    assert not caught.value.sent
    assert "ignature" not in str(caught.value)
    assert "url" not in str(caught.value)


async def test_an_error_shows_no_secret() -> None:
    async with s3_box(dispatched(head=error(403, "SignatureDoesNotMatch"))) as (store, _):
        with pytest.raises(AccessDenied) as caught:
            await store.stat("a")
    assert "hunter2" not in str(caught.value)


def ranged(body: bytes, etag: str = ETAG, content_range: str = "bytes 1-3/5") -> Answer:
    return reply(206, body, {**FOUND, "ETag": f'"{etag}"', "Content-Range": content_range})


HEAD = reply(200, b"hello", FOUND)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ranged(b"ell", "f" * 32), ObjectChanged),
        (ranged(b"ell", content_range="bytes 0-2/5"), ConfusedServer),
        (ranged(b"el"), Transient),
        (ranged(b"ello"), ConfusedServer),
        (reply(416), ObjectChanged),
        (reply(404), ObjectNotFound),
        (reply(200, b"hello", FOUND), StorageError),
        (error(403, "InvalidObjectState"), StorageError),
    ],
)
async def test_a_range_of_something_else(answer: Answer, kind: type[StorageError]) -> None:
    async with s3_box(dispatched(head=HEAD, get=answer)) as (store, _):
        with pytest.raises(kind):
            await store.read_range("a", 1, 3, MemorySink(bytearray(3)), Version(ETAG))


async def test_ranges_of_a_version_that_was_seen_need_no_look() -> None:
    async with s3_box(dispatched(head=HEAD, get=ranged(b"ell"))) as (store, server):
        for _ in range(3):
            sink = MemorySink(bytearray(3))
            info = await store.read_range("a", 1, 3, sink, Version(ETAG))
            assert (sink.received, info.size) == (3, 5)
        methods = [heard.method for heard in server.heard]
        assert methods == ["HEAD", "HEAD", "GET", "GET", "GET"]  # container, object, ranges


async def test_reads_that_begin_together_look_once() -> None:
    async with s3_box(dispatched(head=HEAD, get=ranged(b"ell"))) as (store, server):
        sinks = [MemorySink(bytearray(3)) for _ in range(6)]
        async with trio.open_nursery() as nursery:
            for sink in sinks:
                nursery.start_soon(store.read_range, "a", 1, 3, sink, Version(ETAG))
        assert [sink.received for sink in sinks] == [3] * 6
        assert sorted(heard.method for heard in server.heard) == [*["GET"] * 6, *["HEAD"] * 2]


async def test_bytes_come_as_they_stand_in_the_bucket() -> None:
    import gzip

    packed = gzip.compress(b"hello")
    headers = {**FOUND, "Content-Encoding": "gzip"}
    answers = dispatched(head=reply(200, packed, headers), get=reply(206, packed, headers))
    async with s3_box(answers) as (store, _):
        buffer = bytearray(len(packed))
        info = await store.read_range("a", 0, len(packed), MemorySink(buffer))
        assert bytes(buffer) == packed
        assert dict(info.metadata or {}) == {":content-encoding": "gzip"}


async def test_an_empty_object_is_sent_with_its_length() -> None:
    answers = dispatched(head=reply(200, b"", FOUND), put=reply(200, b"", FOUND))
    async with s3_box(answers) as (store, server):
        await store.write("a", BytesBody(b""), PLAIN)
        (put,) = [heard for heard in server.heard if heard.method == "PUT"]
        assert put.headers["content-length"] == "0"
        assert "transfer-encoding" not in put.headers


async def test_the_server_can_prove_what_it_gets() -> None:
    answers = dispatched(put=error(400, "BadDigest"))
    async with s3_box(answers) as (store, server):
        with pytest.raises(Transient):
            await store.write("a", BytesBody(b"hello"), PLAIN)
        assert server.heard[-1].headers["content-md5"] == "XUFAKrxLKna5cZ2REBfFkg=="


async def test_keys_in_a_listing_are_utf_8_whatever_its_type_says() -> None:
    for kind in ("application/xml", "text/xml", "text/plain"):
        answer = reply(200, listing("grün", "日本"), {"Content-Type": kind})
        async with s3_box(dispatched(list=answer)) as (store, _):
            page = await store.list_page("")
            assert [info.key for info in page.objects] == ["grün", "日本"]
