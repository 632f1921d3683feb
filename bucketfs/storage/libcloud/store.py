"""LibcloudStore: a container of any cloud that Libcloud has a driver for, as an ObjectStore.

`StorageDriver` knows whole objects and little else. What a file system needs beyond that is done
here, at the cost that docs/semantics.md names: a listing walks over all that is below its prefix,
a copy (a rename, a chmod) brings the object here and sends it again, and conditions are looked at
before the write. Two writers on one machine are kept apart by key; others may meet in between.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar

import trio
from cachetools import LRUCache

from bucketfs.errors import (
    InvalidRequest,
    NotSupported,
    ObjectNotFound,
    ObjectTooLarge,
    StorageError,
)
from bucketfs.storage.headers import has_etag
from bucketfs.storage.interface import (
    Body,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Sink,
    Version,
)
from bucketfs.storage.libcloud.drivers import DriverPool, Traits
from bucketfs.storage.libcloud.listing import Lister
from bucketfs.storage.libcloud.reading import Reader, Seen, check_version
from bucketfs.storage.libcloud.spool import Spool, SpoolFile
from bucketfs.storage.libcloud.upload import MAX_PARTS, LibcloudUpload
from bucketfs.storage.libcloud.values import MAX_KEY, kept_attributes, name_of
from bucketfs.storage.libcloud.writing import Writer
from bucketfs.storage.parallel import run_all
from bucketfs.storage.s3.preconditions import Guard

T = TypeVar("T")

_LIST_LIMIT = 1000
_SEEN_OBJECTS = 4096
_WIDTH = 8

_log = logging.getLogger(__name__)


class LibcloudStore:
    """One container. `concurrency` bounds the worker threads of reads, and of all else."""

    def __init__(
        self, pool: DriverPool, traits: Traits, *, spool: Spool, concurrency: int = 16
    ) -> None:
        self._pool = pool
        self._traits = traits
        self._spool = spool
        self._reader = Reader(pool, traits, spool)
        self._writer = Writer(pool, traits)
        self._lister = Lister(pool, traits)
        self._guard = Guard(self.stat, is_native=False)
        self._seen: LRUCache[str, Seen] = LRUCache(_SEEN_OBJECTS)
        self._writing: dict[str, tuple[trio.Lock, int]] = {}
        self._looking: dict[str, tuple[trio.Lock, int]] = {}
        # Reads wait where memory is short; the writes that free it must not wait behind them.
        self._reads = trio.CapacityLimiter(concurrency)
        self._limiter = trio.CapacityLimiter(concurrency)

    @property
    def capabilities(self) -> Capabilities:
        """What `StorageDriver` has: next to nothing but whole objects."""
        return Capabilities(
            copy_replaces_metadata=self._traits.keeps_metadata,
            keeps_metadata=self._traits.keeps_metadata,
            server_copy=False,
            ranged_read=self._traits.has_ranges,
            delimited_listing=False,
            part_upload=False,
            max_object=self._traits.max_object,
            max_write=self._traits.max_write,
            min_part=1,
            max_part=self._traits.max_write,
            max_parts=MAX_PARTS,
            max_copy=self._traits.max_object,
            max_key=MAX_KEY,
            is_remote=not self._traits.is_local,
            dates_metadata=False,  # servers of every kind, and some do not
        )

    async def check(self, prefix: str = "") -> None:
        """Prove that the container is there and may be listed below `prefix`.

        Raises: BucketNotFound, AccessDenied, Transient.
        """
        await self._run(self._lister.first, prefix)
        if not self._traits.keeps_metadata:
            _log.info("the driver %s keeps no modes, owners and times", self._traits.provider)
        if not self._traits.has_ranges:
            _log.info("the driver %s reads whole objects only", self._traits.provider)

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound, InvalidKey."""
        seen = await self._run(self._reader.look, key)
        self._seen[key] = seen
        return seen.info

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = _LIST_LIMIT
    ) -> ListPage:
        """Return the page after `marker`. Raises: BucketNotFound."""
        limit = min(limit, _LIST_LIMIT)
        return await self._run(self._lister.page, prefix, delimiter, marker, limit)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Put a range into `sink`; the contract is `ObjectStore.read_range`'s."""
        known = await self._known(key, if_version)
        read = partial(self._reader.read, known=known)
        first = start + sink.received
        seen = await trio.to_thread.run_sync(
            read, key, first, start + length, sink, if_version, limiter=self._reads
        )
        self._seen[key] = seen
        return seen.info

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole, by one request after the body was put on the local disk.

        Raises: ObjectChanged, ObjectExists, ObjectTooLarge, QuotaExceeded, NotSupported.
        """
        name_of(key, self._traits, "write")
        if body.size > self._traits.max_write:
            raise ObjectTooLarge("too large for one request", key=key, operation="write")
        file = await self._spooled(body)
        try:
            async with _alone(self._writing, key):
                return await self._put(key, file, attributes, precondition, "write")
        finally:
            file.close()

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Raise NotSupported: drivers only replace objects."""
        raise NotSupported("Libcloud cannot append", key=key, operation="append")

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> LibcloudUpload:
        """Begin an upload of parts, which are kept here until the commit."""
        await trio.lowlevel.checkpoint()
        name_of(key, self._traits, "begin_upload")
        return LibcloudUpload(key, self._spooled, partial(self._send, key, attributes))

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> LibcloudUpload:
        """Raise NotSupported: parts are kept here, and end with this process."""
        message = "uploads end with their process"
        raise NotSupported(message, key=key, operation="resume_upload")

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Bring the object here and send it again. Raises: ObjectNotFound, ObjectChanged."""
        if source == target and attributes is None:
            raise InvalidRequest("a copy onto itself changes nothing", key=source)
        name_of(target, self._traits, "copy")
        async with _alone(self._writing, target):
            if precondition is not None:
                await self._guard.check(target, precondition)
            seen = await self._run(self._reader.look, source)
            check_version(seen.info, source_version, "copy")
            if source == target:
                precondition = Precondition(seen.info.version)
            known = ObjectAttributes(seen.info.metadata or {}, seen.info.content_type)
            file = await self._run(self._reader.fetch, seen)
            try:
                return await self._put(target, file, attributes or known, precondition, "copy")
            finally:
                file.close()

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Raise NotSupported: drivers cannot rename."""
        raise NotSupported("Libcloud cannot move", key=source, operation="move")

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""
        async with _alone(self._writing, key):
            if if_version is not None:
                try:
                    check_version(await self.stat(key), if_version, "delete")
                except ObjectNotFound:
                    return
            self._guard.removed(key)
            with self._changing(key):
                await self._run(self._writer.delete, key)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`, one by one; return the errors."""
        failures: dict[str, Exception] = {}

        async def delete_one(key: str) -> None:
            try:
                await self.delete(key)
            except StorageError as exc:
                failures[key] = exc

        await run_all((partial(delete_one, key) for key in keys), _WIDTH)
        return failures

    async def aclose(self) -> None:
        """Close the connections."""
        await trio.lowlevel.checkpoint()
        self._lister.close()
        self._pool.close()

    async def _known(self, key: str, if_version: Version | None) -> Seen | None:
        """Return a version as it was seen, looking once for all reads that begin together.

        None where each read has to look for itself.
        """
        if self._is_known(key, if_version) or if_version is None or not self._reader.may_prove:
            return self._seen[key] if self._is_known(key, if_version) else None
        async with _alone(self._looking, key):
            if not self._is_known(key, if_version):
                look = self._reader.look
                self._seen[key] = await trio.to_thread.run_sync(look, key, limiter=self._reads)
        return self._seen[key] if self._is_known(key, if_version) else None

    def _is_known(self, key: str, version: Version | None) -> bool:
        seen = self._seen.get(key)
        return seen is not None and seen.info.version == version

    # -- writes ------------------------------------------------------------------------------

    async def _spooled(self, body: Body) -> SpoolFile:
        return await self._run(lambda: self._spool.file().fill(body))

    async def _put(
        self,
        key: str,
        file: SpoolFile,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        operation: str,
    ) -> ObjectInfo:
        """Send a file if the precondition holds; the key is the caller's alone."""
        kept = kept_attributes(attributes, self._traits)

        async def put(conditions: Mapping[str, str]) -> ObjectInfo:
            with self._changing(key):
                info = await self._run(self._writer.put, key, file, kept, conditions, operation)
            return await self._named(info)

        return await self._guard.write(key, file.size, precondition, put)

    async def _send(
        self,
        key: str,
        attributes: ObjectAttributes,
        files: Sequence[SpoolFile],
        precondition: Precondition | None,
    ) -> ObjectInfo:
        size = sum(file.size for file in files)
        if size > self._traits.max_object:
            raise ObjectTooLarge("larger than the driver can send", key=key, operation="commit")
        kept = kept_attributes(attributes, self._traits)
        async with _alone(self._writing, key):
            if not self._traits.has_parts:
                joined = await self._run(self._join, files)
                try:
                    return await self._put(key, joined, attributes, precondition, "commit")
                finally:
                    joined.close()
            if precondition is not None:
                await self._guard.check(key, precondition)
            with self._changing(key):
                info = await self._run(self._writer.stream, key, files, kept, "commit")
            return await self._guard.wrote(await self._named(info))

    async def _named(self, info: ObjectInfo) -> ObjectInfo:
        """Return the info of what was written, with the version that the driver did not tell."""
        if self._traits.is_local or has_etag(info.version):
            return info
        return await self.stat(info.key)

    def _join(self, files: Sequence[SpoolFile]) -> SpoolFile:
        joined = self._spool.file()
        for file in files:
            joined.add(file)
        return joined

    @contextmanager
    def _changing(self, key: str) -> Iterator[None]:
        """Forget what was known of a key; listings that may show the old are told at the end."""
        self._seen.pop(key, None)
        self._spool.forget(key)
        try:
            yield
        finally:
            self._lister.changed(key)

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(call, *arguments, limiter=self._limiter)


@asynccontextmanager
async def _alone(locks: dict[str, tuple[trio.Lock, int]], key: str) -> AsyncIterator[None]:
    """Let no other block with these `locks` and the same key run during the block."""
    lock, users = locks.get(key, (None, 0))
    lock = lock or trio.Lock()
    locks[key] = (lock, users + 1)
    try:
        async with lock:
            yield
    finally:
        # ATOMIC: counted and dropped in one step.
        users = locks[key][1] - 1
        if users:
            locks[key] = (lock, users)
        else:
            del locks[key]
