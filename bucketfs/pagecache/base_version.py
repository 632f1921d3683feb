"""The base of a content: the version of an object in the bucket that unchanged bytes come from."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from bucketfs.errors import ObjectChanged, ObjectNotFound
from bucketfs.pagecache.reader import ObjectReader
from bucketfs.storage.interface import ObjectInfo


class BaseVersion:
    """One version of an object and its reader, which is closed when nobody reads any more."""

    def __init__(self, reader: ObjectReader, nursery: trio.Nursery) -> None:
        self._reader = reader
        self._nursery = nursery
        self._readers = 0
        self._is_retired = False

    @property
    def info(self) -> ObjectInfo:
        """The version, under the key that it has now."""
        return self._reader.info

    async def read(self, start: int, length: int) -> Sequence[bytes | memoryview]:
        """Return exactly the bytes asked for. Raises: StorageError, ObjectChanged."""
        self._readers += 1
        try:
            return await self._reader.read(start, length)
        except ObjectNotFound as exc:
            raise ObjectChanged(
                "the object was deleted while it was open; open the file again",
                key=self.info.key,
                operation="read",
            ) from exc
        finally:
            self._readers -= 1
            self._close_if_unused()

    def moved(self, info: ObjectInfo) -> None:
        """Note that the same bytes are now at this key and version."""
        self._reader.moved(info)

    def retire(self) -> None:
        """Close the reader in the background, once those who read have what they asked for."""
        self._is_retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._readers:
            self._nursery.start_soon(self._reader.aclose)
            self._is_retired = False
