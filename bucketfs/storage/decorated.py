"""A store around a store: every call goes through one place, which a decorator replaces.

`Metered`, `Throttled` and `Retrying` differ only in what they do around a call; here is the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from bucketfs.errors import NotSupported
from bucketfs.storage.interface import (
    Body,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    PendingUpload,
    Precondition,
    Sink,
    Upload,
    UploadLister,
    Version,
)

T = TypeVar("T")


class DecoratedStore:
    """An `ObjectStore` that hands every call to `inner` by way of `around`."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Make one call of the inner store (`operation` is its method's name)."""
        return await call()

    @property
    def capabilities(self) -> Capabilities:
        """Return those of the inner store."""
        return self.inner.capabilities

    async def stat(self, key: str) -> ObjectInfo:
        """Ask the inner store. Raises: ObjectNotFound."""
        return await self.around("stat", key, partial(self.inner.stat, key))

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        """Ask the inner store. Raises: BucketNotFound."""
        call = partial(self.inner.list_page, prefix, delimiter, marker, limit)
        return await self.around("list_page", prefix, call)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Read from the inner store. Raises: ObjectNotFound, ObjectChanged, ObjectArchived."""
        call = partial(self.inner.read_range, key, start, length, sink, if_version)
        return await self.around("read_range", key, call)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Write to the inner store. Raises: ObjectChanged, ObjectExists, ObjectTooLarge."""
        call = partial(self.inner.write, key, body, attributes, precondition)
        return await self.around("write", key, call)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Append in the inner store. Raises: ObjectChanged, NotSupported."""
        call = partial(self.inner.append, key, position, body, attributes)
        return await self.around("append", key, call)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin an upload whose calls go the same way."""
        call = partial(self.inner.begin_upload, key, attributes)
        return DecoratedUpload(self, key, await self.around("begin_upload", key, call))

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Go on with an upload whose calls go the same way. Raises: NotSupported."""
        inner = await self.inner.resume_upload(key, upload_id, attributes)
        return DecoratedUpload(self, key, inner)

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Ask the inner store. Raises: NotSupported, AccessDenied."""
        if not isinstance(self.inner, UploadLister):
            raise NotSupported("this store does not list uploads", operation="list_uploads")
        return await self.around("list_uploads", prefix, partial(self.inner.list_uploads, prefix))

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy in the inner store. Raises: ObjectNotFound, ObjectChanged, ObjectExists."""
        call = partial(
            self.inner.copy,
            source,
            target,
            attributes=attributes,
            source_version=source_version,
            precondition=precondition,
        )
        return await self.around("copy", target, call)

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Move in the inner store. Raises: NotSupported, ObjectNotFound."""
        return await self.around("move", target, partial(self.inner.move, source, target))

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete in the inner store. Raises: ObjectChanged."""
        await self.around("delete", key, partial(self.inner.delete, key, if_version))

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete in the inner store; return the errors."""
        return await self.around("delete_many", None, partial(self.inner.delete_many, list(keys)))

    async def aclose(self) -> None:
        """Close the inner store."""
        await self.inner.aclose()


class DecoratedUpload:
    """An `Upload` whose calls go by way of the store that began it."""

    def __init__(self, store: DecoratedStore, key: str, inner: Upload) -> None:
        self.upload_id = inner.upload_id
        self._store = store
        self._key = key
        self._inner = inner

    async def add_part(self, number: int, body: Body) -> Part:
        """Send a part."""
        call = partial(self._inner.add_part, number, body)
        return await self._store.around("add_part", self._key, call)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Copy a part. Raises: ObjectChanged, NotSupported."""
        call = partial(self._inner.copy_part, number, source, start, length, version)
        return await self._store.around("copy_part", self._key, call)

    async def list_parts(self) -> Sequence[Part]:
        """Return the parts."""
        return await self._store.around("list_parts", self._key, self._inner.list_parts)

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged."""
        call = partial(self._inner.commit, parts, precondition)
        return await self._store.around("commit", self._key, call)

    async def abort(self) -> None:
        """Drop the upload."""
        await self._store.around("abort", self._key, self._inner.abort)
