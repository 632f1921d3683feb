"""Native symlinks: objects that lead to another key."""

from __future__ import annotations

import hashlib

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import Refusal, empty, http_date
from tests.emulators.bos.asking import Call, check_write, storage_class_of, stored_headers
from tests.emulators.keeping import KeptObject

KIND = "Symlink"


def put(call: Call) -> Response:
    """PUT Object symlink: whether the target is there does not matter."""
    target = call.header("x-bce-symlink-target")
    if not target:
        raise Refusal("InvalidArgument", "no target")
    storage_class = storage_class_of(call.ask.headers)
    if storage_class == "ARCHIVE":
        raise Refusal("InvalidArgument")
    check_write(call)
    details = {"target": target, "bucket": call.header("x-bce-symlink-bucket") or ""}
    etag = hashlib.md5(target.encode("latin-1")).hexdigest()
    headers = stored_headers(call.ask.headers)
    kept = KeptObject(b"", etag, call.now_s, headers, storage_class, KIND, details)
    call.bucket.put(call.key, kept)
    return empty()


def get(call: Call) -> Response:
    """GET Object symlink."""
    found = call.kept()
    if found.kind != KIND:
        raise Refusal("NotSymlink")
    headers = {
        "x-bce-symlink-target": found.details["target"],
        "Last-Modified": http_date(found.modified_s),
    }
    if found.details["bucket"]:
        headers["x-bce-symlink-bucket"] = found.details["bucket"]
    return empty(200, headers)


def followed(call: Call, found: KeptObject) -> KeptObject:
    """Return what a link leads to; anything else leads to itself. Raises: Refusal."""
    if found.kind != KIND:
        return found
    bucket = call.buckets.get(found.details["bucket"] or call.bucket_name)
    key = found.details["target"].encode("latin-1").decode("utf-8", "surrogateescape")
    target = bucket.get(key) if bucket is not None else None
    if target is None:
        raise Refusal("NoSuchKey", "The target of the symlink does not exist.")
    if target.kind == KIND:
        raise Refusal("InvalidTargetType")
    return target
