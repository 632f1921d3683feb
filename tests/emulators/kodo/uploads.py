"""The "up" service: form uploads, and uploads in parts of both versions."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import uuid
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from tests.emulators.keeping import Bucket, KeptObject, KeptPart, KeptUpload
from tests.emulators.kodo.answers import Refused, decoded_text, encoded
from tests.emulators.kodo.stored import (
    BLOCK,
    META,
    Cloud,
    check_key,
    new_object,
    parts_qetag,
    qetag,
)
from tests.emulators.serving import Ask

MIN_PART = 1 << 20
MAX_PARTS = 10_000
LIFE_S = 7 * 86400

Policy = Mapping[str, Any]


class Uploads:
    """Stores what comes; `policy_of` checks an upload token. All raise Refused."""

    def __init__(
        self, cloud: Cloud, now_s: Callable[[], float], policy_of: Callable[[str], Policy]
    ) -> None:
        self._cloud = cloud
        self._now_s = now_s
        self._policy_of = policy_of

    def form(self, ask: Ask) -> Any:
        """Store the file of a form."""
        kind, options = parse_options_header(ask.headers.get("content-type", ""))
        if kind != "multipart/form-data" or "boundary" not in options:
            raise Refused(400, "multipart/form-data needed")
        parser = MultiPartParser(max_form_memory_size=None)
        try:
            fields, files = parser.parse(
                BytesIO(ask.body), options["boundary"].encode(), len(ask.body)
            )
        except ValueError as exc:
            raise Refused(400, "malformed form") from exc
        if "token" not in fields or "file" not in files:
            raise Refused(400, "token and file needed")
        policy = self._policy_of(fields["token"])
        data = files["file"].stream.read()
        if "crc32" in fields and fields["crc32"] != str(zlib.crc32(data)):
            raise Refused(406, "crc32 mismatch")
        meta = {name: value for name, value in fields.items() if name.lower().startswith(META)}
        mime = files["file"].content_type or ""
        key = fields.get("key")
        return self._store(policy, key, [data], qetag(data), mime, meta, fields)

    def parts(self, ask: Ask) -> Any:
        """Do one request of an upload of version 2."""
        match = re.fullmatch(
            r"/buckets/([^/]+)/objects/([^/]*)/uploads(?:/([^/?]+)(?:/([0-9]+))?)?",
            ask.target.partition("?")[0],
        )
        if match is None:
            raise Refused(404, "no such path")
        policy = self._policy_of(_bearer(ask))
        bucket = self._cloud.bucket(match[1])
        key = None if match[2] == "~" else decoded_text(match[2])
        _check_scope(policy, bucket.name, key)
        if match[3] is None:
            return self._begin(bucket, key)
        upload = bucket.uploads.get(match[3])
        if upload is None or upload.key != (key or "") or upload.began_s + LIFE_S < self._now_s():
            raise Refused(612, "no such uploadId")
        if match[4] is not None:
            return self._take_part(upload, int(match[4]), ask)
        if ask.method == "GET":
            return _listed(upload, ask)
        if ask.method == "DELETE":
            del bucket.uploads[upload.upload_id]
            return None
        return self._complete(policy, bucket, upload, key, ask.body)

    def blocks(self, ask: Ask) -> Any:
        """Do one request of an upload of version 1."""
        policy = self._policy_of(_bearer(ask))
        name, *segments = ask.target.strip("/").split("/")
        if name == "mkblk":
            if int(segments[0]) > BLOCK or len(ask.body) > int(segments[0]):
                raise Refused(400, "block too large")
            return self._new_block(ask)
        if name == "bput":
            before = self._block(segments[0])
            if len(before) != int(segments[1]) or len(before) + len(ask.body) > BLOCK:
                raise Refused(701, "wrong offset")
            return self._new_block(ask, before)
        size, pairs = int(segments[0]), segments[1:]
        fields = {
            name: decoded_text(value) for name, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
        data = [self._block(ctx) for ctx in ask.body.decode().split(",") if ctx]
        if sum(map(len, data)) != size:
            raise Refused(400, "wrong size")
        meta = {name: value for name, value in fields.items() if name.lower().startswith(META)}
        whole = b"".join(data)
        mime = fields.get("mimeType", "")
        return self._store(policy, fields.get("key"), [whole], qetag(whole), mime, meta, fields)

    def _new_block(self, ask: Ask, before: bytes = b"") -> Any:
        data = before + ask.body
        ctx = uuid.uuid4().hex
        self._cloud.blocks[ctx] = (data, self._now_s() + LIFE_S)
        return {
            "ctx": ctx,
            "checksum": encoded(hashlib.sha1(data).digest()),
            "crc32": zlib.crc32(ask.body),
            "offset": len(data),
            "host": f"http://{ask.host}",
            "expired_at": int(self._now_s() + LIFE_S),
        }

    def _block(self, ctx: str) -> bytes:
        data, ends_s = self._cloud.blocks.get(ctx, (b"", 0.0))
        if ends_s < self._now_s():
            raise Refused(701, "invalid or expired ctx")
        return data

    def _begin(self, bucket: Bucket, key: str | None) -> Any:
        if key is not None:
            check_key(key)
        upload = bucket.begin(key or "", self._now_s(), {})
        return {"uploadId": upload.upload_id, "expireAt": int(upload.began_s + LIFE_S)}

    def _take_part(self, upload: KeptUpload, number: int, ask: Ask) -> Any:
        if not 1 <= number <= MAX_PARTS:
            raise Refused(400, "invalid part number")
        md5 = hashlib.md5(ask.body).hexdigest()
        if ask.headers.get("content-md5", md5) != md5:
            raise Refused(406, "md5 mismatch")
        # A tag of its own for each sending: it says nothing that a client could compute.
        tag = f"{qetag(ask.body)}.{uuid.uuid4().hex[:8]}"
        upload.parts[number] = KeptPart(ask.body, tag, self._now_s())
        return {"etag": tag, "md5": md5}

    def _complete(
        self, policy: Policy, bucket: Bucket, upload: KeptUpload, key: str | None, body: bytes
    ) -> Any:
        try:
            document = json.loads(body)
            named = [(int(item["partNumber"]), item["etag"]) for item in document["parts"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise Refused(400, "malformed document") from exc
        numbers = [number for number, _ in named]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refused(400, "parts are not ascending")
        if any(n not in upload.parts or upload.parts[n].etag != tag for n, tag in named):
            raise Refused(400, "invalid part")
        parts = [upload.parts[number].data for number in numbers]
        if any(len(part) < MIN_PART for part in parts[:-1]):
            raise Refused(400, "part too small")
        meta = document.get("metadata") or {}
        mime = document.get("mimeType") or ""
        variables = document.get("customVars") or {}
        made = self._store(policy, key, parts, parts_qetag(parts), mime, meta, variables)
        bucket.uploads.pop(upload.upload_id, None)
        return made

    def _store(
        self,
        policy: Policy,
        key: str | None,
        parts: list[bytes],
        hash_: str,
        mime: str,
        meta: Mapping[str, str],
        variables: Mapping[str, str],
    ) -> Any:
        bucket = self._cloud.bucket(policy["scope"].partition(":")[0])
        _check_scope(policy, bucket.name, key)
        if key is None:
            key = policy.get("saveKey") or hash_
        check_key(key)
        data = b"".join(parts)
        _check_limits(policy, len(data), mime)
        kept = new_object(
            data,
            hash_,
            self._now_s(),
            _type_of(policy, mime, key),
            {name.lower(): value for name, value in meta.items()},
            file_type=int(policy.get("fileType", 0)),
            parts=[len(part) for part in parts],
            days=int(policy.get("deleteAfterDays", 0)),
        )
        with bucket.lock:
            kept = _put(policy, bucket, key, kept)
        return _answer(policy, bucket.name, key, kept, variables)


def _put(policy: Policy, bucket: Bucket, key: str, kept: KeptObject) -> KeptObject:
    there = bucket.get(key)
    is_insert = (
        ":" not in policy["scope"] or policy.get("insertOnly") or policy.get("isPrefixalScope")
    )
    if there is None or not is_insert:
        return bucket.put(key, kept)
    if there.etag == kept.etag:
        return there  # Bytes that are there already are accepted, and nothing changes.
    raise Refused(614, "file exists")


def _answer(
    policy: Policy, bucket: str, key: str, kept: KeptObject, variables: Mapping[str, str]
) -> Any:
    if policy.get("callbackUrl"):
        raise Refused(579, "callback failed")
    if not policy.get("returnBody"):
        return {"hash": kept.etag, "key": key}
    known = {
        "key": key,
        "etag": kept.etag,
        "fsize": len(kept.data),
        "mimeType": kept.headers["mime"],
        "bucket": bucket,
        "fname": "",
        **{name: value for name, value in variables.items() if name.startswith("x:")},
    }
    text = re.sub(
        r"\$\(([^)]+)\)", lambda match: json.dumps(known.get(match[1])), policy["returnBody"]
    )
    return json.loads(text)


def _check_scope(policy: Policy, bucket: str, key: str | None) -> None:
    wanted, colon, scope_key = policy["scope"].partition(":")
    if wanted != bucket:
        raise Refused(403, "bucket not match")
    if not colon:
        return
    if policy.get("isPrefixalScope"):
        is_inside = key is not None and key.startswith(scope_key)
    else:
        is_inside = key == scope_key
    if not is_inside:
        raise Refused(403, "key doesn't match with scope")


def _check_limits(policy: Policy, size: int, mime: str) -> None:
    if size > policy.get("fsizeLimit", size):
        raise Refused(413, "exceed FsizeLimit")
    if size < policy.get("fsizeMin", 0):
        raise Refused(403, "less than FsizeMin")
    limit = policy.get("mimeLimit")
    if limit and not any(re.fullmatch(kind.replace("*", ".*"), mime) for kind in limit.split(";")):
        raise Refused(403, "limited mimeType")


def _type_of(policy: Policy, mime: str, key: str) -> str:
    """Return the type to keep: as it was sent if detectMime is -1; else guessed where it is vague.

    A type that is not given, or is the vaguest of all, is looked for in the key's extension.
    """
    vague = "application/octet-stream"
    if policy.get("detectMime", 0) == -1 or mime not in ("", vague):
        return mime or vague
    return mimetypes.guess_type(key)[0] or vague


def _listed(upload: KeptUpload, ask: Ask) -> Any:
    query = dict(ask.query)
    after = int(query.get("part-number-marker") or query.get("part-number_marker") or 0)
    limit = int(query.get("max-parts") or 1000)
    numbers = sorted(number for number in upload.parts if number > after)
    page = numbers[:limit]
    return {
        "uploadId": upload.upload_id,
        "expireAt": int(upload.began_s + LIFE_S),
        "partNumberMarker": page[-1] if len(numbers) > limit else 0,
        "parts": [
            {
                "size": len(upload.parts[number].data),
                "etag": upload.parts[number].etag,
                "partNumber": number,
                "putTime": int(upload.parts[number].modified_s),
            }
            for number in page
        ],
    }


def _bearer(ask: Ask) -> str:
    kind, _, token = ask.headers.get("authorization", "").partition(" ")
    if kind != "UpToken":
        raise Refused(401, "bad token")
    return token
