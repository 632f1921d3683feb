"""S3Store over real HTTP: ranges, keys, copies, batches, and servers that answer oddly."""

from __future__ import annotations

import hashlib
import socket

import pytest

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.s3.addressing import find_address
from bucketfs.storage.s3.calls import Payload
from bucketfs.storage.s3.store import S3Store
from bucketfs.transport.credentials import Credentials, FixedCredentials
from tests.unit.storage.s3.buckets import DATE, Bucket, error, store_at
from tests.unit.transport.scripted import Answer, Heard, ScriptedServer, reply

HELLO = {"ETag": '"e"', "Last-Modified": DATE}


async def read(
    store: S3Store, start: int, length: int, version: str | None = None, received: int = 0
) -> tuple[bytes, ObjectInfo]:
    sink = MemorySink(bytearray(length))
    sink.received = received
    info = await store.read_range(
        "k", start, length, sink, Version(version) if version is not None else None
    )
    return bytes(sink._view[received : sink.received]), info


async def test_ranges_are_what_was_asked_for() -> None:
    bucket = Bucket({"k": b"0123456789"})
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            assert isinstance(store, ObjectStore)
            version = hashlib.md5(b"0123456789").hexdigest()
            assert (await read(store, 2, 3, version))[0] == b"234"
            assert (await read(store, 2, 6, version, received=4))[0] == b"67"
            data, info = await read(store, 8, 100)
            assert (data, info.size, info.version) == (b"89", 10, version)
            data, info = await read(store, 10, 5, version)
            assert (data, info.size) == (b"", 10)
            with pytest.raises(ObjectChanged):
                await read(store, 10, 5, "other")


@pytest.mark.parametrize("keeps", [True, False])
async def test_no_byte_of_another_version_is_taken(keeps: bool) -> None:
    bucket = Bucket({"k": b"0123456789"}, keeps_get_match=keeps)
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            sink = MemorySink(bytearray(4))
            with pytest.raises(ObjectChanged):
                await store.read_range("k", 0, 4, sink, Version("other"))
            assert sink.received == 0


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        (reply(200, b"0123456789", HELLO), 2),
        (reply(206, b"45", {**HELLO, "Content-Range": "bytes 4-5/10"}), 2),
        (reply(206, b"234", {**HELLO, "Content-Range": "bytes 2-3/10"}), 2),
        (reply(206, b"23", {**HELLO, "Content-Range": "bytes 2-3/*"}), 2),
    ],
)
async def test_another_range_than_was_asked_for_is_refused(answer: Answer, start: int) -> None:
    with ScriptedServer(answer) as server:
        async with store_at(server) as store:
            with pytest.raises(ConfusedServer):
                await read(store, start, 2)


async def test_the_whole_object_for_a_range_from_its_start_is_taken() -> None:
    with ScriptedServer(reply(200, b"0123456789", HELLO)) as server:
        async with store_at(server) as store:
            data, info = await read(store, 0, 4)
    assert (data, info.size) == (b"0123", 10)


@pytest.mark.parametrize("key", ["", "x" * 1025, "ä" * 513])
async def test_a_key_of_an_impossible_length_is_not_sent(key: str) -> None:
    with ScriptedServer(reply(200)) as server:
        async with store_at(server) as store:
            with pytest.raises(InvalidKey):
                await store.stat(key)
        assert not server.heard


async def test_keys_are_sent_as_they_are() -> None:
    with ScriptedServer(reply(404)) as server:
        async with store_at(server) as store:
            with pytest.raises(ObjectNotFound):
                await store.stat("../a//b c+%/ä\udcff/.")
        assert server.heard[0].target == "/b/../a//b%20c%2B%25/%C3%A4%FF/."


async def test_what_is_written_is_described() -> None:
    with ScriptedServer(Bucket().answer) as server:
        async with store_at(server) as store:
            attributes = ObjectAttributes({"mode": "33188"}, "text/plain")
            info = await store.write("k", BytesBody(b"hello"), attributes)
        sent = server.heard[0]
    assert info.version == hashlib.md5(b"hello").hexdigest()
    assert (info.size, info.modified_ns) == (5, 1_700_000_000 * 10**9)
    assert sent.headers["x-amz-meta-mode"] == "33188"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [("signed", hashlib.sha256(b"hello").hexdigest()), ("auto", "UNSIGNED-PAYLOAD")],
)
async def test_a_body_is_signed_where_asked_and_on_this_machine_not_by_default(
    payload: Payload, expected: str
) -> None:
    with ScriptedServer(Bucket().answer) as server:
        async with store_at(server, payload=payload) as store:
            await store.write("k", BytesBody(b"hello"), ObjectAttributes())
        assert server.heard[0].headers["x-amz-content-sha256"] == expected


@pytest.mark.parametrize(
    ("endpoint", "is_safe"),
    [
        ("https://s3.example.org", True),
        ("http://s3.example.org", False),
        ("http://10.0.0.1:9000", False),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True),
        ("http://localhost", True),
        ("http://localhost.example.org", False),
    ],
)
def test_where_bodies_could_be_changed_on_the_way(endpoint: str, is_safe: bool) -> None:
    assert find_address("b", endpoint, "r", "path").is_safe_way is is_safe


COPIED = b'<CopyObjectResult><ETag>"c"</ETag></CopyObjectResult>'


async def test_a_copy_demands_the_version_that_it_was_asked_for() -> None:
    found = reply(200, b"", {**HELLO, "Content-Length": "5"})
    copied = reply(200, b"", {"ETag": '"c"', "Content-Length": "5"})
    with ScriptedServer(found, reply(200, COPIED), copied) as server:
        async with store_at(server) as store:
            info = await store.copy("a ä", "t", source_version=Version("e"))
        sent = server.heard[1].headers
    assert (info.key, info.version, info.size) == ("t", "c", 5)
    assert sent["x-amz-copy-source"] == "b/a%20%C3%A4"
    assert sent["x-amz-copy-source-if-match"] == '"e"'
    assert sent["x-amz-metadata-directive"] == "COPY"


async def test_an_error_inside_of_an_answer_of_status_200_is_one() -> None:
    found = reply(200, b"", {**HELLO, "Content-Length": "5"})
    with ScriptedServer(found, error(200, "InternalError")) as server:
        async with store_at(server) as store:
            with pytest.raises(Transient):
                await store.copy("a", "t")


STARTED = reply(
    200,
    b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>",
)


async def test_a_commit_may_fail_inside_of_its_answer() -> None:
    with ScriptedServer(STARTED, error(200, "InternalError")) as server:
        async with store_at(server) as store:
            upload = await store.begin_upload("k", ObjectAttributes())
            with pytest.raises(Transient):
                await upload.commit([Part(1, "00", 5)])


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_commit_whose_answer_was_lost_is_known_by_its_etag(is_ours: bool) -> None:
    tags = [hashlib.md5(data).digest() for data in (b"a", b"b")]
    etag = f"{hashlib.md5(b''.join(tags)).hexdigest()}-2" if is_ours else "other"
    found = reply(200, b"", {"ETag": f'"{etag}"', "Content-Length": "10"})
    with ScriptedServer(STARTED, error(404, "NoSuchUpload"), found) as server:
        async with store_at(server) as store:
            upload = await store.begin_upload("k", ObjectAttributes())
            parts = [Part(number, tag.hex(), 5) for number, tag in enumerate(tags, 1)]
            if is_ours:
                assert (await upload.commit(parts)).version == etag
            else:
                with pytest.raises(ObjectNotFound):
                    await upload.commit(parts)


async def test_a_server_that_takes_a_copied_part_for_an_empty_one_cannot_copy_parts() -> None:
    found = reply(200, b"", {**HELLO, "Content-Length": "5"})
    with ScriptedServer(STARTED, found, reply(200, b"", {"ETag": '"x"'})) as server:
        async with store_at(server) as store:
            assert store.capabilities.part_copy
            upload = await store.begin_upload("k", ObjectAttributes())
            with pytest.raises(NotSupported):
                await upload.copy_part(1, "s", 0, 5, Version("e"))
            assert not store.capabilities.part_copy


async def test_a_source_that_is_replaced_between_its_parts_and_the_commit_is_noticed() -> None:
    first = reply(200, b"", {**HELLO, "Content-Length": "5"})
    part = reply(200, b'<CopyPartResult><ETag>"p"</ETag></CopyPartResult>')
    second = reply(200, b"", {"ETag": '"new"', "Content-Length": "5"})
    with ScriptedServer(STARTED, first, part, second) as server:
        async with store_at(server) as store:
            upload = await store.begin_upload("k", ObjectAttributes())
            copied = await upload.copy_part(1, "s", 0, 5, Version("e"))
            with pytest.raises(ObjectChanged):
                await upload.commit([copied])
        assert server.heard[-1].method == "HEAD"


async def test_many_keys_go_in_one_request_and_those_that_xml_cannot_carry_by_themselves() -> None:
    with ScriptedServer(reply(200, b"<DeleteResult/>"), reply(204)) as server:
        async with store_at(server) as store:
            assert await store.delete_many(["a", "b&c", "d\n"]) == {}
        batch, single = server.heard
    assert (batch.method, batch.target) == ("POST", "/b?delete")
    assert b"<Key>b&amp;c</Key>" in batch.body
    assert (single.method, single.target) == ("DELETE", "/b/d%0A")


async def test_without_batches_keys_go_one_by_one_and_each_error_is_told() -> None:
    with ScriptedServer(
        error(501, "NotImplemented"), error(403, "AccessDenied"), reply(204)
    ) as server:
        async with store_at(server) as store:
            failures = await store.delete_many(["a", "b"])
            assert await store.delete_many(["c", "d"]) == {}
        assert [heard.method for heard in server.heard] == ["POST"] + ["DELETE"] * 4
    assert [type(exc) for exc in failures.values()] == [AccessDenied]


async def test_a_batch_that_cannot_be_sent_fails_for_each_key() -> None:
    with ScriptedServer(error(503, "SlowDown")) as server:
        async with store_at(server) as store:
            failures = await store.delete_many(["a", "b"])
    assert {key: type(exc) for key, exc in failures.items()} == {"a": Transient, "b": Transient}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(404, "NoSuchBucket"), BucketNotFound),
        (error(403, "SignatureDoesNotMatch"), AccessDenied),
        (error(301, "PermanentRedirect", {"x-amz-bucket-region": "eu"}), ConfigurationError),
        (reply(200, b"<html/>"), ConfusedServer),
    ],
)
async def test_a_check_tells_what_is_wrong(answer: Answer, kind: type[Exception]) -> None:
    with ScriptedServer(answer) as server:
        async with store_at(server) as store:
            with pytest.raises(kind):
                await store.check("p/")
        assert "prefix=p%2F" in server.heard[0].target


async def test_a_wrong_region_after_the_check_is_a_storage_error() -> None:
    with ScriptedServer(error(301, "X", {"x-amz-bucket-region": "eu"})) as server:
        async with store_at(server) as store:
            with pytest.raises(AccessDenied, match="region=eu"):
                await store.list_page("")


class Renewing:
    """Credentials of which the first have expired."""

    def __init__(self) -> None:
        self.given = [Credentials("OLD", "s"), Credentials("NEW", "s")]

    async def get(self) -> Credentials:
        return self.given[0]

    async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
        assert is_certain
        if len(self.given) == 1:
            return None
        del self.given[0]
        return self.given[0]


async def test_expired_credentials_are_renewed_once() -> None:
    with ScriptedServer(
        error(400, "ExpiredToken"), reply(204), error(400, "ExpiredToken")
    ) as server:
        async with store_at(server, Renewing()) as store:
            await store.delete("k")
            with pytest.raises(AccessDenied):
                await store.delete("k")
        used = [heard.headers["authorization"].split("/")[0][-3:] for heard in server.heard]
    assert used == ["OLD", "NEW", "NEW"]


async def test_a_head_that_is_refused_is_asked_why() -> None:
    with ScriptedServer(reply(400), error(400, "ExpiredToken"), reply(200)) as server:
        async with store_at(server, Renewing()) as store:
            await store.stat("k")
        assert [heard.method for heard in server.heard] == ["HEAD", "GET", "HEAD"]
        assert server.heard[1].headers["range"] == "bytes=0-0"
        assert [heard.headers["authorization"].split("/")[0][-3:] for heard in server.heard] == [
            *("OLD", "OLD", "NEW")
        ]


async def test_a_forbidden_object_is_not_asked_about_again_and_again() -> None:
    with ScriptedServer(reply(403), error(403, "AccessDenied"), reply(403)) as server:
        source = FixedCredentials(Credentials("A", "s"))
        async with store_at(server, source) as store:
            for _ in range(3):
                with pytest.raises(AccessDenied):
                    await store.stat("k")
        assert [heard.method for heard in server.heard] == ["HEAD", "GET", "HEAD", "HEAD"]


@pytest.mark.parametrize(
    ("endpoint", "addressing", "origin", "host", "base"),
    [
        (None, "auto", "https://b.s3.eu-x.amazonaws.com", "b.s3.eu-x.amazonaws.com", ""),
        (None, "path", "https://s3.eu-x.amazonaws.com", "s3.eu-x.amazonaws.com", "/b"),
        ("http://h:9000", "auto", "http://h:9000", "h:9000", "/b"),
        ("http://h:9000", "virtual", "http://b.h:9000", "b.h:9000", ""),
        ("https://h:443/x/", "auto", "https://h:443", "h", "/x/b"),
        ("h.example", "auto", "https://h.example", "h.example", "/b"),
    ],
)
def test_addresses(
    endpoint: str | None, addressing: str, origin: str, host: str, base: str
) -> None:
    address = find_address("b", endpoint, "eu-x", addressing)  # type: ignore[arg-type]
    assert (address.origin, address.host, address.base_path) == (origin, host, base)
    assert address.path("a/ä") == f"{base}/a/%C3%A4"


@pytest.mark.parametrize("endpoint", ["ftp://h", "http://", "http://u:p@h", "http://h/?q"])
def test_an_endpoint_that_is_none_is_refused_without_showing_its_password(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_address("b", endpoint, "r", "auto")
    assert ":p@" not in str(caught.value)


def test_a_bucket_with_dots_has_no_certificate_as_a_host() -> None:
    assert find_address("a.b", None, "eu", "auto").base_path == "/a.b"


async def test_a_server_that_shows_no_types_is_never_asked_to_append() -> None:
    bucket = Bucket({"k": b"0123456789"})
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            assert not (await store.stat("k")).is_appendable
            assert not store.capabilities.append
            for position in (0, 10):
                with pytest.raises(NotSupported):
                    await store.append("k", position, BytesBody(b"x"))
    assert bucket.objects == {"k": b"0123456789"}
    assert "PUT" not in bucket.asked


async def test_an_append_goes_to_a_server_that_shows_types() -> None:
    targets: list[str] = []

    def serve(connection: socket.socket, heard: Heard) -> bool:
        targets.append(f"{heard.method} {heard.target}")
        shown = {**HELLO, "x-rgw-object-type": "Appendable", "x-amz-meta-mode": "33188"}
        if heard.method == "PUT":
            assert heard.headers["x-amz-meta-mode"] == "33188"
            return reply(200, b"", {"ETag": '"other"', "x-rgw-next-append-position": "6"})(
                connection, heard
            )
        return reply(200, b"onetwo", shown)(connection, heard)

    with ScriptedServer(serve) as server:
        async with store_at(server) as store:
            assert (await store.stat("k")).is_appendable
            assert store.capabilities.append
            info = await store.append("k", 3, BytesBody(b"two"))
            assert (info.version, info.size, info.is_appendable) == ("e", 6, True)
    asked = ["HEAD /b/k", "HEAD /b/k", "PUT /b/k?append&position=3", "HEAD /b/k"]
    assert targets == asked


async def test_a_mount_learns_from_the_first_object_whether_a_server_appends() -> None:
    def serve(connection: socket.socket, heard: Heard) -> bool:
        if heard.method == "HEAD":
            shown = {**HELLO, "x-rgw-object-type": "Normal"}
            return reply(200, b"x", shown)(connection, heard)
        listed = (
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key>"
            '<Size>1</Size><ETag>"e"</ETag><LastModified>2023-11-14T22:13:20.000Z</LastModified>'
            "</Contents></ListBucketResult>"
        )
        return reply(200, listed.encode())(connection, heard)

    with ScriptedServer(serve) as server:
        async with store_at(server) as store:
            await store.check()
            assert store.capabilities.append


async def test_what_arrived_as_other_bytes_is_sent_again() -> None:
    bucket = Bucket(garbles=1)
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            info = await store.write("k", BytesBody(b"hello"), ObjectAttributes(), ABSENT)
            assert bucket.objects["k"] == b"hello"
            bucket.garbles = 1
            await store.write(
                "k", BytesBody(b"again"), ObjectAttributes(), Precondition(info.version)
            )
            assert bucket.objects["k"] == b"again"


async def test_what_never_arrives_is_an_error() -> None:
    bucket = Bucket()
    with ScriptedServer(bucket.answer) as server:
        async with store_at(server) as store:
            await store.write("k", BytesBody(b"hello"), ObjectAttributes())
            bucket.garbles = 99
            with pytest.raises(ConfusedServer, match="other bytes"):
                await store.write("k", BytesBody(b"hello"), ObjectAttributes())
