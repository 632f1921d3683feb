"""Downloads from a bucket's domain: signed URLs, ranges, and attributes as headers."""

from __future__ import annotations

import re

from werkzeug.http import http_date
from werkzeug.wrappers import Response

from tests.emulators.keeping import Bucket, KeptObject
from tests.emulators.kodo.answers import Refused, finished, json_answer
from tests.emulators.kodo.stored import META, is_archived, meta_of
from tests.emulators.serving import Ask


def download(bucket: Bucket, ask: Ask) -> Response:
    """Answer a GET or HEAD whose signature was checked. Raises: Refused."""
    if ask.method not in ("GET", "HEAD"):
        raise Refused(405, "method not allowed")
    kept = bucket.get(ask.key)
    if kept is None:
        raise Refused(404, "Document not found")
    if kept.details.get("status") == "1":
        raise Refused(403, "file is disabled")
    if is_archived(kept):
        raise Refused(403, "file is archived and not restored")
    etag = f'"{kept.etag}"'
    if ask.headers.get("if-none-match") == etag:
        return finished(Response(status=304, headers={"ETag": etag}))
    bounds = _bounds(ask.headers.get("range"), len(kept.data))
    if bounds is None and "range" in ask.headers:
        answer = json_answer(416, {"error": "invalid range"})
        answer.headers["Content-Range"] = f"bytes */{len(kept.data)}"
        return answer
    first, last = bounds or (0, len(kept.data) - 1)
    response = Response(kept.data[first : last + 1], 206 if bounds else 200)
    _describe(response, kept, etag)
    if bounds:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{len(kept.data)}"
    name = ask.parameter("attname")
    if name is not None:
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return finished(response)


def _describe(response: Response, kept: KeptObject, etag: str) -> None:
    response.headers["Content-Type"] = kept.headers["mime"]
    response.headers["ETag"] = etag
    response.headers["Last-Modified"] = http_date(kept.modified_s)
    response.headers["Accept-Ranges"] = "bytes"
    for field, value in meta_of(kept).items():
        name = field[len(META) :]
        header = (
            name[1:]
            if name.startswith("!")
            else "-".join(word.capitalize() for word in field.split("-"))
        )
        response.headers[header] = value.encode().decode("latin-1")


def _bounds(header: str | None, size: int) -> tuple[int, int] | None:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not any(match.groups()):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    return (first, last) if first <= last else None
