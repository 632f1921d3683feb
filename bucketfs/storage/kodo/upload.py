"""KodoUpload: one upload in parts (resumable upload v2)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from bucketfs.errors import (
    ConfusedServer,
    NotSupported,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.headers import stored_info
from bucketfs.storage.interface import (
    ABSENT,
    Body,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.kodo.calls import Calls
from bucketfs.storage.kodo.documents import parse_object, parse_parts, text_of
from bucketfs.storage.kodo.metadata import content_type_of, fields_of
from bucketfs.storage.kodo.preconditions import Guard, Stat
from bucketfs.storage.kodo.qetag import HashedPart, MeasuredBody, joined_qetag
from bucketfs.transport.sign_kodo import encode

_log = logging.getLogger(__name__)


class KodoUpload:
    """An upload of one key. Its attributes are sent with the commit."""

    def __init__(
        self,
        calls: Calls,
        guard: Guard,
        stat: Stat,
        key: str,
        attributes: ObjectAttributes,
        upload_id: str,
    ) -> None:
        self.upload_id = upload_id
        self._calls = calls
        self._guard = guard
        self._stat = stat
        self._key = key
        self._attributes = attributes
        self._sent: dict[tuple[int, str], HashedPart] = {}
        """What was sent, by number and tag: the hash of the whole is made of it."""

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`. Raises: ObjectNotFound where the upload is gone."""
        measured = MeasuredBody(body)
        response = await self._calls.upload(
            "PUT",
            "add_part",
            self._key,
            self._target(number),
            body=measured,
            content_type="application/octet-stream",
        )
        tag = text_of(response, "etag")
        if parse_object(response.body).get("md5", measured.md5) != measured.md5:
            raise Transient("other bytes came than were sent", key=self._key, operation="add_part")
        self._sent[number, tag] = HashedPart(measured.size, measured.digest)
        return Part(number, tag, measured.size)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Raise NotSupported: Kodo copies whole objects only."""
        raise NotSupported("Kodo cannot copy parts", key=self._key, operation="copy_part")

    async def list_parts(self) -> Sequence[Part]:
        """Return what the store has. Raises: ObjectNotFound where the upload is gone."""
        found: list[Part] = []
        after = 0
        while True:
            target = f"{self._target()}?max-parts=1000&part-number-marker={after}"
            response = await self._calls.upload("GET", "list_parts", self._key, target)
            parts, following = parse_parts(response.body)
            found += parts
            if not parts or following <= after:
                return sorted(found, key=lambda part: part.number)
            after = following

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists; ObjectNotFound (no such upload).

        An upload that is gone because an earlier commit, whose answer was lost, did succeed, is a
        success: the object then has the hash that these parts give.
        """
        await self._guard.check(self._key, precondition)
        self._guard.forget(self._key)
        try:
            response = await self._calls.upload(
                "POST",
                "commit",
                self._key,
                self._target(),
                body=self._document(parts),
                content_type="application/json",
                is_insert=precondition == ABSENT,
            )
        except ObjectNotFound:
            return self._guard.wrote(await self._already_committed(parts))
        size, version = sum(part.size for part in parts), text_of(response, "hash")
        info = stored_info(self._key, size, version, response.headers, self._attributes)
        await self._check_hash(info, parts)
        return self._guard.wrote(info)

    async def abort(self) -> None:
        """Drop the upload; one that is gone already is no error."""
        try:
            await self._calls.upload("DELETE", "abort", self._key, self._target())
        except ObjectNotFound:
            return

    async def _check_hash(self, info: ObjectInfo, parts: Sequence[Part]) -> None:
        """Compare the hash of the whole with that of what was sent.

        Kodo confirmed each part by its MD5 before, so another hash with the right size is more
        likely another way to compute it than other bytes: it is told, not refused.
        """
        expected = self._expected_hash(parts)
        if expected is None or expected == info.version:
            return
        found = await self._stat(self._key)
        if found.version == info.version and found.size != info.size:
            raise ConfusedServer(
                f"the parts have {info.size} bytes, the object {found.size}",
                key=self._key,
                operation="commit",
            )
        _log.warning("%r has the hash %s, its parts %s", self._key, info.version, expected)

    async def _already_committed(self, parts: Sequence[Part]) -> ObjectInfo:
        gone = ObjectNotFound("the upload is gone", key=self._key, operation="commit")
        expected = self._expected_hash(parts)
        if expected is None:
            raise gone
        try:
            info = await self._stat(self._key)
        except ObjectNotFound as exc:
            raise gone from exc
        if info.version != expected:
            raise gone
        return info

    def _expected_hash(self, parts: Sequence[Part]) -> str | None:
        hashed = [self._sent.get((part.number, part.tag)) for part in parts]
        known = [part for part in hashed if part is not None]
        return joined_qetag(known) if known and len(known) == len(hashed) else None

    def _document(self, parts: Sequence[Part]) -> bytes:
        document = {
            "parts": [{"partNumber": part.number, "etag": part.tag} for part in parts],
            "fname": "file",
            "mimeType": content_type_of(self._attributes),
            "metadata": fields_of(self._attributes),
        }
        return json.dumps(document).encode()

    def _target(self, number: int | None = None) -> str:
        target = f"{_uploads(self._calls.bucket, self._key)}/{self.upload_id}"
        return target if number is None else f"{target}/{number}"


async def begin_upload(
    calls: Calls, guard: Guard, stat: Stat, key: str, attributes: ObjectAttributes
) -> KodoUpload:
    """Begin an upload of `key`. Raises: InvalidRequest (attributes that Kodo cannot keep)."""
    fields_of(attributes)  # It is too late for a refusal after all parts were sent.
    content_type_of(attributes)
    target = _uploads(calls.bucket, key)
    response = await calls.upload("POST", "begin_upload", key, target)
    upload_id = text_of(response, "uploadId")
    return KodoUpload(calls, guard, stat, key, attributes, upload_id)


def _uploads(bucket: str, key: str) -> str:
    return f"/buckets/{bucket}/objects/{encode(key.encode('utf-8', 'surrogateescape'))}/uploads"
