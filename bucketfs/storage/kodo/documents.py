"""Kodo's JSON answers <-> what the seam calls infos and pages; pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bucketfs.errors import ConfusedServer
from bucketfs.storage.headers import content_range, seconds_ns
from bucketfs.storage.interface import ListPage, ObjectInfo, Part, Version
from bucketfs.storage.kodo.metadata import PREFIX, parse_fields, storage_class_name
from bucketfs.transport.exchange import Response

_TICKS = 10_000_000
"""Kodo counts time in units of 100 ns."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises: ConfusedServer."""
    found = _parsed(body)
    if not isinstance(found, dict):
        raise ConfusedServer("the answer is not a JSON object")
    return found


def parse_list(body: bytes) -> list[Any]:
    """Return the JSON array in an answer. Raises: ConfusedServer."""
    found = _parsed(body)
    if not isinstance(found, list):
        raise ConfusedServer("the answer is not a JSON array")
    return found


def stat_info(key: str, fields: Mapping[str, Any]) -> ObjectInfo:
    """Return the info that an answer to `stat` holds. Raises: ConfusedServer."""
    metadata = fields.get("x-qn-meta") or {}
    try:
        return _info(key, fields, parse_fields(dict(metadata)))
    except (AttributeError, ValueError, TypeError) as exc:
        raise ConfusedServer("an object's metadata make no sense", key=key) from exc


def download_info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """Return the info that the headers of a download carry. Raises: ConfusedServer."""
    bounds, length = content_range(headers), headers.get("content-length", "")
    if bounds is None and not length.isdigit():
        raise ConfusedServer("the download domain does not tell the size", key=key)
    size = bounds[2] if bounds is not None else int(length)
    tag = headers.get("etag", "").removeprefix("W/").strip('"')
    if not tag:
        raise ConfusedServer("the download domain does not tell the ETag", key=key)
    metadata = {
        name[len(PREFIX) :]: value.encode("latin-1").decode("utf-8", "surrogateescape")
        for name, value in headers.items()
        if name.startswith(PREFIX)
    }
    modified_ns = seconds_ns(headers.get("last-modified"))
    content_type = headers.get("content-type")
    return ObjectInfo(key, size, Version(tag), modified_ns, parse_fields(metadata), content_type)


def parse_page(body: bytes, marker: str | None) -> ListPage:
    """Return a page of a listing. `marker` is the one that was asked with.

    A prefix whose keys the page before had begun may come again: it is left out.
    """
    fields = parse_object(body)
    last = _last_key(marker)
    try:
        # Even an empty page has "items": without, it is no listing, and nothing is not known.
        objects = [_info(item["key"], item, None) for item in _listed(fields["items"])]
        prefixes = [str(name) for name in fields.get("commonPrefixes") or ()]
    except (KeyError, TypeError) as exc:
        raise ConfusedServer("a listed object is incomplete") from exc
    fresh = [name for name in dict.fromkeys(prefixes) if not last.startswith(name)]
    return ListPage(objects, fresh, fields.get("marker") or None)


def _listed(items: object) -> list[Any]:
    if not isinstance(items, list | None):
        raise ConfusedServer("the listed objects are no list")
    return items or []


def parse_parts(body: bytes) -> tuple[Sequence[Part], int]:
    """Return a page of an upload's parts, and the number to go on after (0: that was all)."""
    fields = parse_object(body)
    try:
        parts = [
            Part(int(item["partNumber"]), str(item["etag"]), int(item["size"]))
            for item in fields.get("parts") or ()
        ]
        return parts, int(fields.get("partNumberMarker") or 0)
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfusedServer("a listed part is incomplete") from exc


def text_of(response: Response, name: str) -> str:
    """Return a text that an answer has to hold. Raises: ConfusedServer."""
    value = parse_object(response.body).get(name)
    if not isinstance(value, str) or not value:
        raise ConfusedServer(f"the answer does not tell {name!r}")
    return value


def _info(key: str, fields: Mapping[str, Any], metadata: dict[str, str] | None) -> ObjectInfo:
    try:
        return ObjectInfo(
            key,
            int(fields["fsize"]),
            Version(str(fields["hash"])),
            # Whole seconds, as downloads tell it: one object is to have one time.
            int(fields.get("putTime") or 0) // _TICKS * 10**9,
            metadata,
            fields.get("mimeType") or None,
            storage_class_name(int(fields.get("type") or 0)),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfusedServer("what is told of an object is incomplete", key=key) from exc


def _last_key(marker: str | None) -> str:
    """Return the last name of the page before, where its marker can be read; else nothing."""
    try:
        found = json.loads(base64.b64decode(marker or "", altchars=b"-_"))
        name = found.get("k")
    except (binascii.Error, ValueError, AttributeError):
        return ""
    return name if isinstance(name, str) else ""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ConfusedServer("the answer is not JSON") from exc
