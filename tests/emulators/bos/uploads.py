"""Multipart uploads."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import Refusal, document_answer, empty, iso_date
from tests.emulators.bos.asking import (
    Call,
    check_body,
    check_write,
    source_of,
    storage_class_of,
    stored_headers,
)
from tests.emulators.bos.listings import OWNER
from tests.emulators.bos.objects import RANGE, check_traffic_limit
from tests.emulators.keeping import KeptObject, KeptPart, KeptUpload, key_bytes


def begin(call: Call) -> Response:
    """POST Object uploads."""
    headers = stored_headers(call.ask.headers)
    storage_class = storage_class_of(call.ask.headers)
    upload = call.bucket.begin(call.key, call.now_s, headers, storage_class)
    return document_answer(
        {"bucket": call.bucket_name, "key": call.key, "uploadId": upload.upload_id}
    )


def _upload(call: Call) -> KeptUpload:
    upload = call.bucket.uploads.get(call.ask.parameter("uploadId") or "")
    if upload is None or upload.key != call.key:
        raise Refusal("NoSuchUpload")
    return upload


def put_part(call: Call) -> Response:
    """PUT Object part, of a body or of another object's bytes."""
    upload = _upload(call)
    number = call.number("partNumber", 0, 1, 10_000)
    if not number:
        raise Refusal("InvalidArgument", "partNumber")
    if call.header("x-bce-copy-source") is not None:
        data = _source_range(call)
    else:
        check_body(call)
        check_traffic_limit(call)
        data = call.ask.body
    etag = hashlib.md5(data).hexdigest()
    upload.parts[number] = KeptPart(data, etag, call.now_s)
    if call.header("x-bce-copy-source") is not None:
        return document_answer({"lastModified": iso_date(call.now_s), "eTag": etag})
    crc = str(zlib.crc32(data))
    return empty(200, {"ETag": f'"{etag}"', "x-bce-content-crc32": crc})


def _source_range(call: Call) -> bytes:
    _, source = source_of(call)
    text = call.header("x-bce-copy-source-range")
    if text is None:
        return source.data
    found = RANGE.fullmatch(text)
    if found is None or not found[1] or not found[2]:
        raise Refusal("InvalidArgument", "x-bce-copy-source-range")
    first, last = int(found[1]), int(found[2])
    if not first <= last < len(source.data):
        raise Refusal("InvalidRange")
    return source.data[first : last + 1]


def list_parts(call: Call) -> Response:
    """GET Object parts."""
    upload = _upload(call)
    limit = call.number("maxParts", 1000, 1, 1000)
    marker = call.number("partNumberMarker", 0, 0, 10_000)
    numbers = [number for number in sorted(upload.parts) if number > marker]
    page = numbers[:limit]
    document: dict[str, Any] = {
        "bucket": call.bucket_name,
        "key": call.key,
        "uploadId": upload.upload_id,
        "initiated": iso_date(upload.began_s),
        "owner": OWNER,
        "storageClass": upload.storage_class,
        "partNumberMarker": marker,
        "nextPartNumberMarker": page[-1] if page else marker,
        "maxParts": limit,
        "isTruncated": len(numbers) > len(page),
        "parts": [_listed(number, upload.parts[number]) for number in page],
    }
    return document_answer(document)


def _listed(number: int, part: KeptPart) -> dict[str, Any]:
    return {
        "partNumber": number,
        "lastModified": iso_date(part.modified_s),
        "eTag": part.etag,
        "size": len(part.data),
    }


def complete(call: Call) -> Response:
    """POST Object complete."""
    upload = _upload(call)
    try:
        named = [(item["partNumber"], item["eTag"]) for item in call.document()["parts"]]
    except (KeyError, TypeError):
        raise Refusal("InappropriateJSON") from None
    parts = _chosen(call, upload, named)
    data = b"".join(part.data for part in parts)
    given = call.header("x-bce-content-crc32")
    if given is not None and given != str(zlib.crc32(data)):
        raise Refusal("BadDigest", "x-bce-content-crc32")
    check_write(call)
    etag = parts[0].etag
    if len(parts) > 1:
        etag = f"-{hashlib.md5(''.join(part.etag for part in parts).encode()).hexdigest()}"
    kept = KeptObject(data, etag, call.now_s, upload.headers, upload.storage_class, "Normal")
    call.bucket.put(call.key, kept)
    del call.bucket.uploads[upload.upload_id]
    document = {
        "location": f"http://bj.bcebos.com/{call.bucket_name}/{call.key}",
        "bucket": call.bucket_name,
        "key": call.key,
        "eTag": etag,
    }
    return document_answer(document, headers={"x-bce-content-crc32": str(zlib.crc32(data))})


def _chosen(call: Call, upload: KeptUpload, named: list[tuple[int, str]]) -> list[KeptPart]:
    if not named:
        raise Refusal("MalformedJSON", "no parts")
    numbers = [number for number, _ in named]
    if numbers != sorted(set(numbers)):
        raise Refusal("InvalidPartOrder")
    parts = []
    for number, etag in named:
        part = upload.parts.get(number)
        if part is None or part.etag != etag.strip('"'):
            raise Refusal("InvalidPart")
        parts.append(part)
    if any(len(part.data) < call.limits.min_part for part in parts[:-1]):
        raise Refusal("EntityTooSmall")
    return parts


def abort(call: Call) -> Response:
    """DELETE Object upload."""
    del call.bucket.uploads[_upload(call).upload_id]
    return empty(204)


def list_uploads(call: Call) -> Response:
    """GET Bucket uploads; pages advance by key only."""
    prefix = call.ask.parameter("prefix") or ""
    marker = call.ask.parameter("keyMarker") or ""
    limit = call.number("maxUploads", 1000, 1, 1000)
    found = sorted(
        (
            upload
            for upload in call.bucket.uploads.values()
            if upload.key.startswith(prefix) and key_bytes(upload.key) > key_bytes(marker)
        ),
        key=lambda upload: (key_bytes(upload.key), upload.began_s),
    )
    page = found[:limit]
    uploads = [
        {
            "key": upload.key,
            "uploadId": upload.upload_id,
            "owner": OWNER,
            "initiated": iso_date(upload.began_s),
            "storageClass": upload.storage_class,
        }
        for upload in page
    ]
    document = {
        "bucket": call.bucket_name,
        "prefix": prefix,
        "delimiter": call.ask.parameter("delimiter") or "",
        "keyMarker": marker,
        "nextKeyMarker": page[-1].key if page else "",
        "maxUploads": limit,
        "isTruncated": len(found) > len(page),
        "commonPrefixes": [],
        "uploads": uploads,
    }
    return document_answer(document)
