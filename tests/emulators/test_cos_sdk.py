"""The emulator of COS is held honest by Tencent's own SDK, which knows nothing of it."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from qcloud_cos import CosS3Client, CosServiceError

from tests.emulators.cos.cloud import APPID, REGION
from tests.emulators.cos.kept import crc64
from tests.emulators.cos_client import sdk
from tests.emulators.serving import RunningEmulator

MIB = 1 << 20
KEYS = [
    *("plain.txt", "a b", "a+b", "a&b", "%41", "目录/文件", "a//b", "./x", "x/../y", "folder/"),
    "q?x=1#y",
]


@pytest.fixture(scope="module")
def client(cos: RunningEmulator) -> CosS3Client:
    """The SDK."""
    return sdk(cos)


@pytest.fixture(scope="module")
def bucket(cos: RunningEmulator) -> str:
    """A bucket."""
    return cos.make_bucket()


@pytest.fixture(autouse=True)
def _straight(cos: RunningEmulator) -> Iterator[None]:
    yield
    cos.knobs.reset()


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """Return status and code with which a call of the SDK is refused."""
    with pytest.raises(CosServiceError) as caught:
        call(**arguments)
    error = caught.value
    assert error.get_request_id() not in (None, "", "Unknown") or error.get_status_code() == 404
    return error.get_status_code(), error.get_error_code()


def body_of(answer: Any) -> bytes:
    """Return the bytes of a GET's answer."""
    data: bytes = answer["Body"].get_raw_stream().read()
    return data


def test_buckets(client: CosS3Client) -> None:
    name = f"made-by-sdk-{APPID}"
    client.create_bucket(Bucket=name)
    assert refusal(client.create_bucket, Bucket=name) == (409, "BucketAlreadyOwnedByYou")
    client.head_bucket(Bucket=name)
    assert client.bucket_exists(Bucket=name)
    assert not client.bucket_exists(Bucket=f"other-{APPID}")
    names = [item["Name"] for item in client.list_buckets()["Buckets"]["Bucket"]]
    assert name in names
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == REGION
    client.put_object(Bucket=name, Key="x", Body=b"")
    assert refusal(client.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    client.delete_object(Bucket=name, Key="x")
    client.delete_bucket(Bucket=name)
    assert refusal(client.list_objects, Bucket=name) == (404, "NoSuchBucket")


@pytest.mark.parametrize("key", KEYS)
def test_put_head_get_delete(client: CosS3Client, bucket: str, key: str) -> None:
    data = b"content of " + key.encode()
    put = client.put_object(
        Bucket=bucket, Key=key, Body=data, EnableMD5=True, Metadata={"x-cos-meta-a": "1"}
    )
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert put["x-cos-hash-crc64ecma"] == crc64(data)
    head = client.head_object(Bucket=bucket, Key=key)
    assert (head["Content-Length"], head["x-cos-meta-a"]) == (str(len(data)), "1")
    assert head["x-cos-object-type"] == "normal"
    assert body_of(client.get_object(Bucket=bucket, Key=key, KeySimplifyCheck=False)) == data
    assert client.object_exists(Bucket=bucket, Key=key)
    client.delete_object(Bucket=bucket, Key=key)
    assert not client.object_exists(Bucket=bucket, Key=key)


def test_bodies(client: CosS3Client, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert client.head_object(Bucket=bucket, Key="empty")["x-cos-hash-crc64ecma"] == "0"
    client.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(b"abc"))
    client.put_object(Bucket=bucket, Key="chunks", Body=(piece for piece in (b"ab", b"cd")))
    assert body_of(client.get_object(Bucket=bucket, Key="chunks")) == b"abcd"
    of_nothing = "1B2M2Y8AsgTpgAmY7PhCfg=="
    found = refusal(client.put_object, Bucket=bucket, Key="x", Body=b"abc", ContentMD5=of_nothing)
    assert found == (400, "BadDigest")


def test_ranges_and_conditions(client: CosS3Client, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="r", Body=b"hello")["ETag"]
    answer = client.get_object(Bucket=bucket, Key="r", Range="bytes=1-3")
    assert answer["Content-Range"] == "bytes 1-3/5"
    assert body_of(answer) == b"ell"
    assert body_of(client.get_object(Bucket=bucket, Key="r", Range="bytes=-2")) == b"lo"
    found = refusal(client.get_object, Bucket=bucket, Key="r", Range="bytes=5-9")
    assert found == (416, "InvalidRange")
    client.get_object(Bucket=bucket, Key="r", IfMatch=etag)
    found = refusal(client.get_object, Bucket=bucket, Key="r", IfMatch='"0"')
    assert found == (412, "PreconditionFailed")
    answer = client.get_object(Bucket=bucket, Key="r", ResponseContentType="text/html")
    assert answer["Content-Type"] == "text/html"
    assert refusal(client.get_object, Bucket=bucket, Key="none")[1] == "NoSuchKey"


def test_listing(client: CosS3Client, cos: RunningEmulator) -> None:
    bucket = cos.make_bucket()
    assert "Contents" not in client.list_objects(Bucket=bucket)
    for key in ("d/a b", "d/é", "d/e/x", "d/e/y", "f", "g+h"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = client.list_objects(Bucket=bucket, Prefix="d/", Delimiter="/")
    assert [item["Key"] for item in answer["Contents"]] == ["d/a b", "d/é"]
    assert [item["Prefix"] for item in answer["CommonPrefixes"]] == ["d/e/"]
    assert answer["IsTruncated"] == "false"
    names, marker = [], ""
    while True:
        page = client.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=1, Marker=marker)
        names += [item["Key"] for item in page.get("Contents", ())]
        names += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        if page["IsTruncated"] == "false":
            break
        marker = page["NextMarker"]
    assert names == ["d/", "f", "g+h"]


def test_append(client: CosS3Client, bucket: str) -> None:
    client.append_object(Bucket=bucket, Key="log", Position=0, Data=b"hello")
    answer = client.append_object(Bucket=bucket, Key="log", Position=5, Data=b", you")
    assert answer["x-cos-next-append-position"] == "10"
    assert answer["x-cos-hash-crc64ecma"] == crc64(b"hello, you")
    head = client.head_object(Bucket=bucket, Key="log")
    assert (head["x-cos-object-type"], head["Content-Length"]) == ("appendable", "10")
    found = refusal(client.append_object, Bucket=bucket, Key="log", Position=3, Data=b"x")
    assert found == (409, "PositionNotEqualToLength")
    source = {"Bucket": bucket, "Key": "log", "Region": REGION}
    found = refusal(client.copy_object, Bucket=bucket, Key="log2", CopySource=source)
    assert found == (409, "OperationNotAllowed")
    client.put_object(Bucket=bucket, Key="log", Body=b"new")
    found = refusal(client.append_object, Bucket=bucket, Key="log", Position=3, Data=b"x")
    assert found == (409, "ObjectNotAppendable")


def test_multipart_by_hand(client: CosS3Client, bucket: str) -> None:
    first, last = b"1" * MIB, b"end"
    where = {"Bucket": bucket, "Key": "目录/multi part"}
    client.put_object(Bucket=bucket, Key="source", Body=b"0123456789" * (MIB // 8))
    upload = client.create_multipart_upload(**where, Metadata={"x-cos-meta-m": "v"})["UploadId"]
    where["UploadId"] = upload
    one = client.upload_part(**where, Body=first, PartNumber=1)["ETag"]
    two = client.upload_part_copy(
        **where,
        PartNumber=2,
        CopySource={"Bucket": bucket, "Key": "source", "Region": REGION},
        CopySourceRange=f"bytes=1-{MIB}",
    )["ETag"]
    three = client.upload_part(**where, Body=last, PartNumber=3)["ETag"]
    page = client.list_parts(**where, MaxParts=1)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == ("true", "1")
    parts = client.list_parts(**where)["Part"]
    assert [part["ETag"] for part in parts] == [one, two, three]
    uploads = client.list_multipart_uploads(Bucket=bucket)["Upload"]
    assert upload in [item["UploadId"] for item in uploads]
    tags = [one, two, three]

    def complete(*numbers: int, tag: str = "") -> Any:
        listed = [{"PartNumber": n, "ETag": tag or tags[n - 1]} for n in numbers]
        return client.complete_multipart_upload(**where, MultipartUpload={"Part": listed})

    for numbers, tag, code in [
        ((2, 1), "", "InvalidPartOrder"),
        ((1, 4), '"0"', "InvalidPart"),
        ((1, 3, 2), "", "InvalidPartOrder"),
    ]:
        with pytest.raises(CosServiceError) as caught:
            complete(*numbers, tag=tag)
        assert caught.value.get_error_code() == code
    made = complete(1, 2, 3)
    whole = first + (b"0123456789" * (MIB // 8))[1 : MIB + 1] + last
    assert made["x-cos-hash-crc64ecma"] == crc64(whole)
    assert made["ETag"].endswith('-3"')
    assert body_of(client.get_object(Bucket=bucket, Key=where["Key"])) == whole
    assert client.head_object(Bucket=bucket, Key=where["Key"])["x-cos-meta-m"] == "v"
    assert refusal(client.list_parts, **where) == (404, "NoSuchUpload")


def test_small_parts_and_abort(client: CosS3Client, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "small"}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    tags = [client.upload_part(**where, Body=b"x", PartNumber=n)["ETag"] for n in (1, 2)]
    listed = {"Part": [{"PartNumber": n + 1, "ETag": tag} for n, tag in enumerate(tags)]}
    found = refusal(client.complete_multipart_upload, **where, MultipartUpload=listed)
    assert found == (400, "EntityTooSmall")
    client.abort_multipart_upload(**where)
    assert refusal(client.abort_multipart_upload, **where) == (404, "NoSuchUpload")
    assert refusal(client.upload_part, **where, Body=b"x", PartNumber=1)[1] == "NoSuchUpload"


def test_upload_and_download_of_files(client: CosS3Client, bucket: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * (3 * MIB // 256) + b"tail"
    (tmp_path / "up").write_bytes(data)
    where = {"Bucket": bucket, "Key": "file"}
    begun = client.create_multipart_upload(**where)["UploadId"]
    client.upload_part(**where, UploadId=begun, PartNumber=1, Body=data[:MIB])
    client.upload_file(**where, LocalFilePath=str(tmp_path / "up"), PartSize=1, MAXThread=5)
    assert refusal(client.list_parts, **where, UploadId=begun)[1] == "NoSuchUpload"  # resumed
    client.download_file(
        **where, DestFilePath=str(tmp_path / "down"), PartSize=1, MAXThread=5, EnableCRC=True
    )
    assert (tmp_path / "down").read_bytes() == data
    client.upload_file_from_buffer(**where, Body=io.BytesIO(data), PartSize=1)
    assert client.head_object(**where)["x-cos-hash-crc64ecma"] == crc64(data)
    client.put_object_from_local_file(**where, LocalFilePath=str(tmp_path / "up"))
    assert client.head_object(**where)["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'


def test_copies(client: CosS3Client, bucket: str) -> None:
    client.put_object(
        Bucket=bucket, Key="c 1", Body=b"x", Metadata={"x-cos-meta-a": "1"}, ContentType="text/css"
    )
    source = {"Bucket": bucket, "Key": "c 1", "Region": REGION}
    answer = client.copy_object(Bucket=bucket, Key="c2", CopySource=source)
    assert answer["CRC64"] == crc64(b"x")
    head = client.head_object(Bucket=bucket, Key="c2")
    assert (head["x-cos-meta-a"], head["Content-Type"]) == ("1", "text/css")
    client.copy_object(
        Bucket=bucket, Key="c3", CopySource=source, CopyStatus="Replaced",
        Metadata={"x-cos-meta-b": "2"},
    )  # fmt: skip
    head = client.head_object(Bucket=bucket, Key="c3")
    assert "x-cos-meta-a" not in head
    assert head["x-cos-meta-b"] == "2"
    client.copy(Bucket=bucket, Key="c4", CopySource=source)
    assert client.object_exists(Bucket=bucket, Key="c4")
    found = refusal(
        client.copy_object, Bucket=bucket, Key="c5", CopySource=source, CopySourceIfMatch='"0"'
    )
    assert found == (412, "PreconditionFailed")
    client.change_object_storage_class(Bucket=bucket, Key="c2", StorageClass="STANDARD_IA")
    assert client.head_object(Bucket=bucket, Key="c2")["x-cos-storage-class"] == "STANDARD_IA"
    client.update_object_meta(Bucket=bucket, Key="c3", Metadata={"x-cos-meta-c": "3"})
    assert client.head_object(Bucket=bucket, Key="c3")["x-cos-meta-c"] == "3"


@pytest.mark.parametrize("quiet", ["true", "false"])
def test_batch_delete(client: CosS3Client, bucket: str, quiet: str) -> None:
    keys = ["del a b", "del<&>é", "del never"]
    for key in keys[:2]:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    batch = {"Object": [{"Key": key} for key in keys], "Quiet": quiet}
    answer = client.delete_objects(Bucket=bucket, Delete=batch)
    assert len((answer or {}).get("Deleted", ())) == (0 if quiet == "true" else 3)
    assert not any(client.object_exists(Bucket=bucket, Key=key) for key in keys)


def test_documents(client: CosS3Client, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "doc"}
    client.put_object(**where, Body=b"x")
    client.put_object_acl(**where, ACL="public-read")
    assert client.get_object_acl(**where)["AccessControlList"]["Grant"][0]["Permission"] == "READ"
    assert client.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    tags = {"TagSet": {"Tag": [{"Key": "a", "Value": "1"}]}}
    client.put_object_tagging(**where, Tagging=tags)
    assert client.get_object_tagging(**where)["TagSet"]["Tag"] == [{"Key": "a", "Value": "1"}]
    client.delete_object_tagging(**where)
    assert refusal(client.get_bucket_cors, Bucket=bucket)[1] == "NoSuchCORSConfiguration"
    rule = {"ID": "r", "MaxAgeSeconds": "60", "AllowedOrigin": ["*"], "AllowedMethod": ["GET"]}
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRule": [rule]})
    assert client.get_bucket_cors(Bucket=bucket)["CORSRule"][0]["ID"] == "r"
    client.delete_bucket_cors(Bucket=bucket)
    found = refusal(client.get_bucket_lifecycle, Bucket=bucket)
    assert found == (404, "NoSuchLifecycleConfiguration")


def test_archives(client: CosS3Client, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "cold"}
    client.put_object(**where, Body=b"x", StorageClass="ARCHIVE")
    assert refusal(client.get_object, **where) == (403, "InvalidObjectState")
    wish = {"Days": 1, "CASJobParameters": {"Tier": "Expedited"}}
    client.restore_object(**where, RestoreRequest=wish)
    assert 'ongoing-request="false"' in client.head_object(**where)["x-cos-restore"]
    assert body_of(client.get_object(**where)) == b"x"


def test_symlinks(client: CosS3Client, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="真/target", Body=b"behind")
    client.put_symlink(Bucket=bucket, SymlinkName="link", SymlinkTarget="真/target")
    answer = client.get_symlink(Bucket=bucket, SymlinkName="link")
    assert answer["x-cos-symlink-target"] == "%E7%9C%9F/target"
    assert body_of(client.get_object(Bucket=bucket, Key="link")) == b"behind"


def test_presigned_urls(client: CosS3Client, bucket: str, cos: RunningEmulator) -> None:
    through = {"http": cos.endpoint}
    url = client.get_presigned_url(Bucket=bucket, Key="pre signed", Method="PUT", Expired=60)
    assert requests.put(url, data=b"by url", proxies=through).status_code == 200
    url = client.get_presigned_download_url(Bucket=bucket, Key="pre signed", Expired=60)
    assert requests.get(url, proxies=through).content == b"by url"
    assert requests.get(url[:-1], proxies=through).status_code == 403
    cos.knobs.skew_s = 120
    assert requests.get(url, proxies=through).status_code == 403


def test_exclusive_writes(client: CosS3Client, bucket: str) -> None:
    where: dict[str, Any] = {"Bucket": bucket, "Key": "once", "Body": b"x"}
    header = {"x-cos-forbid-overwrite": "true"}
    client.put_object(**where, Metadata=header)
    assert refusal(client.put_object, **where, Metadata=header) == (409, "FileAlreadyExists")


def test_limits(client: CosS3Client, bucket: str) -> None:
    where: dict[str, Any] = {"Bucket": bucket, "Key": "l", "Body": b"x"}
    client.put_object(**where, TrafficLimit="819200")
    found = refusal(client.put_object, **where, TrafficLimit="819199")
    assert found == (400, "InvalidArgument")
    found = refusal(client.put_object, **where, Metadata={"x-cos-meta-a": "v" * 2048})
    assert found == (400, "MetadataTooLarge")
    where["Key"] = "k" * 851
    assert refusal(client.put_object, **where) == (400, "KeyTooLong")


def test_strangers(cos: RunningEmulator, bucket: str) -> None:
    wrong = sdk(cos, secret_key="not the one")
    assert refusal(wrong.list_objects, Bucket=bucket) == (403, "SignatureDoesNotMatch")
    anonymous = sdk(cos, Anonymous=True)
    assert refusal(anonymous.list_objects, Bucket=bucket) == (403, "AccessDenied")
    late = sdk(cos)
    cos.knobs.skew_s = -1200
    assert refusal(late.list_objects, Bucket=bucket) == (403, "RequestTimeTooSkewed")


def test_temporary_keys(cos: RunningEmulator, bucket: str) -> None:
    account = next(iter(cos.emulator.accounts.values()))
    account.token, account.expires_s = "token", time.time() + 60
    try:
        sdk(cos, Token="token").list_objects(Bucket=bucket)
        assert refusal(sdk(cos).list_objects, Bucket=bucket)[0] == 403
        account.expires_s = 0.0
        found = refusal(sdk(cos, Token="token").list_objects, Bucket=bucket)
        assert found == (403, "ExpiredToken")
    finally:
        account.token, account.expires_s = None, None


@pytest.mark.parametrize("change", ["signature", "host", "query", "header", "late"])
def test_what_is_tampered_with_is_refused(
    cos: RunningEmulator, client: CosS3Client, bucket: str, change: str
) -> None:
    host = f"{bucket}.cos.{REGION}.myqcloud.com"
    sign: str = client.get_auth(
        Method="GET", Bucket=bucket, Key="/", Headers={"host": host, "range": "bytes=0-1"},
        Params={"prefix": "a"},
    )  # fmt: skip
    headers = {"Host": host, "Range": "bytes=0-1", "Authorization": sign}
    query = "prefix=a"
    assert requests.get(f"{cos.endpoint}/?{query}", headers=headers).status_code == 200
    if change == "signature":
        headers["Authorization"] = sign[:-1] + ("0" if sign[-1] != "0" else "1")
    elif change == "host":
        headers["Host"] = host.replace("myqcloud", "tencentcos")
    elif change == "query":
        query = "prefix=b"
    elif change == "header":
        del headers["Range"]
    else:
        cos.knobs.skew_s = 100_000
    assert requests.get(f"{cos.endpoint}/?{query}", headers=headers).status_code == 403
