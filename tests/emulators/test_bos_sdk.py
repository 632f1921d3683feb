"""The emulated BOS against Baidu's own SDK, which nobody here wrote: each call, and its result."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.bce_client_configuration import BceClientConfiguration
from baidubce.exception import BceHttpClientError
from baidubce.http import http_methods
from baidubce.retry.retry_policy import NoRetryPolicy
from baidubce.services.bos.bos_client import BosClient, UploadTaskHandle

from bucketfs.storage.bos.links import Symlink
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.opening import StoreOptions, open_store
from tests.contract.asking import get, put, walk
from tests.emulators.bos.cloud import ACCESS_KEY, SECRET_KEY
from tests.emulators.plugin import running
from tests.emulators.serving import RunningEmulator
from tests.unit.transport.scripted import ScriptedServer, reply

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[RunningEmulator]:
    """A cloud of this module's own: its clock and tokens are turned here."""
    with running("bos") as started:
        yield started


def client_of(server: RunningEmulator, secret: str = SECRET_KEY, token: str | None = None) -> Any:
    return BosClient(
        BceClientConfiguration(
            credentials=BceCredentials(ACCESS_KEY, secret),
            endpoint=server.endpoint,
            security_token=token,
            retry_policy=NoRetryPolicy(),
        )
    )


@pytest.fixture
def client(server: RunningEmulator) -> Iterator[Any]:
    """The SDK's client with the right keys."""
    yield client_of(server)
    server.knobs.reset()


@pytest.fixture
def bucket(server: RunningEmulator) -> str:
    """A fresh bucket."""
    return server.make_bucket()


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[int | None, str | None]:
    """Return status and code of the error that a call raises."""
    with pytest.raises(BceHttpClientError) as caught:
        call(*arguments, **named)
    error = caught.value.last_error
    return getattr(error, "status_code", None), getattr(error, "code", None)


def test_buckets(client: Any) -> None:
    client.create_bucket("made-here")
    assert refused(client.create_bucket, "made-here") == (409, "BucketAlreadyExists")
    assert client.does_bucket_exist("made-here")
    assert not client.does_bucket_exist("made-nowhere")
    assert "made-here" in [found.name for found in client.list_buckets().buckets]
    assert client.get_bucket_location("made-here") == "bj"
    client.put_object_from_string("made-here", "k", "x")
    assert refused(client.delete_bucket, "made-here") == (409, "BucketNotEmpty")
    client.delete_object("made-here", "k")
    client.delete_bucket("made-here")
    assert not client.does_bucket_exist("made-here")


@pytest.mark.parametrize("key", ["a b", "目录/文件", "x+y&z=1", "p//q", "d/", "100%"])
def test_keys_and_metadata(client: Any, bucket: str, key: str) -> None:
    client.put_object_from_string(bucket, key, "hello", user_metadata={"Name": "v v"})
    assert client.get_object_as_string(bucket, key) == b"hello"
    found = client.get_object_meta_data(bucket, key).metadata
    assert found.etag == hashlib.md5(b"hello").hexdigest()
    assert found.content_length == "5"
    assert found.bce_meta_name == "v v"
    assert [item.key for item in client.list_all_objects(bucket)] == [key]


def test_checksums_of_what_is_put(client: Any, bucket: str) -> None:
    def put_with(**checksum: Any) -> Any:
        return client.put_object_from_string(bucket, "k", "hello", **checksum)

    wrong_md5 = base64.b64encode(b"0" * 16).decode()
    assert refused(put_with, content_md5=wrong_md5) == (400, "BadDigest")
    assert refused(put_with, content_sha256="0" * 64) == (400, "BadDigest")
    assert refused(put_with, content_crc32="1") == (400, "BadDigest")
    assert refused(put_with, content_crc64ecma="1") == (400, "BadDigest")
    put_with(content_sha256=hashlib.sha256(b"hello").hexdigest())
    put_with(content_crc64ecma="11177612005948864433")
    answer = put_with(content_crc32=str(zlib.crc32(b"hello")))
    assert answer.metadata.bce_content_crc_32 == "907060870"


def test_reads(client: Any, bucket: str, tmp_path: Path) -> None:
    client.put_object_from_string(bucket, "k", "hello", content_type="text/plain")
    assert client.get_object_as_string(bucket, "k", range=[1, 3]) == b"ell"
    assert client.get_object_as_string(bucket, "k", range=[3, 99]) == b"lo"
    client.get_object_to_file(bucket, "k", str(tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == b"hello"
    assert refused(client.get_object_as_string, bucket, "k", range=[5, 6]) == (416, "InvalidRange")
    assert refused(client.get_object_as_string, bucket, "absent") == (404, "NoSuchKey")
    assert refused(client.get_object_meta_data, bucket, "absent")[0] == 404
    etag = hashlib.md5(b"hello").hexdigest()
    wrong, right = {"If-Match": "0" * 32}, {"If-None-Match": etag}
    assert refused(client.get_object, bucket, "k", cond_read_write=wrong)[0] == 412
    assert refused(client.get_object, bucket, "k", cond_read_write=right)[0] == 304


def test_listings(client: Any, bucket: str) -> None:
    assert list(client.list_all_objects(bucket)) == []
    names = [f"d/{number:04}" for number in range(1001)]
    for name in (*names, "e/f/g", "e/f/h", "z"):
        client.put_object_from_string(bucket, name, "")
    assert [item.key for item in client.list_all_objects(bucket, prefix="d/")] == names
    page = client.list_objects(bucket, delimiter="/", max_keys=2)
    assert [item.prefix for item in page.common_prefixes] == ["d/", "e/"]
    assert page.is_truncated
    page = client.list_objects(bucket, delimiter="/", max_keys=2, marker=page.next_marker)
    assert [item.key for item in page.contents] == ["z"]
    assert not page.is_truncated
    assert refused(client.list_objects, bucket, max_keys=1001) == (400, "InvalidArgument")


def test_appends_row_by_row(client: Any, bucket: str) -> None:
    append = client.append_object_from_string
    assert append(bucket, "a", "one").metadata.bce_next_append_offset == "3"
    assert append(bucket, "a", "two", offset=3).metadata.bce_next_append_offset == "6"
    assert client.get_object_as_string(bucket, "a") == b"onetwo"
    assert refused(append, bucket, "a", "x", offset=3) == (409, "OffsetIncorrect")
    append(bucket, "a", "new")
    assert client.get_object_as_string(bucket, "a") == b"new"
    append(bucket, "b", "zero", offset=0)
    assert refused(append, bucket, "absent", "x", offset=5) == (404, "NoSuchKey")
    client.put_object_from_string(bucket, "n", "normal")
    assert refused(append, bucket, "n", "x", offset=6) == (403, "ObjectUnappendable")
    append(bucket, "n", "appendable")
    assert client.get_object_meta_data(bucket, "n").metadata.bce_object_type == "Appendable"
    assert refused(client.copy_object, bucket, "a", bucket, "c") == (400, "NotAllowCopy")
    client.copy_object(bucket, "a", bucket, "a", user_metadata={"x": "y"})
    assert client.get_object_meta_data(bucket, "a").metadata.bce_object_type == "Appendable"
    client.put_object_from_string(bucket, "a", "over")
    assert client.get_object_meta_data(bucket, "a").metadata.bce_object_type == "Normal"


def test_multipart(client: Any, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 5 * MIB + b"b" * 1024)
    client.put_object_from_string(bucket, "source", "0123456789")
    upload = client.initiate_multipart_upload(bucket, "k").upload_id
    send = client.upload_part_from_file
    parts = [
        send(bucket, "k", upload, 1, 5 * MIB, str(path), 0),
        send(bucket, "k", upload, 2, 1024, str(path), 5 * MIB),
    ]
    named = [
        {"partNumber": place, "eTag": part.metadata.etag} for place, part in enumerate(parts, 1)
    ]
    assert client.list_parts(bucket, "k", upload, max_parts=1).is_truncated
    assert [part.size for part in client.list_all_parts(bucket, "k", upload)] == [5 * MIB, 1024]
    uploads = client.list_all_multipart_uploads(bucket)
    assert [found.upload_id for found in uploads] == [upload]
    complete = client.complete_multipart_upload
    assert refused(complete, bucket, "k", upload, named[::-1]) == (400, "InvalidPartOrder")
    wrong = [{"partNumber": 1, "eTag": "0" * 32}]
    assert refused(complete, bucket, "k", upload, wrong) == (400, "InvalidPart")
    made = complete(bucket, "k", upload, named)
    assert made.etag == "-cfd2c35e44ba27d3c437a2866b025b6a"
    assert refused(complete, bucket, "k", upload, named) == (404, "NoSuchUpload")
    assert client.get_object_as_string(bucket, "k") == path.read_bytes()


def test_parts_that_are_copied_or_too_small(client: Any, bucket: str) -> None:
    client.put_object_from_string(bucket, "source", "0123456789" * 20_000)
    upload = client.initiate_multipart_upload(bucket, "k").upload_id
    copy = client.upload_part_copy
    first = copy(bucket, "source", bucket, "k", upload, 1, 150_000, 0)
    second = copy(bucket, "source", bucket, "k", upload, 2, 10, 5)
    named = [{"partNumber": 1, "eTag": first.etag}, {"partNumber": 2, "eTag": second.etag}]
    third = copy(bucket, "source", bucket, "k", upload, 3, 10, 5)
    small = [*named, {"partNumber": 3, "eTag": third.etag}]
    complete = client.complete_multipart_upload
    assert refused(complete, bucket, "k", upload, small) == (400, "EntityTooSmall")
    complete(bucket, "k", upload, named)
    assert client.get_object_as_string(bucket, "k") == b"0123456789" * 15_000 + b"5678901234"
    upload = client.initiate_multipart_upload(bucket, "k").upload_id
    client.abort_multipart_upload(bucket, "k", upload)
    assert refused(client.abort_multipart_upload, bucket, "k", upload) == (404, "NoSuchUpload")
    assert list(client.list_all_multipart_uploads(bucket)) == []


def test_a_large_file_by_threads(client: Any, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(os.urandom(12 * MIB))
    assert client.put_super_object_from_file(bucket, "k", str(path), chunk_size=5, thread_num=3)
    assert client.get_object_as_string(bucket, "k") == path.read_bytes()
    found = client.get_object_meta_data(bucket, "k").metadata
    assert found.bce_content_crc_32 == str(zlib.crc32(path.read_bytes()))
    handle = UploadTaskHandle()
    handle.cancel()
    send = client.put_super_object_from_file
    assert not send(bucket, "other", str(path), thread_num=2, uploadTaskHandle=handle)
    assert list(client.list_all_multipart_uploads(bucket)) == []


def test_copies(client: Any, bucket: str) -> None:
    client.put_object_from_string(bucket, "a b", "hello", user_metadata={"x": "1"})
    etag = client.copy_object(bucket, "a b", bucket, "b").etag
    assert etag == hashlib.md5(b"hello").hexdigest()
    assert client.get_object_meta_data(bucket, "b").metadata.bce_meta_x == "1"
    client.copy_object(bucket, "a b", bucket, "b", user_metadata={"y": "2"})
    found = client.get_object_meta_data(bucket, "b").metadata
    assert (found.bce_meta_x, found.bce_meta_y) == (None, "2")
    wrong = "0" * 32
    assert refused(client.copy_object, bucket, "b", bucket, "c", etag=wrong)[0] == 412
    client.copy_object(bucket, "b", bucket, "c", etag=etag, storage_class="STANDARD_IA")
    assert client.get_object_meta_data(bucket, "c").metadata.bce_storage_class == "STANDARD_IA"


def test_deletes(client: Any, bucket: str) -> None:
    for key in ("a", "b"):
        client.put_object_from_string(bucket, key, "x")
    assert refused(client.delete_object, bucket, "absent") == (404, "NoSuchKey")
    answer = client.delete_multiple_objects(bucket, ["a", "absent"])
    assert [(error.key, error.code) for error in answer.errors] == [("absent", "NoSuchKey")]
    client.delete_multiple_objects(bucket, ["b"])
    assert list(client.list_all_objects(bucket)) == []


def test_settings_of_buckets(client: Any, bucket: str) -> None:
    assert refused(client.get_bucket_lifecycle, bucket) == (404, "NoLifecycleConfiguration")
    rule = {"id": "r1", "status": "enabled", "resource": [f"{bucket}/cold/*"]}
    client.put_bucket_lifecycle(bucket, [rule])
    assert client.get_bucket_lifecycle(bucket).rule[0].id == "r1"
    assert refused(client.get_bucket_cors, bucket) == (404, "NoSuchCORSConfiguration")
    client.put_bucket_cors(bucket, [{"allowedOrigins": ["*"], "allowedMethods": ["GET"]}])
    assert client.get_bucket_cors(bucket).cors_configuration[0].allowed_origins == ["*"]
    client.delete_bucket_cors(bucket)
    client.set_bucket_storage_class(bucket, "STANDARD_IA")
    assert client.get_bucket_storage_class(bucket).storage_class == "STANDARD_IA"
    grant = [{"grantee": [{"id": "*"}], "permission": ["READ"]}]
    client.set_bucket_acl(bucket, grant)
    assert client.get_bucket_acl(bucket).access_control_list[0].permission == ["READ"]


def test_settings_of_objects(client: Any, bucket: str) -> None:
    client.put_object_from_string(bucket, "k", "x")
    client.put_object_tagging(bucket, "k", {"tagSet": [{"tagInfo": {"k1": "v1"}}]})
    assert client.get_object_tagging(bucket, "k").tag_set[0].tag_info.k1 == "v1"
    client.put_object_tagging_canned(bucket, "k", b"k2=v2")
    assert client.get_object_tagging(bucket, "k").tag_set[0].tag_info.k2 == "v2"
    client.delete_object_tagging(bucket, "k")
    grant = [{"grantee": [{"id": "*"}], "permission": ["READ"]}]
    client.set_object_acl(bucket, "k", grant)
    assert client.get_object_acl(bucket, "k").access_control_list[0].permission == ["READ"]
    client.set_object_canned_acl(bucket, "k", canned_acl=b"private")
    client.delete_object_acl(bucket, "k")


def test_symlinks(client: Any, bucket: str) -> None:
    client.put_object_symlink(bucket, "d/target", "link")
    assert refused(client.get_object_as_string, bucket, "link") == (404, "NoSuchKey")
    client.put_object_from_string(bucket, "d/target", "bytes")
    assert client.get_object_as_string(bucket, "link") == b"bytes"
    assert client.get_object_symlink(bucket, "link").metadata.bce_symlink_target == "d/target"
    forbidden = refused(client.put_object_symlink, bucket, "x", "link", forbid_overwrite=True)
    assert forbidden[0] == 412
    client.put_object_symlink(bucket, "link", "again")
    assert refused(client.get_object_as_string, bucket, "again") == (400, "InvalidTargetType")
    assert client.get_object_meta_data(bucket, "link").metadata.bce_object_type == "Symlink"


def test_what_is_archived_is_restored(client: Any, bucket: str) -> None:
    client.put_object_from_string(bucket, "k", "x", storage_class="ARCHIVE")
    assert refused(client.get_object_as_string, bucket, "k")[0] == 403
    client.restore_object(bucket, "k", days=1)
    assert client.get_object_as_string(bucket, "k") == b"x"


def test_fetch(client: Any, bucket: str) -> None:
    with ScriptedServer(reply(200, b"from elsewhere")) as source:
        answer = client.fetch_object(bucket, "k", f"{source.origin}/x", fetch_mode="sync")
    assert answer.code == "success"
    assert client.get_object_as_string(bucket, "k") == b"from elsewhere"


def test_presigned_urls(client: Any, server: RunningEmulator, bucket: str) -> None:
    now_s = int(time.time())
    url = client.generate_pre_signed_url(bucket, "a b", now_s, 100, httpmethod=http_methods.PUT)
    assert requests.put(url, data=b"hello").status_code == 200
    url = client.generate_pre_signed_url(bucket, "a b", now_s, 100).decode()
    assert requests.get(url).content == b"hello"
    broken = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert requests.get(broken).json()["code"] == "SignatureDoesNotMatch"
    server.knobs.skew_s = 101
    assert requests.get(url).json()["code"] == "RequestExpired"
    server.knobs.skew_s = 0
    server.emulator.tokens["good"] = now_s + 1000
    url = client_of(server, token="good").generate_pre_signed_url(bucket, "a b", now_s, 100)
    assert requests.get(url).content == b"hello"


def test_conditional_writes(client: Any, bucket: str) -> None:
    def put_if(**condition: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in condition.items()}
        return client.put_object_from_string(bucket, "k", "x", cond_read_write=named)

    put_if(**{"If-None-Match": "*"})
    assert refused(put_if, **{"If-None-Match": "*"})[0] == 412
    etag = hashlib.md5(b"x").hexdigest()
    put_if(**{"If-Match": etag})
    assert refused(put_if, **{"If-Match": "0" * 32})[0] == 412


def test_who_may_not_enter(client: Any, server: RunningEmulator, bucket: str) -> None:
    wrong = client_of(server, secret="wrong")
    assert refused(wrong.list_objects, bucket) == (403, "SignatureDoesNotMatch")
    assert refused(client_of(server, token="unknown").list_objects, bucket)[0] == 403
    server.knobs.skew_s = 1200
    assert refused(client.list_objects, bucket) == (403, "RequestExpired")
    server.knobs.skew_s = -1200
    assert refused(client.list_objects, bucket) == (403, "RequestExpired")
    assert requests.get(f"{server.endpoint}/{bucket}").json()["code"] == "AccessDenied"


def test_what_was_signed_counts(client: Any, server: RunningEmulator, bucket: str) -> None:
    client.list_objects(bucket, prefix="a")
    signed = server.knobs.seen[-1]
    url = server.endpoint + signed.target
    headers = {name: value for name, value in signed.headers.items() if name != "host"}
    assert requests.get(url, headers=headers).status_code == 200
    changes: list[tuple[str, dict[str, str]]] = [
        (url + "b", {}),
        (url, {"host": "127.0.0.1"}),
        (url, {"x-bce-date": "2023-11-14T22:13:20Z"}),
        (url, {"x-bce-extra": "1"}),
        (url, {"content-type": "text/plain"}),
    ]
    for changed_url, changed in changes:
        answer = requests.get(changed_url, headers={**headers, **changed})
        assert answer.json()["code"] == "SignatureDoesNotMatch", changed


async def test_both_ways(client: Any, server: RunningEmulator, bucket: str) -> None:
    options = StoreOptions(endpoint=server.endpoint, environment=server.environment)
    store = await open_store(f"bos://{bucket}", options)
    large = os.urandom(6 * MIB)
    ours = ObjectAttributes({"mode": "33188", "name": "plain"}, "text/plain")
    await put(store, "目录/a b", b"ours", ours)
    await store.append("log", 0, BytesBody(b"one"))
    upload = await store.begin_upload("large", ours)
    parts = [await upload.add_part(1, BytesBody(large)), await upload.add_part(2, BytesBody(b"!"))]
    await upload.commit(parts)
    assert client.get_object_as_string(bucket, "目录/a b") == b"ours"
    assert client.get_object_meta_data(bucket, "目录/a b").metadata.bce_meta_name == "plain"
    assert client.get_object_as_string(bucket, "large") == large + b"!"
    client.append_object_from_string(bucket, "log", "two", offset=3)
    client.put_object_from_string(bucket, "theirs", "x", user_metadata={"mode": "33261"})
    client.put_object_symlink(bucket, "theirs", "d/link")
    assert await get(store, "log") == b"onetwo"
    assert dict((await store.stat("theirs")).metadata or {}) == {"mode": "33261"}
    assert await get(store, "d/link") == b"../theirs"
    assert (await walk(store, ""))[0] == ["d/link", "large", "log", "theirs", "目录/a b"]
    assert Symlink("theirs").text("d/link") == "../theirs"
    await store.aclose()
