"""Metered: a store without a wire, whose calls are counted as its requests.

What is sent by HTTP is counted where it is sent, by `HttpClient`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from bucketfs.counting.meter import Meter
from bucketfs.errors import StorageError, Transient
from bucketfs.storage.decorated import DecoratedStore, DecoratedUpload
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Sink,
    Upload,
    Version,
)

T = TypeVar("T")

_DONE, _REFUSED, _FAILED = 200, 400, 500
"""What stands for the status of an answer."""


class Metered(DecoratedStore):
    """An `ObjectStore` that counts. An answer like "there is no such object" is no failure."""

    def __init__(self, inner: ObjectStore, meter: Meter) -> None:
        super().__init__(inner)
        self._meter = meter

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Count one call."""
        return await self.counted(operation, call)

    async def counted(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        *,
        sent: Body | None = None,
        sink: Sink | None = None,
    ) -> T:
        """Count one call, with what it sends or brings (also where it fails half-way)."""
        before = sink.received if sink is not None else 0
        asked = self._meter.begin(operation)
        try:
            result = await call()
            asked.answered(_DONE)
            asked.sent_bytes = sent.size if sent is not None else 0
            return result
        except StorageError as exc:
            asked.answered(_FAILED if isinstance(exc, Transient) else _REFUSED)
            raise
        finally:
            if sink is not None:
                asked.received_bytes = max(0, sink.received - before)
            self._meter.end(asked)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Read from the inner store."""
        call = partial(self.inner.read_range, key, start, length, sink, if_version)
        return await self.counted("read_range", call, sink=sink)

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Write to the inner store."""
        call = partial(self.inner.write, key, body, attributes, precondition)
        return await self.counted("write", call, sent=body)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Append in the inner store."""
        call = partial(self.inner.append, key, position, body, attributes)
        return await self.counted("append", call, sent=body)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin an upload whose calls count, too."""
        call = partial(self.inner.begin_upload, key, attributes)
        return MeteredUpload(self, key, await self.counted("begin_upload", call))

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Go on with an upload whose calls count, too."""
        return MeteredUpload(self, key, await self.inner.resume_upload(key, upload_id, attributes))


class MeteredUpload(DecoratedUpload):
    """An `Upload` that counts."""

    def __init__(self, store: Metered, key: str, inner: Upload) -> None:
        super().__init__(store, key, inner)
        self._metered = store

    async def add_part(self, number: int, body: Body) -> Part:
        """Send a part."""
        call = partial(self._inner.add_part, number, body)
        return await self._metered.counted("add_part", call, sent=body)
