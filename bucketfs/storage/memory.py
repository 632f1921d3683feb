"""A bucket in this process's memory (`memory://name`): every ability, no wire, gone at the end.

It exists as the strictest reading of `interface.py`: tests of the layers above run against it, and
the contract suite holds the real dialects to the same behaviour.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import trio

from bucketfs.errors import (
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
)
from bucketfs.storage.interface import (
    Body,
    BytesBody,
    Capabilities,
    ListPage,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    PendingUpload,
    Precondition,
    Sink,
    Upload,
    Version,
)
from bucketfs.storage.key_order import SortedKeys, key_bytes
from bucketfs.storage.memory_upload import MemoryUpload, UploadState

INLINE_BYTES = 1 << 20
"""Bytes in memory up to this many are copied without a thread: the hop would cost more."""

DEFAULT_CAPABILITIES = Capabilities(
    append=True,
    part_copy=True,
    move=True,
    conditional_write=True,
    batch_delete=1000,
    key_markers=True,
)


@dataclass(frozen=True, slots=True)
class _Object:
    info: ObjectInfo
    data: bytes


class MemoryStore:
    """An `ObjectStore` over a dict; all its changes are atomic, every version is a new number.

    `capabilities` may be narrowed or widened (a small `min_part`, no `append`) to test how the
    layers above live with less. `now_ns` is the store's own clock.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        capabilities: Capabilities = DEFAULT_CAPABILITIES,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._capabilities = capabilities
        self._now_ns = now_ns
        self._objects: dict[str, _Object] = {}
        self._order = SortedKeys()
        self._uploads: dict[str, UploadState] = {}
        self._numbers = itertools.count(1)
        # Reads wait where memory is short; the writes that free it must not wait behind them.
        self._reads = trio.CapacityLimiter(8)
        self._limiter = trio.CapacityLimiter(8)

    @property
    def capabilities(self) -> Capabilities:
        """Return what the constructor was given."""
        return self._capabilities

    async def check(self) -> None:
        """Return at once: a bucket in memory exists."""
        await trio.lowlevel.checkpoint()

    async def stat(self, key: str) -> ObjectInfo:
        """Return an object's info. Raises: ObjectNotFound."""
        await trio.lowlevel.checkpoint()
        return self._present(key, "stat").info

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        """Return one page in the order of the keys' UTF-8 bytes. A marker is a key or a prefix."""
        await trio.lowlevel.checkpoint()
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last: str | None = None
        place = self._place_after(prefix, delimiter, marker)
        while place < len(self._order) and self._order[place].startswith(prefix):
            if len(objects) + len(prefixes) >= limit:
                return ListPage(objects, prefixes, last)
            key = self._order[place]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                last = key
                # Like the clouds: a listing carries neither metadata nor content type.
                info = self._objects[key].info
                info = replace(info, metadata=None, content_type=None, is_appendable=False)
                objects.append(info)
                place += 1
            else:
                last = key[: end + len(delimiter)]
                prefixes.append(last)
                place = self._order.first_behind(last)
        return ListPage(objects, prefixes, None)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Fill `sink`. Raises: ObjectNotFound, ObjectChanged."""
        await trio.lowlevel.checkpoint()
        found = self._present(key, "read")
        if if_version is not None and found.info.version != if_version:
            raise ObjectChanged("the object was replaced", key=key, operation="read")
        wanted = memoryview(found.data)[start + sink.received : start + length]
        if isinstance(sink, MemorySink) and len(wanted) <= INLINE_BYTES:
            _pour(wanted, sink)
        else:
            await trio.to_thread.run_sync(_pour, wanted, sink, limiter=self._reads)
        return found.info

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Store an object whole. Raises: ObjectChanged, ObjectExists, ObjectTooLarge."""
        self._check_key(key, "write")
        if body.size > self._capabilities.max_write:
            raise ObjectTooLarge("too large for one write", key=key, operation="write")
        data = await self._collected(body)
        # ATOMIC: the precondition holds when the object appears.
        self._check_precondition(key, precondition, "write")
        return self._put(key, data, attributes)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end of an object that appends made; an absent one is 0 bytes long.

        Raises: ObjectChanged, NotSupported, ObjectTooLarge.
        """
        self._check_key(key, "append")
        data = await self._collected(body)
        # ATOMIC: the length is compared and changed in one step.
        old = self._objects.get(key)
        size = len(old.data) if old else 0
        if position != size:
            raise ObjectChanged(f"it has {size} bytes, not {position}", key=key, operation="append")
        if old is not None and not old.info.is_appendable:
            raise NotSupported("it was not made by appends", key=key, operation="append")
        if size + len(data) > self._capabilities.max_append:
            raise ObjectTooLarge("too large to grow by appends", key=key, operation="append")
        attributes = _attributes(old.info) if old else attributes or ObjectAttributes()
        whole = old.data + data if old else data
        return self._put(key, whole, attributes, is_appendable=True)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin a multipart upload."""
        await trio.lowlevel.checkpoint()
        self._check_key(key, "begin_upload")
        upload_id = f"upload-{next(self._numbers)}"
        self._uploads[upload_id] = UploadState(key, attributes, self._now_ns())
        return MemoryUpload(self, upload_id)

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Go on with an upload that was begun before."""
        await trio.lowlevel.checkpoint()
        return MemoryUpload(self, upload_id)

    async def list_uploads(self, prefix: str) -> Sequence[PendingUpload]:
        """Return the uploads below `prefix` that are neither committed nor aborted."""
        await trio.lowlevel.checkpoint()
        return [
            PendingUpload(state.key, upload_id, state.begun_ns)
            for upload_id, state in self._uploads.items()
            if state.key.startswith(prefix)
        ]

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy in one step. Raises: ObjectNotFound, ObjectChanged, ObjectExists, InvalidRequest."""
        await trio.lowlevel.checkpoint()
        self._check_key(target, "copy")
        found = self._present(source, "copy")
        if source_version is not None and found.info.version != source_version:
            raise ObjectChanged("the source was replaced", key=source, operation="copy")
        if source == target and attributes is None:
            raise InvalidRequest("it changes nothing", key=source, operation="copy")
        self._check_precondition(target, precondition, "copy")
        return self._put(target, found.data, attributes or _attributes(found.info))

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename in one step; the version stays. Raises: ObjectNotFound."""
        await trio.lowlevel.checkpoint()
        self._check_key(target, "move")
        found = self._present(source, "move")
        if source == target:
            return found.info
        self._remove(source)
        return self._place(_Object(replace(found.info, key=target), found.data))

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        """Delete; an absent object is no error. Raises: ObjectChanged."""
        await trio.lowlevel.checkpoint()
        found = self._objects.get(key)
        if found is None:
            return
        if if_version is not None and found.info.version != if_version:
            raise ObjectChanged("the object was replaced", key=key, operation="delete")
        self._remove(key)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; none fails here."""
        await trio.lowlevel.checkpoint()
        for key in list(keys):
            if key in self._objects:
                self._remove(key)
        return {}

    async def aclose(self) -> None:
        """Let the objects live on: another user of the same store may still be there."""
        await trio.lowlevel.checkpoint()

    # -- what MemoryUpload asks --------------------------------------------------------------

    def _put(
        self, key: str, data: bytes, attributes: ObjectAttributes, *, is_appendable: bool = False
    ) -> ObjectInfo:
        metadata = {name.lower(): value for name, value in attributes.metadata.items()}
        version, kind = Version(f"v{next(self._numbers)}"), attributes.content_type
        now_ns = self._now_ns()
        info = ObjectInfo(
            key, len(data), version, now_ns, metadata, kind, "STANDARD", is_appendable
        )
        return self._place(_Object(info, data))

    def _present(self, key: str, operation: str) -> _Object:
        found = self._objects.get(key)
        if found is None:
            raise ObjectNotFound("no such object", key=key, operation=operation)
        return found

    def _check_precondition(
        self, key: str, precondition: Precondition | None, operation: str
    ) -> None:
        if precondition is None:
            return
        found = self._objects.get(key)
        if precondition.version is None:
            if found is not None:
                raise ObjectExists("an object is there already", key=key, operation=operation)
        elif found is None or found.info.version != precondition.version:
            raise ObjectChanged("the object was replaced", key=key, operation=operation)

    async def _collected(self, body: Body) -> bytes:
        if isinstance(body, BytesBody) and body.size <= INLINE_BYTES:
            await trio.lowlevel.checkpoint()
            return b"".join(body)
        return await trio.to_thread.run_sync(b"".join, body, limiter=self._limiter)

    # -- the ordered dict ----------------------------------------------------------------------

    def _check_key(self, key: str, operation: str) -> None:
        if not key or len(key_bytes(key)) > self._capabilities.max_key:
            raise InvalidKey("an empty key, or one that is too long", key=key, operation=operation)

    def _place(self, found: _Object) -> ObjectInfo:
        if found.info.key not in self._objects:
            self._order.add(found.info.key)
        self._objects[found.info.key] = found
        return found.info

    def _remove(self, key: str) -> None:
        del self._objects[key]
        self._order.remove(key)

    def _place_after(self, prefix: str, delimiter: str, marker: str | None) -> int:
        if marker is None or key_bytes(marker) < key_bytes(prefix):
            return self._order.first_below(prefix)
        if delimiter and delimiter in marker[len(prefix) :]:
            return self._order.first_behind(marker)
        return self._order.first_after(marker)


def _attributes(info: ObjectInfo) -> ObjectAttributes:
    return ObjectAttributes(info.metadata or {}, info.content_type)


def _pour(data: memoryview, sink: Sink) -> None:
    """Copy `data` into `sink` until one of them ends."""
    while data:
        room = sink.room()
        count = min(len(room), len(data))
        if not count:
            return
        room[:count] = data[:count]
        sink.advance(count)
        data = data[count:]
