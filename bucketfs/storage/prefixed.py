"""Prefixed: the part of a store below one prefix, as a store of its own (`s3://bucket/prefix`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bucketfs.errors import ConfusedServer, NotSupported, StorageError
from bucketfs.storage.interface import (
    Body,
    Capabilities,
    KeyMarker,
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
from bucketfs.storage.key_order import key_bytes


class Prefixed:
    """An `ObjectStore` whose key `k` is the inner store's `prefix + k`, in errors as well.

    `prefix` ends with `/`. The marker of the prefix itself (the empty key) is hidden in listings.
    """

    def __init__(self, inner: ObjectStore, prefix: str) -> None:
        self._inner = inner
        self._prefix = prefix
        capabilities = inner.capabilities
        max_key = capabilities.max_key - len(key_bytes(prefix))
        self._capabilities = replace(capabilities, max_key=max_key)

    @property
    def capabilities(self) -> Capabilities:
        """Return the inner store's, with shorter keys."""
        return self._capabilities

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info. Raises: ObjectNotFound."""
        with own_keys(self._own):
            return self._own_info(await self._inner.stat(self._prefix + key))

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        """Return one page. A marker is a `KeyMarker`, or the inner store's own word for a place."""
        if isinstance(marker, KeyMarker):
            marker = KeyMarker(self._prefix + marker)
        with own_keys(self._own):
            page = await self._inner.list_page(self._prefix + prefix, delimiter, marker, limit)
            objects = [
                self._own_info(info) for info in page.objects if len(info.key) > len(self._prefix)
            ]
            return ListPage(objects, [self._own(key) for key in page.prefixes], page.next_marker)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Fill `sink`. Raises: ObjectNotFound, ObjectChanged, ObjectArchived."""
        with own_keys(self._own):
            return self._own_info(
                await self._inner.read_range(self._prefix + key, start, length, sink, if_version)
            )

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole. Raises: ObjectChanged, ObjectExists, ObjectTooLarge."""
        with own_keys(self._own):
            return self._own_info(
                await self._inner.write(self._prefix + key, body, attributes, precondition)
            )

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end. Raises: ObjectChanged, NotSupported."""
        with own_keys(self._own):
            return self._own_info(
                await self._inner.append(self._prefix + key, position, body, attributes)
            )

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin a multipart upload."""
        with own_keys(self._own):
            inner = await self._inner.begin_upload(self._prefix + key, attributes)
            return PrefixedUpload(inner, self._prefix, self._own)

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Go on with an upload. Raises: NotSupported."""
        with own_keys(self._own):
            inner = await self._inner.resume_upload(self._prefix + key, upload_id, attributes)
            return PrefixedUpload(inner, self._prefix, self._own)

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Return the pending uploads below both prefixes. Raises: NotSupported, AccessDenied."""
        if not isinstance(self._inner, UploadLister):
            raise NotSupported("this store does not list uploads", operation="list_uploads")
        with own_keys(self._own):
            found = await self._inner.list_uploads(self._prefix + prefix)
            return [replace(upload, key=self._own(upload.key)) for upload in found]

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy inside the prefix. Raises: ObjectNotFound, ObjectChanged, ObjectExists."""
        with own_keys(self._own):
            return self._own_info(
                await self._inner.copy(
                    self._prefix + source,
                    self._prefix + target,
                    attributes=attributes,
                    source_version=source_version,
                    precondition=precondition,
                )
            )

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename inside the prefix. Raises: NotSupported, ObjectNotFound."""
        with own_keys(self._own):
            return self._own_info(
                await self._inner.move(self._prefix + source, self._prefix + target)
            )

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged."""
        with own_keys(self._own):
            await self._inner.delete(self._prefix + key, if_version)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; return the errors by the keys that were given."""
        with own_keys(self._own):
            errors = await self._inner.delete_many([self._prefix + key for key in keys])
        for error in errors.values():
            _translate(error, self._own)
        return {self._own(key): error for key, error in errors.items()}

    async def aclose(self) -> None:
        """Close the inner store."""
        await self._inner.aclose()

    def _own(self, key: str) -> str:
        if not key.startswith(self._prefix):
            raise ConfusedServer(f"a key outside the prefix {self._prefix!r}", key=key)
        return key[len(self._prefix) :]

    def _own_info(self, info: ObjectInfo) -> ObjectInfo:
        return replace(info, key=self._own(info.key))


class PrefixedUpload:
    """A multipart upload below a prefix."""

    def __init__(self, inner: Upload, prefix: str, own: Callable[[str], str]) -> None:
        self.upload_id = inner.upload_id
        self._inner = inner
        self._prefix = prefix
        self._own = own

    async def add_part(self, number: int, body: Body) -> Part:
        """Send a part."""
        with own_keys(self._own):
            return await self._inner.add_part(number, body)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Copy a part of an object below the prefix. Raises: ObjectChanged, NotSupported."""
        with own_keys(self._own):
            return await self._inner.copy_part(
                number, self._prefix + source, start, length, version
            )

    async def list_parts(self) -> Sequence[Part]:
        """Return the parts."""
        with own_keys(self._own):
            return await self._inner.list_parts()

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged."""
        with own_keys(self._own):
            info = await self._inner.commit(parts, precondition)
            return replace(info, key=self._own(info.key))

    async def abort(self) -> None:
        """Drop the upload."""
        with own_keys(self._own):
            await self._inner.abort()


@contextmanager
def own_keys(own: Callable[[str], str]) -> Iterator[None]:
    """Give the errors that come by the keys that the caller knows."""
    try:
        yield
    except StorageError as exc:
        _translate(exc, own)
        raise


def _translate(error: Exception, own: Callable[[str], str]) -> None:
    if isinstance(error, StorageError) and not isinstance(error, ConfusedServer) and error.key:
        error.key = own(error.key)
