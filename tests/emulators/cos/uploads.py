"""What COS does with multipart uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import fromstring
from werkzeug.wrappers import Response

from tests.emulators.cos import kept as rules
from tests.emulators.cos.objects import Objects, iso_date
from tests.emulators.cos.refusals import Content, Refused, document
from tests.emulators.keeping import Bucket, KeptPart, KeptUpload
from tests.emulators.serving import Ask

MIN_PART_BYTES = 1 << 20
MAX_PART_BYTES = 5 << 30
MAX_PARTS = 10_000
_OWNER: Content = [("ID", "100000000001"), ("DisplayName", "100000000001")]


class Uploads:
    """The operations on uploads; `objects` knows what can be copied."""

    def __init__(self, objects: Objects, now_s: Callable[[], float]) -> None:
        self._objects = objects
        self._now_s = now_s

    def begin(self, bucket: Bucket, ask: Ask) -> Response:
        """Initiate Multipart Upload."""
        rules.check_key(ask.key)
        upload = bucket.begin(
            ask.key, self._now_s(), rules.headers_beside(ask), rules.storage_class(ask)
        )
        return document(
            "InitiateMultipartUploadResult",
            [("Bucket", bucket.name), ("Key", ask.key), ("UploadId", upload.upload_id)],
        )

    def put_part(self, bucket: Bucket, ask: Ask) -> Response:
        """Upload Part and Upload Part - Copy."""
        number = ask.parameter("partNumber") or ""
        if not (number.isdigit() and 1 <= int(number) <= MAX_PARTS):
            raise Refused(400, "InvalidArgument", "A part's number is 1 to 10000.")
        upload = _upload(bucket, ask)
        if "x-cos-copy-source" in ask.headers:
            return self._copy_part(upload, int(number), ask)
        rules.check_traffic_limit(ask)
        data = rules.checked_body(ask)
        if len(data) > MAX_PART_BYTES:
            raise Refused(400, "EntityTooLarge")
        part = self._keep(bucket, upload, int(number), data)
        headers = {"ETag": f'"{part.etag}"', "x-cos-hash-crc64ecma": rules.crc64(data)}
        return Response(status=200, headers=headers)

    def list_parts(self, bucket: Bucket, ask: Ask) -> Response:
        """List Parts."""
        upload = _upload(bucket, ask)
        after = int(ask.parameter("part-number-marker") or 0)
        limit = min(int(ask.parameter("max-parts") or 1000), 1000)
        numbers = sorted(number for number in upload.parts if number > after)
        shown = numbers[:limit]
        parts: list[tuple[str, Content]] = [
            ("Part", _listed_part(number, upload.parts[number])) for number in shown
        ]
        return document(
            "ListPartsResult",
            [
                ("Bucket", bucket.name),
                ("Encoding-type", ask.parameter("encoding-type") or ""),
                ("Key", rules.listed_key(ask, upload.key)),
                ("UploadId", upload.upload_id),
                ("Initiator", _OWNER),
                ("Owner", _OWNER),
                ("StorageClass", upload.storage_class),
                ("PartNumberMarker", str(after)),
                ("NextPartNumberMarker", str(shown[-1] if shown else 0)),
                ("MaxParts", str(limit)),
                ("IsTruncated", str(len(numbers) > len(shown)).lower()),
                *parts,
            ],
        )

    def complete(self, bucket: Bucket, ask: Ask) -> Response:
        """Complete Multipart Upload."""
        wanted = _wanted_parts(ask)
        with bucket.lock:
            upload = _upload(bucket, ask)
            parts = _checked_parts(upload, wanted)
            rules.check_overwrite(ask, bucket, ask.key)
            data = b"".join(part.data for part in parts)
            joined = b"".join(bytes.fromhex(part.etag) for part in parts)
            digest = hashlib.md5(joined, usedforsecurity=False).hexdigest()
            made = rules.made(
                data, f"{digest}-{len(parts)}", self._now_s(), upload.headers, upload.storage_class
            )
            bucket.put(upload.key, made)
            del bucket.uploads[upload.upload_id]
        response = document(
            "CompleteMultipartUploadResult",
            [
                ("Location", f"http://{ask.host}/{ask.key}"),
                ("Bucket", bucket.name),
                ("Key", ask.key),
                ("ETag", f'"{made.etag}"'),
            ],
        )
        response.headers["x-cos-hash-crc64ecma"] = made.details["crc64"]
        return response

    def abort(self, bucket: Bucket, ask: Ask) -> Response:
        """Abort Multipart Upload."""
        with bucket.lock:
            del bucket.uploads[_upload(bucket, ask).upload_id]
        return Response(status=204)

    def list_uploads(self, bucket: Bucket, ask: Ask) -> Response:
        """List Multipart Uploads."""
        prefix = ask.parameter("prefix") or ""
        after = (
            ask.parameter("key-marker") or "",
            ask.parameter("upload-id-marker") or "\U0010ffff",
        )
        limit = min(int(ask.parameter("max-uploads") or 1000), 1000)
        found = sorted(
            (upload for upload in list(bucket.uploads.values()) if upload.key.startswith(prefix)),
            key=lambda upload: (upload.key, upload.upload_id),
        )
        found = [item for item in found if (item.key, item.upload_id) > after or after[0] == ""]
        shown = found[:limit]
        is_more = len(found) > len(shown)
        uploads: list[tuple[str, Content]] = [
            ("Upload", _listed_upload(ask, upload)) for upload in shown
        ]
        return document(
            "ListMultipartUploadsResult",
            [
                ("Bucket", bucket.name),
                ("EncodingType", ask.parameter("encoding-type") or ""),
                ("KeyMarker", ask.parameter("key-marker") or ""),
                ("UploadIdMarker", ask.parameter("upload-id-marker") or ""),
                ("NextKeyMarker", rules.listed_key(ask, shown[-1].key) if is_more else ""),
                ("NextUploadIdMarker", shown[-1].upload_id if is_more else ""),
                ("MaxUploads", str(limit)),
                ("IsTruncated", str(is_more).lower()),
                ("Prefix", rules.listed_key(ask, prefix)),
                *uploads,
            ],
        )

    def _copy_part(self, upload: KeptUpload, number: int, ask: Ask) -> Response:
        name, key = rules.copy_source(ask)
        source = self._objects.source(name, key, ask)
        bounds = rules.range_of(ask.headers.get("x-cos-copy-source-range"), len(source.data))
        start, stop = bounds if bounds is not None else (0, len(source.data))
        part = KeptPart(source.data[start:stop], rules.md5(source.data[start:stop]), self._now_s())
        upload.parts[number] = part
        return document(
            "CopyPartResult",
            [("ETag", f'"{part.etag}"'), ("LastModified", iso_date(part.modified_s))],
        )

    def _keep(self, bucket: Bucket, upload: KeptUpload, number: int, data: bytes) -> KeptPart:
        part = KeptPart(data, rules.md5(data), self._now_s())
        with bucket.lock:
            if upload.upload_id not in bucket.uploads:
                raise Refused(404, "NoSuchUpload")
            upload.parts[number] = part
        return part


def _upload(bucket: Bucket, ask: Ask) -> KeptUpload:
    upload = bucket.uploads.get(ask.parameter("uploadId") or "")
    if upload is None or upload.key != ask.key:
        raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
    return upload


def _wanted_parts(ask: Ask) -> list[tuple[int, str]]:
    try:
        tree = fromstring(rules.checked_body(ask))
        found = []
        for child in tree:
            fields = {field.tag.rpartition("}")[2]: field.text or "" for field in child}
            found.append((int(fields["PartNumber"]), fields["ETag"].strip().strip('"')))
    except (ParseError, KeyError, ValueError) as exc:
        raise Refused(400, "MalformedXML") from exc
    if not found:
        raise Refused(400, "MalformedXML", "There are no parts.")
    return found


def _checked_parts(upload: KeptUpload, wanted: list[tuple[int, str]]) -> list[KeptPart]:
    numbers = [number for number, _ in wanted]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise Refused(400, "InvalidPartOrder")
    parts = []
    for number, etag in wanted:
        part = upload.parts.get(number)
        if part is None or part.etag != etag:
            raise Refused(400, "InvalidPart")
        parts.append(part)
    if any(len(part.data) < MIN_PART_BYTES for part in parts[:-1]):
        raise Refused(400, "EntityTooSmall")
    return parts


def _listed_part(number: int, part: KeptPart) -> Content:
    return [
        ("PartNumber", str(number)),
        ("LastModified", iso_date(part.modified_s)),
        ("ETag", f'"{part.etag}"'),
        ("Size", str(len(part.data))),
    ]


def _listed_upload(ask: Ask, upload: KeptUpload) -> Content:
    return [
        ("Key", rules.listed_key(ask, upload.key)),
        ("UploadId", upload.upload_id),
        ("StorageClass", upload.storage_class),
        ("Initiator", _OWNER),
        ("Owner", _OWNER),
        ("Initiated", iso_date(upload.began_s)),
    ]
