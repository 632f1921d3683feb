"""What no cloud ever says: pages of proxies, torn documents, bombs. Never "absent", never "empty".

Every dialect is asked through a server that gives one answer to everything.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    ObjectNotFound,
    StorageError,
    Transient,
)
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes, ObjectStore
from bucketfs.storage.location import StoreOptions, parse_url
from bucketfs.storage.opening import opener_of
from tests.unit.transport.scripted import Answer, ScriptedServer, reply

URLS = {
    "s3": "s3://bucket",
    "cos": "cos://bucket-1250000000",
    "bos": "bos://bucket",
    "kodo": "kodo://bucket",
}
KEYS = {
    **{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2secret"},
    **{"COS_SECRET_ID": "key", "COS_SECRET_KEY": "hunter2secret", "COS_REGION": "ap-beijing"},
    **{"BCE_ACCESS_KEY_ID": "key", "BCE_SECRET_ACCESS_KEY": "hunter2secret"},
    **{"QINIU_ACCESS_KEY": "key", "QINIU_SECRET_KEY": "hunter2secret"},
    **{"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"},
}
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title><p>Welcome to the Hotel</html>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9)
    )
    + b"]><ListBucketResult><Name>&j;</Name></ListBucketResult>"
)
DEEP = b"[" * 200_000

Ask = Callable[[ObjectStore], Awaitable[object]]


async def read(store: ObjectStore) -> bytes:
    buffer = bytearray(4)
    sink = MemorySink(buffer)
    await store.read_range("a", 0, 4, sink)
    return bytes(buffer[: sink.received])


ASKS: dict[str, Ask] = {
    "list": lambda store: store.list_page(""),
    "stat": lambda store: store.stat("a"),
    "read": read,
    "write": lambda store: store.write("a", BytesBody(b"data"), ObjectAttributes()),
    "begin": lambda store: store.begin_upload("a", ObjectAttributes()),
    "copy": lambda store: store.copy("a", "b"),
    "delete": lambda store: store.delete("a"),
}
DOCUMENTS = ("list", "begin")
"""Operations whose answer is a document in every dialect."""

each_dialect = pytest.mark.parametrize("scheme", URLS)


@asynccontextmanager
async def answering(scheme: str, *script: Answer) -> AsyncIterator[ObjectStore]:
    """Open a bucket of the dialect at a server that answers so."""
    with ScriptedServer(*script) as server:
        options = StoreOptions(endpoint=server.origin, environment=KEYS, timeout_s=5)
        store = await opener_of(scheme)(parse_url(URLS[scheme]), options)
        try:
            yield store
        finally:
            await store.aclose()


async def refused(store: ObjectStore, ask: Ask) -> StorageError:
    """Return the error of an operation, which has one without a secret in it."""
    with pytest.raises((StorageError, ConfigurationError)) as caught:
        await ask(store)
    assert "hunter2secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    if isinstance(caught.value, ConfigurationError):
        return StorageError(str(caught.value))
    assert isinstance(caught.value, StorageError)
    return caught.value


@each_dialect
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_page_instead_of_an_answer(scheme: str, name: str) -> None:
    answer = reply(200, HTML, {"Content-Type": "text/html"})
    async with answering(scheme, answer) as store:
        assert isinstance(await refused(store, ASKS[name]), ConfusedServer)


@each_dialect
@pytest.mark.parametrize("name", [name for name in ASKS if name != "delete"])
async def test_absent_is_said_by_the_cloud_itself(scheme: str, name: str) -> None:
    """A gateway that does not know the way says 404 as well."""
    async with answering(scheme, reply(404, HTML, {"Content-Type": "text/html"})) as store:
        assert not isinstance(await refused(store, ASKS[name]), ObjectNotFound | BucketNotFound)


@each_dialect
async def test_a_delete_that_a_gateway_answered_is_not_done(scheme: str) -> None:
    async with answering(scheme, reply(404, HTML, {"Content-Type": "text/html"})) as store:
        await refused(store, ASKS["delete"])


@each_dialect
@pytest.mark.parametrize("status", [403, 407])
async def test_a_gateway_that_lets_nobody_through(scheme: str, status: int) -> None:
    async with answering(scheme, reply(status, HTML)) as store:
        error = await refused(store, ASKS["list"])
        assert not isinstance(error, Transient | ObjectNotFound | BucketNotFound)
        assert str(status) in str(error)


@each_dialect
@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("name", ASKS)
async def test_a_gateway_that_is_ill_may_recover(scheme: str, status: int, name: str) -> None:
    async with answering(scheme, reply(status, HTML)) as store:
        assert isinstance(await refused(store, ASKS[name]), Transient)


@each_dialect
@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("name", ["list", "stat", "write"])
async def test_a_redirect_is_not_followed(scheme: str, status: int, name: str) -> None:
    """Neither to a log-in page nor, with a signature, to a stranger."""
    answer = reply(status, b"", {"Location": "https://elsewhere.example.com/"})
    async with answering(scheme, answer) as store:
        error = await refused(store, ASKS[name])
        assert not isinstance(error, Transient | ObjectNotFound | BucketNotFound)


@each_dialect
@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        DEEP,
        b"",
        b"\xff\xfe\x00",
        b"<ListBucketResult><Contents><Key>a</Key>",
        b'{"items": [{',
    ],
    ids=["bomb", "deep", "empty", "binary", "torn-xml", "torn-json"],
)
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_documents_that_are_none(scheme: str, body: bytes, name: str) -> None:
    headers = {"x-cos-request-id": "1", "x-bce-request-id": "1", "X-Reqid": "1"}
    async with answering(scheme, reply(200, body, headers)) as store:
        assert isinstance(await refused(store, ASKS[name]), ConfusedServer)


@each_dialect
@pytest.mark.parametrize(
    "document",
    [{}, [], {"items": {}}, {"items": [{"key": 1}]}, {"contents": [{}]}, {"items": [{}]}, 7],
    ids=str,
)
async def test_documents_of_another_shape(scheme: str, document: object) -> None:
    headers = {"x-cos-request-id": "1", "x-bce-request-id": "1", "X-Reqid": "1"}
    body = json.dumps(document).encode()
    async with answering(scheme, reply(200, body, headers)) as store:
        assert isinstance(await refused(store, ASKS["list"]), ConfusedServer)


@each_dialect
async def test_torn_refusals_still_refuse(scheme: str) -> None:
    headers = {"x-cos-request-id": "1", "x-bce-request-id": "1", "X-Reqid": "1"}
    for body in (b"<Error><Code>AccessDe", b'{"code": "Acc', BOMB, DEEP):
        async with answering(scheme, reply(403, body, headers)) as store:
            assert isinstance(await refused(store, ASKS["list"]), AccessDenied)
