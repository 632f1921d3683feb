"""CosStore: a bucket of Tencent COS as an ObjectStore.

What COS does in its own way: objects that grow by appends are of a type of their own, which is
never copied on the server; the only condition of a write is that nothing may be there; and the
CRC-64 of every object is told, and compared here after every write, append, commit and whole read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bucketfs.errors import (
    AccessDenied,
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectTooLarge,
)
from bucketfs.storage.calling import Taking, page_query
from bucketfs.storage.cos.addressing import Address
from bucketfs.storage.cos.appending import Appender
from bucketfs.storage.cos.calls import MAX_KEY_BYTES, Calls
from bucketfs.storage.cos.copying import Copier
from bucketfs.storage.cos.headers import checksum, object_info
from bucketfs.storage.cos.preconditions import Guard
from bucketfs.storage.cos.upload import CosUpload, Place, begin_upload
from bucketfs.storage.cos.writing import Writer
from bucketfs.storage.crc64 import SummedSink
from bucketfs.storage.interface import (
    Body,
    Capabilities,
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
from bucketfs.storage.s3.deleting import BATCH_KEYS, Deleter
from bucketfs.storage.s3.documents import parse_any
from bucketfs.storage.s3.listing import parse_listing
from bucketfs.storage.s3.pending import list_uploads
from bucketfs.storage.unmovable import Unmovable
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import CredentialSource
from bucketfs.transport.exchange import Intake, Response

_LIST_LIMIT = 1000
_CAPABILITIES = Capabilities(
    append=True,
    part_copy=True,
    batch_delete=BATCH_KEYS,
    max_object=10_000 * (5 << 30),
    min_part=1 << 20,
    max_key=MAX_KEY_BYTES,
    key_markers=True,
    checksum="crc64ecma",
)


class CosStore(Unmovable):
    """One bucket. `aclose` closes `client` too.

    `storage_class` is of what is made here (None: the bucket's default); copies keep their
    source's. `traffic_limit_bits_s` is the most that one request carries.
    """

    def __init__(
        self,
        address: Address,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        storage_class: str | None = None,
        traffic_limit_bits_s: int | None = None,
    ) -> None:
        self._client = client
        self._storage_class = storage_class
        self._calls = Calls(
            address,
            client=client,
            credentials=credentials,
            traffic_limit_bits_s=traffic_limit_bits_s,
        )
        self._guard = Guard(self.stat)
        self._place = Place(self._calls, self._guard, self)
        self._writer = Writer(self._place)
        self._copier = Copier(self._place, self._writer, _CAPABILITIES.max_copy)
        self._deleter = Deleter(self._calls, self._guard, deletes_markers=True)
        self._appender = Appender(self._place, storage_class)

    @property
    def capabilities(self) -> Capabilities:
        """What COS does natively; not `conditional_write`: it compares absence only."""
        return _CAPABILITIES

    async def check(self, prefix: str = "") -> None:
        """Prove that the bucket is there and may be listed below `prefix`.

        Asks as well whether it ever had versioning: such a bucket overwrites what it was told not
        to. Raises: BucketNotFound, AccessDenied, Transient; ConfigurationError (no credentials).
        """
        await self._list("check", prefix, "", None, 1)
        try:
            response = await self._calls.send("GET", "check", None, query=[("versioning", "")])
        except (AccessDenied, NotSupported, InvalidRequest):
            return  # Who may not know goes the safe way.
        root, fields = parse_any(response.body)
        self._guard.was_ever_versioned = root != "VersioningConfiguration" or "Status" in fields

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound."""
        response = await self._calls.send("HEAD", "stat", key)
        return object_info(key, response.headers)

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

        An object that is read whole by one request is compared by its CRC-64.
        Raises: ConfusedServer as well, where other bytes came than are stored.
        """
        first = start + sink.received
        left = length - sink.received
        if left <= 0:
            return checked_version(await self.stat(key), if_version)
        headers = range_headers(first, left, if_version)
        summed = SummedSink(sink)

        def intake(head: Response) -> Intake:
            info = checked_version(object_info(key, head.headers), if_version)
            check_range(head, info, first, left)
            is_whole = first == 0 and info.size <= left
            return Intake(summed if is_whole else sink, left)

        taking = Taking(intake, sink, left)
        try:
            response = await self._calls.send("GET", "read", key, headers=headers, intake=taking)
        except InvalidRange:
            return checked_end(checked_version(await self.stat(key), if_version), first)
        info = object_info(key, response.headers)
        expected = checksum(response.headers)
        if expected not in (None, summed.crc) and summed.received == info.size > 0:
            raise ConfusedServer("other bytes came than are stored", key=key, operation="read")
        return info

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
        if body.size > _CAPABILITIES.max_write:
            raise ObjectTooLarge("too large for one PUT", key=key, operation="write")
        return await self._writer.write(key, body, attributes, self._storage_class, precondition)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end if the object is `position` long; at 0 it may be absent.

        Raises: ObjectChanged, NotSupported (the object was not made by appending).
        """
        return await self._appender.append(key, position, body, attributes)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> CosUpload:
        """Begin a multipart upload."""
        return await begin_upload(self._place, key, attributes, self._storage_class)

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> CosUpload:
        """Go on with an upload that was begun before. No request is made."""
        return CosUpload(self._place, key, attributes, self._storage_class, upload_id)

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
        """Copy on the server, any size; an appendable object is read and written anew.

        Raises: ObjectNotFound, ObjectChanged, ObjectExists.
        """
        if source == target and attributes is None:
            raise InvalidRequest("a copy onto itself changes nothing", key=source)
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
            ("encoding-type", "url"),
            ("max-keys", str(min(limit, _LIST_LIMIT))),
            *page_query(prefix, delimiter, ("marker", marker)),
        ]
        response = await self._calls.send("GET", operation, None, query=query)
        return parse_listing(response.body, has_tokens=False)
