"""The JSON of BOS: listings, results, errors; and the documents that are sent. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bucketfs.errors import ConfusedServer
from bucketfs.storage.headers import iso_ns, version_of
from bucketfs.storage.interface import ListPage, ObjectInfo, Part, PendingUpload

Json = Mapping[str, Any]


def parse(text: bytes) -> Json:
    """Return the object that a document is. Raises: ConfusedServer (another thing)."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfusedServer("the answer is not JSON") from exc
    if not isinstance(found, dict):
        raise ConfusedServer("the answer is not a JSON object")
    return found


def parse_error(text: bytes) -> Json:
    """Return an error document's members, empty where the answer is none."""
    try:
        found = parse(text) if text else {}
    except ConfusedServer:
        return {}
    return found if isinstance(found.get("code"), str) else {}


def parse_listing(text: bytes) -> ListPage:
    """Return the page that a listing holds. Raises: ConfusedServer."""
    found = parse(text)
    try:
        objects = [_listed(item) for item in found["contents"]]
        prefixes = [_text(item["prefix"]) for item in found.get("commonPrefixes") or ()]
        marker = None
        if found.get("isTruncated"):
            # The documents promise nextMarker only with a delimiter: else it is the last key.
            marker = found.get("nextMarker") or (objects[-1].key if objects else None)
            if not isinstance(marker, str):
                raise ConfusedServer("the listing goes on, but does not say where")
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfusedServer("an entry of the listing is incomplete") from exc
    return ListPage(objects, prefixes, marker)


def _listed(item: Json) -> ObjectInfo:
    size = int(item["size"])
    modified_ns = iso_ns(_text(item.get("lastModified") or ""))
    return ObjectInfo(
        _text(item["key"]),
        size,
        version_of(_text(item.get("eTag") or ""), modified_ns, size),
        modified_ns,
        storage_class=item.get("storageClass") or None,
    )


def parse_parts(text: bytes) -> tuple[Sequence[Part], int | None]:
    """Return the parts of a page, and the marker of the next one (None: it is the last)."""
    found = parse(text)
    try:
        parts = [
            Part(int(item["partNumber"]), _text(item["eTag"]).strip('"'), int(item["size"]))
            for item in found["parts"]
        ]
        following = found.get("nextPartNumberMarker") if found.get("isTruncated") else None
        return parts, int(following) if following is not None else None
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfusedServer("a listed part is incomplete") from exc


def parse_tag(text: bytes) -> tuple[str, int]:
    """Return the ETag (empty: none) and the time in ns of a copy or a commit."""
    found = parse(text)
    tag, modified = found.get("eTag") or "", found.get("lastModified") or ""
    if not isinstance(tag, str) or not isinstance(modified, str):
        raise ConfusedServer("the answer's eTag or lastModified is no text")
    return tag.strip('"'), iso_ns(modified)


def parse_upload_id(text: bytes) -> str:
    """Return the id of a begun upload. Raises: ConfusedServer."""
    upload_id = parse(text).get("uploadId")
    if not isinstance(upload_id, str) or not upload_id:
        raise ConfusedServer("an upload got no id")
    return upload_id


def parse_uploads(text: bytes) -> tuple[Sequence[PendingUpload], str | None]:
    """Return the uploads of a page, and the marker of the next one (None: it is the last)."""
    found = parse(text)
    try:
        uploads = [
            PendingUpload(
                _text(item["key"]),
                _text(item["uploadId"]),
                iso_ns(_text(item.get("initiated") or "")),
            )
            for item in found.get("uploads") or ()
        ]
        following = found.get("nextKeyMarker") if found.get("isTruncated") else None
        return uploads, _text(following) if following else None
    except (KeyError, TypeError) as exc:
        raise ConfusedServer("a listed upload is incomplete") from exc


def parse_refused(text: bytes) -> Mapping[str, str]:
    """Return the keys that a batch did not delete, each with the error's code.

    An empty answer: all were deleted. Raises: ConfusedServer.
    """
    if not text.strip():
        return {}
    try:
        return {
            _text(item["key"]): _text(item.get("code") or "")
            for item in parse(text).get("errors") or ()
        }
    except (KeyError, TypeError) as exc:
        raise ConfusedServer("an error of the batch is incomplete") from exc


def complete_document(parts: Iterable[Part]) -> bytes:
    """Return the body that makes an object of `parts`."""
    return _bytes({"parts": [{"partNumber": part.number, "eTag": part.tag} for part in parts]})


def delete_document(keys: Iterable[str]) -> bytes:
    """Return the body that deletes `keys`."""
    return _bytes({"objects": [{"key": key} for key in keys]})


def _bytes(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, {type(value).__name__} came")
    return value
