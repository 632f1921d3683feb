"""The base of a content: the version of an object in the bucket that unchanged bytes come from."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from bucketfs.errors import ConfusedServer, ObjectChanged, ObjectNotFound
from bucketfs.pagecache.blocks.source import BlockCache, Source
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.reader import ObjectReader
from bucketfs.pagecache.window import ReadSettings
from bucketfs.storage.interface import MemorySink, ObjectInfo, ObjectStore

FETCH_BYTES = 1 << 20
"""Who wants all of a base asks for blocks of this size."""


class BaseVersion:
    """One version of an object and its reader, which is closed when nobody reads any more."""

    def __init__(self, reader: ObjectReader, source: Source) -> None:
        self._reader = reader
        self._source = source
        self._readers = 0
        self._is_retired = False

    @property
    def info(self) -> ObjectInfo:
        """The version, under the key that it has now."""
        return self._reader.info

    @property
    def held_bytes(self) -> int:
        """How many of its bytes are in memory."""
        return self._reader.held_bytes

    async def read(self, start: int, length: int) -> Sequence[bytes | memoryview]:
        """Return exactly the bytes asked for. Raises: StorageError, ObjectChanged."""
        self._readers += 1
        try:
            return await self._reader.read(start, length)
        except ObjectNotFound as exc:
            raise self._gone() from exc
        finally:
            self._readers -= 1
            self._close_if_unused()

    async def fetch(self, start: int, length: int) -> bytearray:
        """Return exactly the bytes asked for, by one request and into memory of their own.

        For what is sent again at once: nothing is read ahead. Raises: StorageError, ObjectChanged.
        """
        info, data = self.info, bytearray(length)
        sink = MemorySink(data)
        try:
            await self._source.read_range(info.key, start, length, sink, info.version)
        except ObjectNotFound as exc:
            raise self._gone() from exc
        if sink.received != length:
            raise ConfusedServer("fewer bytes came than there are", key=info.key, operation="read")
        return data

    def moved(self, info: ObjectInfo) -> None:
        """Note that the same bytes are now at this key and version."""
        self._reader.moved(info)

    def retire(self) -> None:
        """Close the reader, once those who read have what they asked for."""
        self._is_retired = True
        self._close_if_unused()

    def _gone(self) -> ObjectChanged:
        return ObjectChanged(
            "the object was deleted while it was open; open the file again",
            key=self.info.key,
            operation="read",
        )

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._readers:
            self._reader.close()
            self._is_retired = False


class Bases:
    """Opens versions of objects in `store`: by way of `blocks`, where there is a disk cache."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        memory: Budget,
        settings: ReadSettings,
        blocks: BlockCache | None = None,
    ) -> None:
        self._store = store
        self._nursery = nursery
        self._memory = memory
        self._settings = settings
        self._blocks = blocks

    def open(self, info: ObjectInfo, data: bytes | None = None) -> BaseVersion:
        """Return the base `info`, of which `data` may be all bytes. No request is made."""
        source: Source = self._store
        if self._blocks is not None:
            source = self._blocks.source(self._store, info)
            if data is not None:
                self._blocks.keep_whole(info, data)
        reader = ObjectReader(
            source,
            info,
            budget=self._memory,
            nursery=self._nursery,
            settings=self._settings,
            data=data,
        )
        return BaseVersion(reader, source)
