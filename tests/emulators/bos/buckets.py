"""Operations on buckets, and their settings, which are kept as they were put."""

from __future__ import annotations

import re

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import JSON_TYPE, Refusal, document_answer, empty, iso_date
from tests.emulators.bos.asking import Call
from tests.emulators.bos.listings import OWNER

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
SETTINGS = (
    *("acl", "cors", "lifecycle", "logging", "tagging", "versioning", "website", "encryption"),
    *("replication", "inventory", "trash", "mirroring", "quota", "objectlock", "notification"),
    *("storageClass", "copyrightProtection"),
)
_ABSENT = {"lifecycle": "NoLifecycleConfiguration", "cors": "NoSuchCORSConfiguration"}


def list_all(call: Call) -> Response:
    """GET Service."""
    buckets = [
        {"name": bucket.name, "location": bucket.region, "creationDate": iso_date(bucket.made_s)}
        for bucket in call.buckets
    ]
    return document_answer({"owner": OWNER, "buckets": buckets})


def create(call: Call) -> Response:
    """PUT Bucket."""
    if not _NAME.fullmatch(call.bucket_name):
        raise Refusal("InvalidBucketName")
    with call.buckets.lock:
        if call.buckets.get(call.bucket_name) is not None:
            raise Refusal("BucketAlreadyExists")
        call.buckets.make(call.bucket_name, "bj", call.now_s)
    return empty(200, {"Location": f"/{call.bucket_name}"})


def head(call: Call) -> Response:
    """HEAD Bucket."""
    return empty(200, {"x-bce-storage-class": "STANDARD", "x-bce-region": call.bucket.region})


def delete(call: Call) -> Response:
    """DELETE Bucket."""
    if len(call.bucket):
        raise Refusal("BucketNotEmpty")
    call.buckets.remove(call.bucket_name)
    return empty(204)


def location(call: Call) -> Response:
    """GET Bucket location."""
    return document_answer({"locationConstraint": call.bucket.region})


def setting(call: Call, name: str) -> Response:
    """GET, PUT or DELETE a document of the bucket."""
    documents = call.bucket.documents
    if call.ask.method == "PUT":
        if call.ask.body:
            call.document()
        documents[name] = call.ask.body or b"{}"
        return empty()
    if call.ask.method == "DELETE":
        documents.pop(name, None)
        return empty(204)
    if name not in documents and name in _ABSENT:
        raise Refusal(_ABSENT[name])
    return Response(documents.get(name, b"{}"), 200, content_type=JSON_TYPE)
