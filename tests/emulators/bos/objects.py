"""Operations on objects."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
import uuid
import zlib
from dataclasses import replace
from urllib.error import URLError

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import Refusal, document_answer, empty, http_date, iso_date
from tests.emulators.bos.asking import (
    Call,
    check_body,
    check_read,
    check_write,
    object_headers,
    source_of,
    storage_class_of,
    stored_headers,
)
from tests.emulators.bos.symlinks import followed
from tests.emulators.keeping import KeptObject

LARGEST = 5 * 10**9
SETTINGS = ("acl", "tagging")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_OVERRIDES = {
    "responseContentType": "Content-Type",
    "responseContentLanguage": "Content-Language",
    "responseExpires": "Expires",
    "responseCacheControl": "Cache-Control",
    "responseContentDisposition": "Content-Disposition",
    "responseContentEncoding": "Content-Encoding",
}
_CHECKSUMS = ("x-bce-content-crc32c", "x-bce-content-crc64ecma")


def get(call: Call) -> Response:
    """GET or HEAD Object; a link is followed and says so."""
    found = call.kept()
    target = followed(call, found)
    headers = {**object_headers(target), "x-bce-object-type": found.kind}
    is_archived = target.storage_class == "ARCHIVE" and "restored" not in target.details
    if is_archived and call.ask.method == "GET":
        raise Refusal("InvalidObjectState", "object is archived")
    check_traffic_limit(call)
    if not check_read(call, target):
        return empty(304, {"ETag": headers["ETag"]})
    for parameter, name in _OVERRIDES.items():
        if (value := call.ask.parameter(parameter)) is not None:
            headers[name.lower()] = value
    data, status = target.data, 200
    wanted = call.header("range") or call.ask.parameter("x-bce-range")
    if wanted and call.ask.method == "GET":
        first, last = _bounds(wanted, len(data))
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        data, status = data[first : last + 1], 206
    answer = Response(data, status)
    answer.headers.extend(headers)
    answer.headers["Content-Type"] = headers["content-type"]
    return answer


def _bounds(text: str, size: int) -> tuple[int, int]:
    found = RANGE.fullmatch(text if text.startswith("bytes=") else f"bytes={text}")
    if found is None or found.groups() == ("", ""):
        raise Refusal("InvalidArgument", f"no range: {text}")
    if size == 0:
        raise Refusal("InvalidRange", status=400)
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first = int(found[1])
    if first >= size:
        raise Refusal("InvalidRange")
    return first, min(int(found[2] or size), size - 1)


def check_traffic_limit(call: Call) -> None:
    """Raise Refusal for a limit out of bounds."""
    text = call.header("x-bce-traffic-limit")
    if text is not None and not 819_200 <= int(text) <= 838_860_800:
        raise Refusal("InvalidArgument", "x-bce-traffic-limit")


def put(call: Call) -> Response:
    """PUT Object: its bytes, or a copy."""
    if call.header("x-bce-copy-source") is not None:
        return _copy(call)
    check_body(call)
    check_traffic_limit(call)
    if len(call.ask.body) > LARGEST:
        raise Refusal("EntityTooLarge")
    headers = stored_headers(call.ask.headers)
    storage_class = storage_class_of(call.ask.headers)
    check_write(call)
    data = call.ask.body
    kept = KeptObject(
        data, hashlib.md5(data).hexdigest(), call.now_s, headers, storage_class, "Normal",
        _details(call),
    )  # fmt: skip
    call.bucket.put(call.key, kept)
    return empty(200, _stored(call, kept))


def _details(call: Call) -> dict[str, str]:
    details = {}
    if tags := call.header("x-bce-tagging"):
        pairs = dict(pair.split("=", 1) for pair in tags.split("&"))
        details["tagging"] = json.dumps({"tagSet": [{"tagInfo": pairs}]})
    if days := call.header("x-bce-object-expires"):
        details["x-bce-expiration-date"] = http_date(call.now_s + int(days) * 86400)
    return details


def _stored(call: Call, kept: KeptObject) -> dict[str, str]:
    headers = {"ETag": f'"{kept.etag}"', "x-bce-content-crc32": str(zlib.crc32(call.ask.body))}
    headers |= {name: value for name in _CHECKSUMS if (value := call.header(name)) is not None}
    return headers


def _copy(call: Call) -> Response:
    source_key, source = source_of(call)
    source = followed(call, source)
    directive = call.header("x-bce-metadata-directive") or "copy"
    is_itself = source_key == f"/{call.bucket_name}/{call.key}"
    check_write_over(call)
    headers = source.headers if directive == "copy" else stored_headers(call.ask.headers)
    kind = "Appendable" if is_itself and source.kind == "Appendable" else "Normal"
    kept = replace(
        source,
        headers=headers,
        storage_class=storage_class_of(call.ask.headers),
        modified_s=call.now_s,
        kind=kind,
        details={},
    )
    call.bucket.put(call.key, kept)
    return document_answer({"lastModified": iso_date(call.now_s), "eTag": kept.etag})


def check_write_over(call: Call) -> None:
    """Raise Refusal where a copy must not replace what is there (copies know no If-Match)."""
    if call.header("x-bce-forbid-overwrite") == "true" and call.bucket.get(call.key) is not None:
        raise Refusal("PreconditionFailed", "the object exists", call.limits.forbidden_status)


def append(call: Call) -> Response:
    """POST Object append. Without an offset the object is replaced: the documents' trap."""
    check_body(call)
    if storage_class_of(call.ask.headers) == "ARCHIVE":
        raise Refusal("InvalidArgument")
    text = call.ask.parameter("offset")
    found = call.bucket.get(call.key)
    before = b""
    if text is None:
        found = None
    else:
        offset = int(text) if text.isdecimal() else -1
        if offset < 0:
            raise Refusal("InvalidArgument", "offset")
        if found is None and offset:
            raise Refusal("NoSuchKey")
        if found is not None and found.kind != "Appendable":
            raise Refusal("ObjectUnappendable")
        if found is not None and offset != len(found.data):
            raise Refusal("OffsetIncorrect")
        before = found.data if found is not None else b""
    data = before + call.ask.body
    headers = stored_headers(call.ask.headers) if found is None else found.headers
    storage_class = storage_class_of(call.ask.headers) if found is None else found.storage_class
    etag = f"-{hashlib.md5(data).hexdigest()}"
    kept = KeptObject(data, etag, call.now_s, headers, storage_class, "Appendable")
    call.bucket.put(call.key, kept)
    return empty(200, {**_stored(call, kept), "x-bce-next-append-offset": str(len(data))})


def delete(call: Call) -> Response:
    """DELETE Object: an absent one is an error here."""
    call.kept()
    call.bucket.remove(call.key)
    return empty(204)


def delete_many(call: Call) -> Response:
    """POST Bucket delete."""
    try:
        keys = [item["key"] for item in call.document()["objects"]]
    except (KeyError, TypeError):
        raise Refusal("InappropriateJSON") from None
    if len(keys) > 1000:
        raise Refusal("InvalidArgument", "more than 1000 keys")
    errors = [
        {"key": key, "code": "NoSuchKey", "message": "absent"}
        for key in keys
        if not call.bucket.remove(key)
    ]
    return document_answer({"errors": errors}) if errors else empty(200)


def fetch(call: Call) -> Response:
    """POST Object fetch: from another server, at once or (as it seems) later."""
    source = call.header("x-bce-fetch-source") or ""
    try:
        with urllib.request.urlopen(source, timeout=10) as answer:
            data = answer.read()
    except (URLError, ValueError, OSError):
        raise Refusal("InvalidArgument", "the source cannot be fetched") from None
    headers = stored_headers({})
    storage_class = storage_class_of(call.ask.headers)
    etag = hashlib.md5(data).hexdigest()
    kept = KeptObject(data, etag, call.now_s, headers, storage_class, "Normal")
    call.bucket.put(call.key, kept)
    document = {"code": "success", "message": "success", "requestId": str(uuid.uuid4())}
    if call.header("x-bce-fetch-mode") == "async":
        document["jobId"] = str(uuid.uuid4())
    return document_answer(document)


def restore(call: Call) -> Response:
    """POST Object restore: done at once here."""
    found = call.kept()
    if found.storage_class != "ARCHIVE":
        raise Refusal("InvalidArgument", "not archived")
    is_again = "restored" in found.details
    details = {**found.details, "restored": "1", "x-bce-restore": 'ongoing-request="false"'}
    call.bucket.put(call.key, replace(found, details=details))
    return empty(200 if is_again else 202)


def setting(call: Call, name: str) -> Response:
    """GET, PUT or DELETE the ACL or the tags of an object."""
    found = call.kept()
    details = dict(found.details)
    if call.ask.method == "GET":
        return document_answer(json.loads(details.get(name, "{}")))
    details.pop(name, None)
    if call.ask.method == "PUT":
        document = call.document() if call.ask.body else {"accessControlList": []}
        if tags := call.header("x-bce-tagging"):
            pairs = dict(pair.split("=", 1) for pair in tags.split("&"))
            document = {"tagSet": [{"tagInfo": pairs}]}
        details[name] = json.dumps(document)
    call.bucket.put(call.key, replace(found, details=details))
    return empty(204 if call.ask.method == "DELETE" else 200)
