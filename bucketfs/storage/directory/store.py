"""The `ObjectStore` over a local folder: every call is one hop to a worker thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    InvalidKey,
    StorageError,
)
from bucketfs.storage.directory.folder import Folder
from bucketfs.storage.directory.labels import MAX_METADATA, Labels, suitable_labels
from bucketfs.storage.directory.layout import MAX_KEY
from bucketfs.storage.directory.listing import Listings
from bucketfs.storage.directory.objects import Objects
from bucketfs.storage.directory.upload import MAX_PARTS, Uploads
from bucketfs.storage.interface import (
    Body,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Part,
    PendingUpload,
    Precondition,
    Sink,
    Version,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_FILE = 16 << 40
"""ext4's largest file; other file systems refuse by themselves (ObjectTooLarge)."""

THREADS = 32
"""Most of them wait for the disk to take a write."""

CAPABILITIES = Capabilities(
    dates_metadata=False,  # labels and extended attributes leave the time of a file as it is
    append=True,
    part_copy=True,
    move=True,
    conditional_write=True,
    batch_delete=1000,
    max_object=MAX_FILE,
    max_write=MAX_FILE,
    min_part=1,
    max_part=MAX_FILE,
    max_parts=MAX_PARTS,
    max_copy=MAX_FILE,
    max_metadata=MAX_METADATA,
    max_key=MAX_KEY,
    key_markers=True,
    is_remote=False,
)


class DirectoryStore:
    """A local folder as a bucket. Several stores, in several processes, may share one folder.

    What a `write`, `commit`, `copy`, `append` or `move` returned is on the disk (unless
    `is_durable` is False). Cancellation waits for a call that has begun. Keys that no file can
    have are absent; a file and a directory of one name cannot both be there (InvalidKey).
    """

    def __init__(self, folder: Folder, labels: Labels | None = None) -> None:
        self._folder = folder
        self._limiter = trio.CapacityLimiter(THREADS)
        # Reads wait where memory is short; the writes that free it must not wait behind them.
        self._reads = trio.CapacityLimiter(THREADS)
        self._objects = Objects(folder, labels or suitable_labels(folder))
        self._listings = Listings(folder, self._objects.labels)
        self._uploads = Uploads(self._objects)

    @classmethod
    async def open(cls, path: Path, *, is_durable: bool = True) -> DirectoryStore:
        """Open the bucket in `path`. Raises: BucketNotFound, ConfigurationError, AccessDenied."""
        folder = await trio.to_thread.run_sync(open_folder, path, is_durable)
        return cls(folder)

    @property
    def capabilities(self) -> Capabilities:
        """Return what a folder can do, the same for every file system."""
        return CAPABILITIES

    async def check(self, prefix: str = "") -> None:
        """See that the folder is still there, and clean up after processes that died."""
        await self.list_page(prefix, "/", limit=1)
        await self._run(self._folder.remove_abandoned)

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info. Raises: ObjectNotFound."""
        return await self._run(self._objects.stat, key)

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        """Return one page; a directory is a common prefix even where it holds no object."""

        def page() -> ListPage:
            with self._objects.reporting(prefix, "list"):
                return self._listings.page(prefix, delimiter, marker, limit)

        return await self._run(page)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Fill `sink`. Raises: ObjectNotFound, ObjectChanged, Transient."""
        return await trio.to_thread.run_sync(
            self._objects.read, key, start, length, sink, if_version, limiter=self._reads
        )

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole. Raises: ObjectChanged, ObjectExists, QuotaExceeded, InvalidKey."""
        return await self._run(self._objects.write, key, body, attributes, precondition)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end; an absent object is 0 bytes long. Raises: ObjectChanged."""
        return await self._run(self._objects.append, key, position, body, attributes)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> DirectoryUpload:
        """Begin a multipart upload. Raises: InvalidKey."""
        upload_id = await self._run(self._uploads.begin, key, attributes)
        return DirectoryUpload(self._uploads, upload_id, self._limiter)

    async def resume_upload(
        self, key: str, upload_id: str, attributes: ObjectAttributes
    ) -> DirectoryUpload:
        """Go on with an upload that was begun before."""
        await trio.lowlevel.checkpoint()
        return DirectoryUpload(self._uploads, upload_id, self._limiter)

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Return the uploads below `prefix` that are neither committed nor aborted."""
        return await self._run(self._uploads.pending, prefix)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy; onto itself only the attributes change. Raises: ObjectNotFound, ObjectChanged."""
        return await self._run(
            self._objects.copy, source, target, attributes, source_version, precondition
        )

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename; the version stays. Raises: ObjectNotFound, InvalidKey."""
        return await self._run(self._objects.move, source, target)

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged."""
        await self._run(self._objects.delete, key, if_version)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`, one after the other in one thread; return the errors."""

        def delete_all() -> dict[str, Exception]:
            errors: dict[str, Exception] = {}
            for key in keys:
                try:
                    self._objects.delete(key, None)
                except StorageError as exc:
                    errors[key] = exc
            return errors

        return await self._run(delete_all)

    async def aclose(self) -> None:
        """Close what is open of the folder; a second call does nothing."""
        if self._folder.root >= 0:
            await self._run(self._listings.close)
            os.close(self._folder.root)
            self._folder.root = -1

    async def _run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)


class DirectoryUpload:
    """A multipart upload into a folder."""

    def __init__(self, uploads: Uploads, upload_id: str, limiter: trio.CapacityLimiter) -> None:
        self.upload_id = upload_id
        self._uploads = uploads
        self._limiter = limiter

    async def add_part(self, number: int, body: Body) -> Part:
        """Keep part `number`. Raises: ObjectNotFound if the upload is gone."""
        return await self._run(self._uploads.add, self.upload_id, number, body)

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make a part of an object's bytes. Raises: ObjectChanged, ObjectNotFound."""
        return await self._run(
            self._uploads.copy, self.upload_id, number, source, start, length, version
        )

    async def list_parts(self) -> Sequence[Part]:
        """Return the parts that are there, ascending."""
        return await self._run(self._uploads.list, self.upload_id)

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists, InvalidRequest, ObjectNotFound."""
        return await self._run(self._uploads.commit, self.upload_id, parts, precondition)

    async def abort(self) -> None:
        """Drop the upload; one that is gone is no error."""
        await self._run(self._uploads.abort, self.upload_id)

    async def _run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)


def open_folder(path: Path, is_durable: bool) -> Folder:
    """Open a bucket's folder. Raises: BucketNotFound, ConfigurationError, AccessDenied."""
    try:
        # The bucket's folder itself may be reached over a symbolic link; nothing below it.
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        message = f"the folder {path} does not exist (make it with: mkdir -p {path})"
        raise BucketNotFound(message, operation="open") from exc
    except NotADirectoryError as exc:
        raise ConfigurationError(f"{path} is not a folder") from exc
    except PermissionError as exc:
        raise AccessDenied(f"the folder {path} may not be read", operation="open") from exc
    except OSError as exc:
        raise InvalidKey(f"{path}: {exc.strerror}", operation="open") from exc
    return Folder(root, is_durable=is_durable)
