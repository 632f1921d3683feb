"""Listing the objects of a bucket."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import Refusal, document_answer, iso_date
from tests.emulators.bos.asking import Call
from tests.emulators.keeping import KeptObject

OWNER = {"id": "emulated", "displayName": "emulated"}


def list_objects(call: Call) -> Response:
    """GET Bucket."""
    prefix = call.ask.parameter("prefix") or ""
    delimiter = call.ask.parameter("delimiter") or ""
    marker = call.ask.parameter("marker") or ""
    limit = call.number("maxKeys", 1000, 1, 1000)
    if len(delimiter) > 1:
        raise Refusal("InvalidArgument", "the delimiter is one character")
    page = call.bucket.page(prefix, delimiter, marker, limit)
    document: dict[str, Any] = {
        "name": call.bucket_name,
        "prefix": prefix,
        "delimiter": delimiter,
        "marker": marker,
        "maxKeys": limit,
        "isTruncated": page.next_marker is not None,
        "contents": [_listed(key, found) for key, found in page.objects],
        "commonPrefixes": [{"prefix": name} for name in page.prefixes],
    }
    if page.next_marker is not None:
        document["nextMarker"] = page.next_marker
    return document_answer(document)


def _listed(key: str, found: KeptObject) -> dict[str, Any]:
    return {
        "key": key,
        "lastModified": iso_date(found.modified_s),
        "eTag": found.etag,
        "size": len(found.data),
        "storageClass": found.storage_class,
        "owner": OWNER,
    }
