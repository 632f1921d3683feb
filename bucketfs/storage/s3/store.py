"""S3Store: a bucket of Amazon S3, or of a server that speaks its language, as an ObjectStore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from bucketfs.errors import (
    AccessDenied,
    InvalidRequest,
    NotSupported,
    ObjectNotFound,
    ObjectTooLarge,
)
from bucketfs.storage.calling import Taking, page_query
from bucketfs.storage.headers import (
    attribute_headers,
    stored_info,
)
from bucketfs.storage.interface import (
    Body,
    BytesBody,
    Capabilities,
    KeyMarker,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    PendingUpload,
    Precondition,
    Sink,
    Version,
)
from bucketfs.storage.ranges import check_range, checked_end, checked_version, range_headers
from bucketfs.storage.refusals import InvalidRange
from bucketfs.storage.s3.addressing import Addressing, find_address
from bucketfs.storage.s3.appending import Appender
from bucketfs.storage.s3.calls import Calls, Payload
from bucketfs.storage.s3.copying import Copier
from bucketfs.storage.s3.deleting import BATCH_KEYS, Deleter
from bucketfs.storage.s3.listing import parse_listing
from bucketfs.storage.s3.pending import list_uploads
from bucketfs.storage.s3.preconditions import Guard
from bucketfs.storage.s3.upload import S3Upload, begin_upload
from bucketfs.storage.unmovable import Unmovable
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import CredentialSource
from bucketfs.transport.exchange import Intake, Response

_LIST_LIMIT = 1000


class S3Store(Unmovable):
    """One bucket. `endpoint` None is Amazon's; `aclose` closes `client` too.

    `payload` says whether bodies are part of the signature (see `calls.Calls`).
    """

    def __init__(
        self,
        bucket: str,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        endpoint: str | None = None,
        region: str | None = None,
        addressing: Addressing = "auto",
        payload: Payload = "auto",
    ) -> None:
        region = region or "us-east-1"
        address = find_address(bucket, endpoint, region, addressing)
        self._bucket = bucket
        self._client = client
        self._calls = Calls(
            address, client=client, credentials=credentials, region=region, payload=payload
        )
        self._guard = Guard(self.stat, is_native=address.is_service)
        self._appender = Appender(self._calls, self._guard)
        self._is_service = address.is_service
        self._capabilities = Capabilities(
            part_copy=True,
            conditional_write=address.is_service,
            batch_delete=BATCH_KEYS,
            key_markers=True,
            checksum="md5",
        )
        self._copier = Copier(self._calls, self._guard, bucket, self._capabilities.max_copy)
        knows_markers = True if address.is_service else None
        self._deleter = Deleter(self._calls, self._guard, deletes_markers=knows_markers)

    @property
    def capabilities(self) -> Capabilities:
        """What S3 does natively; `conditional_write` only where Amazon promises it for all writes.

        Elsewhere conditions are kept as closely as the server allows (see `preconditions`).
        `append` is True once the server has shown that it can do that (see `appending`).
        """
        append, part_copy = self._appender.is_possible, not self._calls.lacks_part_copy
        known = self._capabilities
        if (known.append, known.part_copy) != (append, part_copy):
            self._capabilities = replace(known, append=append, part_copy=part_copy)
        return self._capabilities

    async def check(self, prefix: str = "") -> None:
        """Prove that the bucket is there and may be listed below `prefix`.

        Elsewhere than at Amazon an object is looked at as well: some servers show there that they
        can append. Raises: BucketNotFound, AccessDenied, Transient; ConfigurationError (no
        credentials, wrong region).
        """
        page = await self._list("check", prefix, "", None, 1)
        if page.objects and not self._is_service:
            with suppress(AccessDenied, ObjectNotFound, InvalidRequest, NotSupported):
                await self.stat(page.objects[0].key)

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound."""
        response = await self._calls.send("HEAD", "stat", key)
        return self._appender.seen(key, response.headers)

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

        The version is compared here as well, before any byte is taken: not every server does.
        """
        first = start + sink.received
        left = length - sink.received
        if left <= 0:
            return checked_version(await self.stat(key), if_version)
        headers = range_headers(first, left, if_version)

        def intake(head: Response) -> Intake:
            info = checked_version(self._appender.seen(key, head.headers), if_version)
            check_range(head, info, first, left)
            return Intake(sink, left)

        taking = Taking(intake, sink, left)
        try:
            response = await self._calls.send("GET", "read", key, headers=headers, intake=taking)
        except InvalidRange:
            return checked_end(checked_version(await self.stat(key), if_version), first)
        return self._appender.seen(key, response.headers)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole, by one PUT.

        Raises: ObjectChanged, ObjectExists, ObjectTooLarge, QuotaExceeded.
        """
        if body.size > self._capabilities.max_write:
            raise ObjectTooLarge("too large for one PUT", key=key, operation="write")
        stored = attribute_headers(attributes)

        async def put(conditions: Mapping[str, str]) -> ObjectInfo:
            response = await self._calls.send_bytes(
                "write", key, body, headers=stored, conditions=conditions
            )
            etag = response.headers.get("etag")
            if not etag:
                return await self.stat(key)
            return stored_info(key, body.size, etag, response.headers, attributes)

        return await self._guard.write(key, body.size, precondition, put)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end where the server can do that; what stands beside the object is replaced.

        Raises: ObjectChanged, NotSupported (everywhere but on Ceph).
        """
        return await self._appender.append(key, position, body, attributes)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> S3Upload:
        """Begin a multipart upload."""
        return await begin_upload(self._calls, self._guard, self._bucket, key, attributes)

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> S3Upload:
        """Go on with an upload that was begun before. No request is made."""
        return S3Upload(self._calls, self._guard, self._bucket, key, attributes, upload_id)

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Return the uploads below `prefix` that are neither committed nor aborted."""
        return await list_uploads(self._calls, prefix)

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
        if source == target and attributes is None:
            raise InvalidRequest("a copy onto itself changes nothing", key=source)
        if source.endswith("/"):
            found = await self.stat(source)
            if found.size == 0 and source_version in (None, found.version):
                # Servers that sit on a folder do not copy markers; one without bytes is as well
                # written anew, for the same number of requests.
                known = ObjectAttributes(found.metadata or {}, found.content_type)
                return await self.write(target, BytesBody(b""), attributes or known, precondition)
        return await self._copier.copy(source, target, attributes, source_version, precondition)

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
        query = [
            ("list-type", "2"),
            ("encoding-type", "url"),
            ("max-keys", str(min(limit, _LIST_LIMIT))),
            *page_query(prefix, delimiter, (_marker_name(marker), marker)),
        ]
        response = await self._calls.send("GET", operation, None, query=query)
        if operation == "check" and "minio" in response.headers.get("server", "").lower():
            # The JuiceFS gateway says so, changes metadata and leaves Last-Modified as it is.
            self._capabilities = replace(self._capabilities, dates_metadata=False)
        return parse_listing(response.body)


def _marker_name(marker: str | None) -> str:
    return "start-after" if isinstance(marker, KeyMarker) else "continuation-token"
