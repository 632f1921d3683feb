"""BosStore: a bucket of Baidu BOS as an ObjectStore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bucketfs.errors import (
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectNotFound,
    ObjectTooLarge,
)
from bucketfs.storage.bos.addressing import find_address
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.checksums import SummedBody
from bucketfs.storage.bos.copying import Copier
from bucketfs.storage.bos.deleting import BATCH_KEYS, Deleter
from bucketfs.storage.bos.documents import parse_listing
from bucketfs.storage.bos.headers import (
    NAMES,
    attribute_headers,
    is_symlink,
    next_offset,
    object_info,
)
from bucketfs.storage.bos.links import Links, Symlink, is_link
from bucketfs.storage.bos.preconditions import BosGuard
from bucketfs.storage.bos.reading import RangeReader
from bucketfs.storage.bos.upload import BosUpload, begin_upload, list_uploads
from bucketfs.storage.calling import page_query
from bucketfs.storage.headers import seconds_ns, stored_info, version_of
from bucketfs.storage.interface import (
    Body,
    BytesBody,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    PendingUpload,
    Precondition,
    Sink,
    Version,
)
from bucketfs.storage.location import traffic_limit_bits_s
from bucketfs.storage.ranges import checked_version
from bucketfs.storage.s3.addressing import Addressing
from bucketfs.storage.unmovable import Unmovable
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import CredentialSource

_LIST_LIMIT = 1000
_GB = 10**9

CAPABILITIES = Capabilities(
    append=True,
    part_copy=True,
    batch_delete=BATCH_KEYS,
    symlink=True,
    max_object=48_800 * _GB,
    max_write=5 * _GB,
    max_part=5 * _GB,
    max_copy=5 * _GB,
    max_append=5 * _GB,
    # The 2048 bytes of BOS count `x-bce-meta-` with each name; a dozen names are more than we have.
    max_metadata=2048 - 12 * len(NAMES.metadata_prefix),
    max_key=1023,
    key_markers=True,
    checksum="crc32",
)
CONDITIONAL_CAPABILITIES = replace(CAPABILITIES, conditional_write=True)


class BosStore(Unmovable):
    """One bucket. `endpoint` None is BOS itself in `region`; `aclose` closes `client` too.

    `storage_class` is that of new objects; `traffic_limit_bytes_s` bounds each request that
    carries an object's bytes.
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
        addressing: Addressing = "auto",
        storage_class: str | None = None,
        traffic_limit_bytes_s: int | None = None,
    ) -> None:
        address = find_address(bucket, endpoint, region, scheme=scheme, addressing=addressing)
        self._bucket = bucket
        self._client = client
        self._calls = Calls(
            address,
            client=client,
            credentials=credentials,
            traffic_limit_bits_s=traffic_limit_bits_s(traffic_limit_bytes_s, "BOS"),
        )
        self._class_headers = {NAMES.storage_class: storage_class} if storage_class else {}
        self._guard = BosGuard(self.stat)
        self._links = Links(self._calls)
        self._reader = RangeReader(self._calls, self._links, self.stat)
        self._copier = Copier(self, self._calls, self._guard, self._links, bucket)
        self._deleter = Deleter(self._calls, self._guard)

    @property
    def capabilities(self) -> Capabilities:
        """What BOS does natively; `conditional_write` once it was seen (see `preconditions`)."""
        if self._guard.keeps_version:
            return CONDITIONAL_CAPABILITIES
        return CAPABILITIES

    async def check(self, prefix: str = "") -> None:
        """Prove that the bucket is there and may be listed below `prefix`.

        Raises: BucketNotFound, AccessDenied, Transient; ConfigurationError (no credentials, wrong
        endpoint).
        """
        await self._list("check", prefix, "", None, 1)

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound.

        A native symlink is itself, not its target.
        """
        try:
            response = await self._calls.send("HEAD", "stat", key)
        except ObjectNotFound:
            dangling = await self._links.find_dangling(key)
            if dangling is None:
                raise
            return dangling
        if is_symlink(response.headers):
            _, info = await self._links.read(key)
            return info
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

        An object that is read whole is compared with the CRC32 that the server states.
        """
        first = start + sink.received
        left = length - sink.received
        if left <= 0:
            return checked_version(await self.stat(key), if_version)
        return await self._reader.read(key, first, left, sink, if_version)

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
        if body.size > CAPABILITIES.max_write:
            raise ObjectTooLarge("too large for one PUT", key=key, operation="write")
        stored = {**self._class_headers, **attribute_headers(attributes)}
        summed = SummedBody(body)

        async def put(conditions: Mapping[str, str]) -> ObjectInfo:
            response = await self._calls.send(
                "PUT",
                "write",
                key,
                headers={**stored, **conditions},
                body=summed,
                is_repeatable=not conditions,
            )
            tag = response.headers.get("etag", "").strip('"')
            if not tag:
                return await self.stat(key)
            summed.check_tag(tag)
            storage_class = self._class_headers.get(NAMES.storage_class)
            return stored_info(key, body.size, tag, response.headers, attributes, storage_class)

        return await self._guard.write(key, body.size, precondition, put)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end if the object is `position` long; 0 makes an absent one.

        The position always goes along: without it BOS would replace the object. What grows keeps
        its attributes, and the result does not tell them.
        Raises: ObjectChanged (another length, or gone), NotSupported (it was not made by appends).
        """
        self._guard.removed(key)
        beside = (attributes if position == 0 else None) or ObjectAttributes()
        response = await self._calls.send(
            "POST",
            "append",
            key,
            query=[("append", ""), ("offset", str(int(position)))],
            headers={**self._class_headers, **attribute_headers(beside)},
            body=SummedBody(body),
            is_repeatable=False,
        )
        size = next_offset(response.headers)
        if size != position + body.size:
            raise ConfusedServer(
                f"the object should be {position + body.size} long, not {size}",
                key=key,
                operation="append",
            )
        modified_ns = seconds_ns(response.headers.get("date"))
        version = version_of(response.headers.get("etag"), modified_ns, size)
        info = ObjectInfo(key, size, version, modified_ns, is_appendable=True)
        if position:
            return info
        return replace(info, metadata=dict(beside.metadata), content_type=beside.content_type)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> BosUpload:
        """Begin a multipart upload."""
        return await begin_upload(
            self._calls, self._guard, self._bucket, key, attributes, self._class_headers
        )

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> BosUpload:
        """Go on with an upload that was begun before. No request is made."""
        return BosUpload(self._calls, self._guard, self._bucket, key, attributes, upload_id)

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
        """Copy on the server, any size. Raises: ObjectNotFound, ObjectChanged, ObjectExists.

        A native symlink has no attributes of its own. It is copied with its text, as that or, where
        BOS cannot say it, as an object that the layers above know for a symlink.
        """
        if source == target and attributes is None:
            raise InvalidRequest("a copy onto itself changes nothing", key=source)
        found = await self._copier.find_source(source, source_version)
        if not is_link(found.version):
            return await self._copier.copy(found, target, attributes, precondition)
        if source == target:
            raise NotSupported("a native symlink of BOS has no attributes", key=source)
        return await self._copy_link(source, target, precondition)

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""
        await self._deleter.delete(key, if_version)
        self._links.removed(key)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`, a thousand in a request; return the errors."""
        keys = list(keys)
        failures = await self._deleter.delete_many(keys)
        for key in keys:
            self._links.removed(key)
        return failures

    async def read_symlink(self, key: str) -> Symlink:
        """Return where a native symlink leads. Raises: ObjectNotFound, NotALink."""
        link, _ = await self._links.read(key)
        return link

    async def make_symlink(
        self, key: str, link: Symlink, *, may_replace: bool = True
    ) -> ObjectInfo:
        """Make a native symlink; its target need not be there.

        Raises: ObjectChanged (something is there and `may_replace` is False), InvalidKey.
        """
        self._guard.removed(key)
        return await self._links.make(key, link, may_replace=may_replace)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _copy_link(
        self, source: str, target: str, precondition: Precondition | None
    ) -> ObjectInfo:
        link, info = await self._links.read(source)
        moved = link.moved(source, target)
        if moved is None:
            known = ObjectAttributes(info.metadata or {})
            return await self.write(
                target, BytesBody(link.text(source).encode()), known, precondition
            )
        if precondition is not None:
            await self._guard.check(target, precondition)
        return await self.make_symlink(target, moved)

    async def _list(
        self, operation: str, prefix: str, delimiter: str, marker: str | None, limit: int
    ) -> ListPage:
        query = [
            ("maxKeys", str(min(limit, _LIST_LIMIT))),
            *page_query(prefix, delimiter, ("marker", marker)),
        ]
        response = await self._calls.send("GET", operation, None, query=query)
        page = parse_listing(response.body)
        self._links.listed(page.objects)
        return page
