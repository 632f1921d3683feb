"""What COS does with single objects: put, get, append, copy, delete, restore, symlink."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote, unquote
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import fromstring
from werkzeug.wrappers import Response

from tests.emulators.cos import kept as rules
from tests.emulators.cos.refusals import Content, Refused, document
from tests.emulators.keeping import Bucket, Buckets, KeptObject
from tests.emulators.serving import Ask

MAX_APPENDED_BYTES = 5 << 30
MAX_COPY_BYTES = 5 << 30
MAX_BATCH_KEYS = 1000


class Objects:
    """The operations on objects; `now_s` is the cloud's clock."""

    def __init__(self, buckets: Buckets, now_s: Callable[[], float]) -> None:
        self._buckets = buckets
        self._now_s = now_s

    def put(self, bucket: Bucket, ask: Ask) -> Response:
        """PUT Object."""
        rules.check_key(ask.key)
        rules.check_traffic_limit(ask)
        data = rules.checked_body(ask)
        made = rules.made(
            data,
            rules.md5(data),
            self._now_s(),
            rules.headers_beside(ask),
            rules.storage_class(ask),
        )
        with bucket.lock:
            rules.check_overwrite(ask, bucket, ask.key)
            bucket.put(ask.key, made)
        return _stored(made)

    def get(self, bucket: Bucket, ask: Ask) -> Response:
        """GET Object and HEAD Object."""
        kept = self._followed(bucket, ask.key)
        rules.check_conditions(ask.headers, kept)
        rules.check_traffic_limit(ask)
        is_restored = "restore" in kept.details
        if ask.method == "GET" and kept.storage_class in rules.ARCHIVED and not is_restored:
            raise Refused(403, "InvalidObjectState", "The object is archived.")
        headers = rules.headers_of(kept)
        for name, value in ask.query:
            if name.startswith("response-"):
                headers[name.removeprefix("response-").title()] = value
        bounds = rules.range_of(ask.headers.get("range"), len(kept.data))
        if ask.method == "HEAD" or bounds is None:
            return Response(kept.data, 200, headers)
        start, stop = bounds
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(kept.data)}"
        return Response(kept.data[start:stop], 206, headers)

    def append(self, bucket: Bucket, ask: Ask) -> Response:
        """APPEND Object."""
        rules.check_key(ask.key)
        rules.check_traffic_limit(ask)
        if "content-length" not in ask.headers:
            raise Refused(411, "MissingContentLength")
        position = ask.parameter("position") or ""
        if not position.isdigit():
            raise Refused(400, "InvalidArgument", "The position is not a number.")
        data = rules.checked_body(ask)
        with bucket.lock:
            before = bucket.get(ask.key)
            grown = self._grown(before, int(position), data, ask)
            bucket.put(ask.key, grown)
        response = _stored(grown)
        response.headers["x-cos-next-append-position"] = str(len(grown.data))
        response.headers["x-cos-content-sha1"] = hashlib.sha1(data).hexdigest()
        return response

    def _grown(self, before: KeptObject | None, position: int, data: bytes, ask: Ask) -> KeptObject:
        if before is not None and before.kind != "appendable":
            raise Refused(409, "ObjectNotAppendable", "The object was not made by appending.")
        if position != (len(before.data) if before is not None else 0):
            raise Refused(409, "PositionNotEqualToLength")
        if position + len(data) > MAX_APPENDED_BYTES:
            raise Refused(400, "EntityTooLarge")
        whole = (before.data if before is not None else b"") + data
        etag = f"{rules.md5(whole).upper()}-A"
        if before is not None:
            details = {**before.details, "crc64": rules.crc64(whole)}
            return replace(before, data=whole, etag=etag, modified_s=self._now_s(), details=details)
        headers, name = rules.headers_beside(ask), rules.storage_class(ask)
        if name.endswith("INTELLIGENT_TIERING"):
            raise Refused(400, "InvalidArgument", "Such an object cannot be appended to.")
        return rules.made(whole, etag, self._now_s(), headers, name, "appendable")

    def copy(self, bucket: Bucket, ask: Ask) -> Response:
        """PUT Object - Copy."""
        rules.check_key(ask.key)
        name, key = rules.copy_source(ask)
        directive = ask.headers.get("x-cos-metadata-directive", "Copy").lower()
        if directive not in ("copy", "replaced"):
            raise Refused(400, "InvalidArgument", "The metadata directive is unknown.")
        source = self.source(name, key, ask)
        if len(source.data) > MAX_COPY_BYTES:
            raise Refused(400, "EntityTooLarge")
        storage = rules.storage_class(ask)
        is_itself = (name, key) == (bucket.name, ask.key)
        if directive == "copy" and is_itself and storage == source.storage_class:
            raise Refused(400, "InvalidRequest", "The copy changes nothing.")
        headers = source.headers if directive == "copy" else rules.headers_beside(ask)
        made = rules.made(source.data, source.etag, self._now_s(), headers, storage)
        with bucket.lock:
            rules.check_overwrite(ask, bucket, ask.key)
            bucket.put(ask.key, made)
        response = document(
            "CopyObjectResult",
            [
                ("ETag", f'"{made.etag}"'),
                ("CRC64", made.details["crc64"]),
                ("LastModified", iso_date(made.modified_s)),
            ],
        )
        response.headers["x-cos-hash-crc64ecma"] = made.details["crc64"]
        return response

    def source(self, name: str, key: str, ask: Ask) -> KeptObject:
        """Return what is to be copied. Raises: Refused."""
        bucket = self._buckets.get(name)
        if bucket is None:
            raise Refused(404, "NoSuchBucket")
        kept = rules.found(bucket, key)
        rules.check_conditions(ask.headers, kept, "x-cos-copy-source-")
        if kept.kind == "appendable":
            raise Refused(409, "OperationNotAllowed", "An appendable object cannot be copied.")
        if kept.storage_class in rules.ARCHIVED and "restore" not in kept.details:
            raise Refused(403, "InvalidObjectState", "The object is archived.")
        return kept

    def delete(self, bucket: Bucket, ask: Ask) -> Response:
        """DELETE Object: the same answer whether there was one."""
        bucket.remove(ask.key)
        return Response(status=204)

    def delete_many(self, bucket: Bucket, ask: Ask) -> Response:
        """DELETE Multiple Objects."""
        if "content-md5" not in ask.headers:
            raise Refused(400, "InvalidRequest", "Content-MD5 is missing.")
        try:
            tree = fromstring(rules.checked_body(ask))
        except ParseError as exc:
            raise Refused(400, "MalformedXML") from exc
        keys, is_quiet = [], False
        for child in tree:
            if _local(child.tag) == "Object":
                keys += [field.text or "" for field in child if _local(field.tag) == "Key"]
            elif _local(child.tag) == "Quiet":
                is_quiet = (child.text or "").strip().lower() == "true"
        if not 0 < len(keys) <= MAX_BATCH_KEYS:
            raise Refused(400, "MalformedXML", "A batch has 1 to 1000 keys.")
        done: list[tuple[str, Content]] = []
        for key in keys:
            bucket.remove(key)
            done.append(("Deleted", [("Key", key)]))
        return document("DeleteResult", [] if is_quiet else done)

    def restore(self, bucket: Bucket, ask: Ask) -> Response:
        """POST Object restore; it is done at once."""
        with bucket.lock:
            kept = rules.found(bucket, ask.key)
            if kept.storage_class not in rules.ARCHIVED:
                raise Refused(403, "InvalidObjectState", "The object is not archived.")
            ends = formatdate(self._now_s() + 86400, usegmt=True)
            told = f'ongoing-request="false", expiry-date="{ends}"'
            status = 200 if "restore" in kept.details else 202
            bucket.put(ask.key, replace(kept, details={**kept.details, "restore": told}))
        return Response(status=status)

    def put_symlink(self, bucket: Bucket, ask: Ask) -> Response:
        """PUT Symlink: a name for another key."""
        raw = ask.headers.get("x-cos-symlink-target", "").encode("latin-1").decode()
        target = unquote(raw)
        if not target:
            raise Refused(400, "InvalidArgument", "The link has no target.")
        made = rules.made(
            b"", rules.md5(target.encode()), self._now_s(), {}, kind="symlink",
            details={"target": target},
        )  # fmt: skip
        with bucket.lock:
            rules.check_overwrite(ask, bucket, ask.key)
            bucket.put(ask.key, made)
        return Response(status=200, headers={"ETag": f'"{made.etag}"'})

    def get_symlink(self, bucket: Bucket, ask: Ask) -> Response:
        """GET Symlink."""
        kept = rules.found(bucket, ask.key)
        if kept.kind != "symlink":
            raise Refused(400, "InvalidArgument", "The object is no symlink.")
        target = quote(kept.details["target"], safe="/-_.~")
        return Response(status=200, headers={"x-cos-symlink-target": target})

    def _followed(self, bucket: Bucket, key: str) -> KeptObject:
        kept = rules.found(bucket, key)
        return rules.found(bucket, kept.details["target"]) if kept.kind == "symlink" else kept


def iso_date(moment_s: float) -> str:
    """Return a date as documents show it."""
    moment = datetime.fromtimestamp(int(moment_s), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _stored(kept: KeptObject) -> Response:
    return Response(
        status=200,
        headers={"ETag": f'"{kept.etag}"', "x-cos-hash-crc64ecma": kept.details["crc64"]},
    )


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
