"""The seam: what every object store is to the layers above it.

Keys, ranges, versions and capabilities; no inodes, no paths, no errnos. Each dialect and each
decorator (retry, throttle, metering) implements `ObjectStore`; one contract suite holds them all.
All methods are trio coroutines, may run concurrently, and raise only `StorageError`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType, Protocol, runtime_checkable

Version = NewType("Version", str)
"""Opaque name of one state of an object's bytes: its ETag without quotes where there is one."""

NO_METADATA: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object.

    `key` is text; bytes that are not UTF-8 are surrogate escapes. `metadata` has lower-case names
    without the dialect's prefix (`x-amz-meta-`), and is None where the answer did not carry it
    (listings). `modified_ns` is the store's own time in ns since 1970 (whole seconds for most).
    `is_appendable`: the store said that `append` takes more bytes for it (listings never say so).
    """

    key: str
    size: int
    version: Version
    modified_ns: int
    metadata: Mapping[str, str] | None = None
    content_type: str | None = None
    storage_class: str | None = None
    is_appendable: bool = False


class KeyMarker(str):
    """A marker of our own making: the listing goes on after this key, which need not be there.

    With a delimiter a common prefix that it begins with may be shown (again) or not. Only for
    stores that have `Capabilities.key_markers`.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing, ascending by key.

    `prefixes` are the common prefixes (with their trailing delimiter). `next_marker` is given to
    the next `list_page` call; None on the last page.
    """

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    next_marker: str | None


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """What is stored beside an object's bytes. Two equal values need no second request."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold at the key for a write to happen; `version` None: no object may be there."""

    version: Version | None


ABSENT = Precondition(None)


@dataclass(frozen=True, slots=True)
class Part:
    """One finished part of a multipart upload: its number (from 1), tag and size in bytes."""

    number: int
    tag: str
    size: int


class Body(Protocol):
    """Bytes to send. May be iterated again from its start (a retry), in a worker thread.

    One with an attribute `is_at_hand` that is true may be iterated anywhere: it never waits.
    """

    @property
    def size(self) -> int:
        """How many bytes `__iter__` yields in all."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order, in pieces of any size."""


class BytesBody:
    """A `Body` over bytes that are in memory."""

    is_at_hand = True

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._view.nbytes

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield all of them in one piece."""
        yield self._view


class Sink(Protocol):
    """Where the bytes of one ranged read go, in order. Called from one worker thread at a time.

    One with an attribute `is_at_hand` that is true may be called anywhere: it never waits.
    """

    received: int
    """Bytes taken so far: a resumed read goes on at `start + received`."""

    def room(self) -> memoryview:
        """Return where the next bytes go (it may block). An empty view ends the read early."""

    def advance(self, count: int) -> None:
        """Say that `count` bytes were put into the last `room`."""

    def reset(self) -> None:
        """Forget what was received: the read begins anew (asked only without a version)."""


class MemorySink:
    """A `Sink` that fills one buffer."""

    is_at_hand = True

    def __init__(self, buffer: bytearray | memoryview) -> None:
        self._view = memoryview(buffer)
        self.received = 0

    def room(self) -> memoryview:
        """Return what is still empty."""
        return self._view[self.received :]

    def advance(self, count: int) -> None:
        """Count `count` more bytes."""
        self.received += count

    def reset(self) -> None:
        """Fill from the start again."""
        self.received = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store does natively, and its limits (bytes unless named otherwise)."""

    append: bool = False
    part_copy: bool = False
    move: bool = False
    copy_replaces_metadata: bool = True
    keeps_metadata: bool = True
    """What is written beside an object's bytes comes back with it."""
    server_copy: bool = True
    """`copy` stays with the store; else the bytes come here and are sent again."""
    ranged_read: bool = True
    """A range is fetched alone; else the object is fetched whole for it."""
    delimited_listing: bool = True
    """A directory is listed alone; else all that is below it is walked over."""
    part_upload: bool = True
    """Parts are sent when they are given; else they are kept here until `commit`."""
    conditional_write: bool = False
    """`write` and `commit` check their precondition atomically; else as close as can be."""
    batch_delete: int = 1
    """Keys in one `delete_many` request; 1: one request a key."""
    symlink: bool = False
    max_object: int = 5 << 40
    max_write: int = 5 << 30
    min_part: int = 5 << 20
    max_part: int = 5 << 30
    max_parts: int = 10_000
    max_copy: int = 5 << 30
    max_append: int = 5 << 30
    """How large an object may become by `append`."""
    max_metadata: int = 2048
    """Names and values of user metadata together."""
    max_key: int = 1024
    """UTF-8 bytes."""
    listing_is_ordered: bool = True
    key_markers: bool = False
    """A listing can begin after any key (`KeyMarker`), and costs what it shows."""
    is_remote: bool = True
    """Requests cross a network: one that says more is better than two that say less."""
    dates_metadata: bool = True
    """A change of metadata alone changes Last-Modified, so that listings tell of it."""
    checksum: str | None = None


class Upload(Protocol):
    """A multipart upload. Parts may be added concurrently; nothing is visible before `commit`."""

    upload_id: str

    async def add_part(self, number: int, body: Body) -> Part:
        """Send part `number`; sending a number again replaces it."""

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make part `number` of bytes that the store already has, if `source` is that version.

        Raises: ObjectChanged, NotSupported.
        """

    async def list_parts(self) -> Sequence[Part]:
        """Return what the store has, ascending by number."""

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object of `parts`. Raises: ObjectChanged where the precondition fails."""

    async def abort(self) -> None:
        """Drop the upload and its parts; an upload that is gone already is no error."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was neither committed nor aborted; `begun_ns` by the store (0: unknown)."""

    key: str
    upload_id: str
    begun_ns: int


@runtime_checkable
class UploadLister(Protocol):
    """A store that can tell which uploads are pending, whoever began them."""

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Return those of keys that begin with `prefix`. Raises: NotSupported, AccessDenied."""


@runtime_checkable
class ObjectStore(Protocol):
    """A bucket, or a part of one."""

    @property
    def capabilities(self) -> Capabilities:
        """What it does natively."""

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info with its metadata. Raises: ObjectNotFound."""

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        """Return the page of keys below `prefix` after `marker` (the last page's `next_marker`).

        Raises: BucketNotFound.
        """

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Put bytes `start + sink.received` to `start + length` into `sink`; return the info.

        Fewer bytes come where the object ends earlier (none at or after its end, which is no
        error) or where the sink ended the read. The info carries metadata. Every byte is of one
        version. Raises: ObjectNotFound, ObjectChanged (not `if_version`), ObjectArchived.
        """

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole.

        Raises: ObjectChanged, ObjectExists, ObjectTooLarge, QuotaExceeded.
        """

    async def append(
        self,
        key: str,
        position: int,
        body: Body,
        attributes: ObjectAttributes | None = None,
    ) -> ObjectInfo:
        """Add to the end if the object is `position` long; at 0 an absent one is made.

        `attributes` stand beside an object that is made. Beside one that grows most stores let
        stand what stood there, others replace it (None: none does): the info that is returned
        tells what stands there now, or has no metadata where that is what did before.
        Raises: ObjectChanged (another length, or gone), NotSupported (this object cannot grow),
        ObjectTooLarge.
        """

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin a multipart upload."""

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Return an upload that was begun before, perhaps by a process that died.

        `key` and `attributes` are those that it was begun with. No request is made: `list_parts`
        tells whether it is still there. Raises: NotSupported (uploads end with their process).
        """

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy on the server; `attributes` replace the source's (needed where source is target).

        Any size: dialects copy by parts what one request cannot. `precondition` is of the target.
        Raises: ObjectNotFound, ObjectChanged, ObjectExists.
        """

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename on the server, replacing `target`. Raises: NotSupported, ObjectNotFound."""

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged (not `if_version`)."""

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys` (any number); return the error of each that was not deleted."""

    async def aclose(self) -> None:
        """Close connections. No other method may be called afterwards."""
