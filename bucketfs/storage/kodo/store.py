"""KodoStore: a bucket of Qiniu Kodo as an ObjectStore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import trio

from bucketfs.errors import (
    AccessDenied,
    ConfusedServer,
    NotSupported,
    ObjectArchived,
    ObjectNotFound,
    ObjectTooLarge,
)
from bucketfs.storage.headers import stored_info
from bucketfs.storage.interface import (
    ABSENT,
    Body,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Sink,
    Version,
)
from bucketfs.storage.kodo.batches import BATCH_KEYS
from bucketfs.storage.kodo.calls import MAX_KEY_BYTES, Calls, check_key
from bucketfs.storage.kodo.copying import Copier
from bucketfs.storage.kodo.deleting import Deleter
from bucketfs.storage.kodo.documents import parse_object, parse_page, stat_info, text_of
from bucketfs.storage.kodo.forms import UploadForm
from bucketfs.storage.kodo.hosts import UC_HOSTS, Hosts
from bucketfs.storage.kodo.metadata import STORAGE_CLASSES, content_type_of, fields_of
from bucketfs.storage.kodo.preconditions import Guard
from bucketfs.storage.kodo.qetag import crc32_and_qetag
from bucketfs.storage.kodo.reading import Reader
from bucketfs.storage.kodo.records import UploadRecord
from bucketfs.storage.kodo.upload import KodoUpload, begin_upload
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import CredentialSource
from bucketfs.transport.exchange import BodySource
from bucketfs.transport.sign_kodo import entry

_LIST_LIMIT = 1000
_HASHED_AT_ONCE = 4
_ARCHIVES = (STORAGE_CLASSES.index("archive"), STORAGE_CLASSES.index("deep-archive"))
_RESTORED = 2

_CAPABILITIES = Capabilities(
    move=True,
    batch_delete=BATCH_KEYS,
    # The largest file of 10,000 parts of 8 MiB growing to 1 GiB. Kodo takes 10 TB, but only of
    # parts that are large from the first on, which would not stream.
    max_object=3992 << 30,
    max_write=1 << 30,
    min_part=1 << 20,
    max_part=1 << 30,
    max_copy=10 << 40,  # Kodo copies and moves by name, whatever the size.
    # What does not fit Kodo's alphabet grows by a third: 1024 bytes then still suffice.
    max_metadata=720,
    max_key=MAX_KEY_BYTES,
    dates_metadata=False,  # chgm leaves hash and putTime as they are
    checksum="qetag",
)


class KodoStore:
    """One bucket. `endpoint` stands for all of Kodo's hosts; `aclose` closes `client` too.

    `domain` is where downloads come from (None: see `Reader`). `file_type` and
    `traffic_limit_bytes_s` are of what is uploaded. `uc_hosts` know where the bucket's hosts are (a
    private Kodo has its own). Raises (the constructor): ConfigurationError.
    """

    def __init__(
        self,
        bucket: str,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        endpoint: str | None = None,
        region: str | None = None,
        scheme: str | None = None,
        domain: str | None = None,
        file_type: int = 0,
        traffic_limit_bytes_s: int | None = None,
        uc_hosts: Sequence[str] = UC_HOSTS,
    ) -> None:
        policy: dict[str, object] = {}
        if file_type:
            policy["fileType"] = file_type
        if traffic_limit_bytes_s is not None:
            policy["trafficLimit"] = traffic_limit_bytes_s * 8
        hosts = Hosts(
            bucket,
            client=client,
            endpoint=endpoint,
            region=region,
            scheme=scheme,
            uc_hosts=uc_hosts,
        )
        self._client = client
        self._calls = Calls(
            bucket, client=client, credentials=credentials, hosts=hosts, policy=policy
        )
        self._hashing = trio.CapacityLimiter(_HASHED_AT_ONCE)
        self._guard = Guard(self.stat)
        self._reader = Reader(self._calls, self._stat_readable, domain)
        self._copier = Copier(self._calls, self._guard, self.stat)
        self._deleter = Deleter(self._calls, self._guard, self.stat)

    @property
    def capabilities(self) -> Capabilities:
        """What Kodo does natively: renames, but no appends and no copies of parts.

        A write that must meet no object is checked by Kodo, one that must meet a version is not
        (see `preconditions`).
        """
        return _CAPABILITIES

    async def check(self, prefix: str = "") -> None:
        """Prove that the bucket is there, may be listed below `prefix`, and has a download domain.

        Raises: BucketNotFound, AccessDenied, Transient; ConfigurationError (no credentials, wrong
        region, no domain).
        """
        await self._list("check", prefix, "", None, 1)
        await self._reader.domain("check")

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound."""
        return stat_info(key, await self._stat_fields(key, "stat"))

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = _LIST_LIMIT
    ) -> ListPage:
        """Return the page after `marker`. Raises: BucketNotFound."""
        return await self._list("list", prefix, delimiter, marker, limit)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Put a range into `sink`; the contract is `ObjectStore.read_range`'s.

        Without a version it is two requests: only Kodo itself knows which is the present one.
        """
        return await self._reader.read(key, start, length, sink, if_version)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole, by one form; what Kodo says it got is compared with `body`.

        `modified_ns` of the result is the date of the answer, the same to the second or two.
        Raises: ObjectChanged, ObjectExists, ObjectTooLarge, QuotaExceeded.
        """
        check_key(key, "write")
        if body.size > _CAPABILITIES.max_write:
            raise ObjectTooLarge("too large for one form", key=key, operation="write")
        fields = {"key": key, **fields_of(attributes)}
        file_type = content_type_of(attributes)
        crc, expected = await trio.to_thread.run_sync(crc32_and_qetag, body, limiter=self._hashing)
        fields["crc32"] = str(crc)

        def form(token: str) -> tuple[str, BodySource]:
            made = UploadForm({"token": token, **fields}, file_type, body)
            return made.content_type, made

        await self._guard.check(key, precondition)
        self._guard.forget(key)
        response = await self._calls.upload_form(
            "write", key, form, is_insert=precondition == ABSENT
        )
        version = text_of(response, "hash")
        if version != expected:
            raise ConfusedServer("other bytes were stored than sent", key=key, operation="write")
        info = stored_info(key, body.size, version, response.headers, attributes)
        return self._guard.wrote(info)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Raise NotSupported: Kodo switched appending off in 2022."""
        raise NotSupported("Kodo cannot append", key=key, operation="append")

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> KodoUpload:
        """Begin an upload in parts."""
        return await begin_upload(self._calls, self._guard, self.stat, key, attributes)

    def resume_recorded(
        self, key: str, attributes: ObjectAttributes, record: UploadRecord
    ) -> KodoUpload:
        """Return the upload that another client began and `record`ed; nothing is asked yet.

        `list_parts` tells what the server has of it, `commit` ends it, `abort` drops it. Raises:
        NotSupported (v1: its blocks cannot be listed, and v2 cannot take them over).
        """
        check_key(key, "resume_recorded")
        if record.upload_id is None:
            raise NotSupported(
                "blocks of resumable upload v1 cannot be gone on with; they end by themselves",
                key=key,
                operation="resume_recorded",
            )
        return KodoUpload(self._calls, self._guard, self.stat, key, attributes, record.upload_id)

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> KodoUpload:
        """Go on with an upload that was begun before. No request is made."""
        return KodoUpload(self._calls, self._guard, self.stat, key, attributes, upload_id)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy on the server, any size. Raises: ObjectNotFound, ObjectChanged, ObjectExists."""
        return await self._copier.copy(source, target, attributes, source_version, precondition)

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename on the server, replacing `target`. Raises: ObjectNotFound."""
        return await self._copier.move(source, target)

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""
        await self._deleter.delete(key, if_version)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`, a thousand in a request; return the errors."""
        return await self._deleter.delete_many(keys)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _list(
        self, operation: str, prefix: str, delimiter: str, marker: str | None, limit: int
    ) -> ListPage:
        query = [("bucket", self._calls.bucket), ("limit", str(min(limit, _LIST_LIMIT)))]
        query += [("prefix", prefix)] if prefix else []
        query += [("delimiter", delimiter)] if delimiter else []
        query += [("marker", marker)] if marker is not None else []
        pairs = (
            f"{name}={quote(value, safe='', errors='surrogateescape')}" for name, value in query
        )
        response = await self._calls.manage(
            "rsf", operation, None, f"/list?{'&'.join(pairs)}", method="GET"
        )
        return parse_page(response.body, marker)

    async def _stat_readable(self, key: str) -> ObjectInfo:
        """Return an object's info. Raises: ObjectNotFound, ObjectArchived, AccessDenied."""
        fields = await self._stat_fields(key, "read")
        if fields.get("type") in _ARCHIVES and fields.get("restoreStatus") != _RESTORED:
            raise ObjectArchived(
                "it is archived and has to be restored first", key=key, operation="read"
            )
        if fields.get("status") == 1:
            raise AccessDenied("the object is disabled", key=key, operation="read")
        return stat_info(key, fields)

    async def _stat_fields(self, key: str, operation: str) -> Mapping[str, Any]:
        check_key(key, operation)
        target = f"/stat/{entry(self._calls.bucket, key)}"
        try:
            response = await self._calls.manage("rs", operation, key, target)
        except ObjectNotFound:
            self._guard.is_absent(key)
            raise
        return parse_object(response.body)
