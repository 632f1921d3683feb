"""Guard: writes that happen only if the object is what the caller knows.

Amazon checks `If-None-Match: *` and `If-Match` on PUT and Complete, and `If-Match` on DELETE. Other
servers check some of them, ignore some, and Ceph's radosgw 16 refuses every `If-Match` on PUT. So
elsewhere a header is used only after this server was seen to keep it, on an object of ours that was
just written; until then, and where it fails, a HEAD before the write compares, which leaves a
window of one round trip.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bucketfs.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    Transient,
)
from bucketfs.storage.comparing import Comparer
from bucketfs.storage.headers import has_etag, quoted
from bucketfs.storage.interface import ObjectInfo, Precondition, Version

Put = Callable[[Mapping[str, str]], Awaitable[ObjectInfo]]
"""Writes the object with these further headers."""

_SMALL_BYTES = 64 << 10
"""Objects up to this size may be written a second time to learn what the server does."""
_NO_VERSION = Version("00000000000000000000000000000000")


class Guard(Comparer):
    """Decides how preconditions are checked, and remembers what was written in the last second."""

    def __init__(self, stat: Callable[[str], Awaitable[ObjectInfo]], *, is_native: bool) -> None:
        super().__init__(stat, is_native=is_native)
        # None: not known yet. Elsewhere than at Amazon only writes teach; see `write`.
        self._keeps_absent: bool | None = True if is_native else None
        self._keeps_version: bool | None = True if is_native else None
        # Gateways to file systems may answer a PUT with another ETag than they show afterwards.
        self._tells_version: bool | None = True if is_native else None

    async def wrote(self, info: ObjectInfo) -> ObjectInfo:
        """Remember that this store itself has just made `info`; return what the server shows.

        One HEAD after the first write learns whether that is the same; if not, one after each.
        """
        if self._tells_version is not True:
            info = await self._shown(info)
        self.remember(info)
        return info

    async def _shown(self, info: ObjectInfo) -> ObjectInfo:
        try:
            shown = await self.stat(info.key)
        except (Transient, ObjectNotFound):
            if self._tells_version is False:
                raise
            return info  # The write itself was acknowledged; a later one will teach.
        if shown.size != info.size:
            return info  # Somebody else was quicker.
        if self._tells_version is None:
            self._tells_version = shown.version == info.version
        return shown

    async def write(
        self, key: str, size: int, precondition: Precondition | None, put: Put
    ) -> ObjectInfo:
        """Do `put` if `precondition` holds at `key`; return what it wrote.

        Until the server's ways are known, a small object is written up to three times.
        Raises: ObjectExists, ObjectChanged, and what `put` raises.
        """
        if precondition is None:
            info = await put({})
        elif self._is_trusted(precondition):
            info = await self._put_if(precondition, put, key)
        else:
            await self.check(key, precondition)
            info = await put({})
            if size <= _SMALL_BYTES and has_etag(info.version):
                info = await self._learn(precondition, put, info)
        return await self.wrote(info)

    def native_headers(self, precondition: Precondition | None) -> dict[str, str]:
        """Return the headers for a Complete or DELETE; only for a native guard."""
        if precondition is None:
            return {}
        if precondition.version is None:
            return {"if-none-match": "*"}
        return {"if-match": quoted(precondition.version)}

    def _is_trusted(self, precondition: Precondition) -> bool:
        if precondition.version is None:
            return self._keeps_absent is True
        return self._keeps_version is True and has_etag(precondition.version)

    async def _put_if(self, precondition: Precondition, put: Put, key: str) -> ObjectInfo:
        try:
            return await put(self.native_headers(precondition))
        except ObjectChanged as exc:
            if precondition.version is not None:
                raise
            raise ObjectExists(
                "an object is there already",
                key=key,
                operation=exc.operation,
                request_id=exc.request_id,
            ) from exc
        except ObjectNotFound as exc:
            raise ObjectChanged("the object is gone", key=key, operation=exc.operation) from exc

    async def _learn(self, precondition: Precondition, put: Put, info: ObjectInfo) -> ObjectInfo:
        """Write the same bytes again over our own object, to see what the server refuses."""
        if precondition.version is None and self._keeps_absent is None:
            self._keeps_absent = False  # ATOMIC: others go the safe way while one task learns.
            return await self._learn_absent(put, info)
        if precondition.version is not None and self._keeps_version is None:
            self._keeps_version = False  # ATOMIC: as above.
            return await self._learn_version(put, info)
        return info

    async def _learn_absent(self, put: Put, info: ObjectInfo) -> ObjectInfo:
        try:
            return await put({"if-none-match": "*"})
        except ObjectChanged:
            self._keeps_absent = True
        except Transient:
            self._keeps_absent = None
        except StorageError:
            pass  # It does not know the header: never to be used.
        return info

    async def _learn_version(self, put: Put, info: ObjectInfo) -> ObjectInfo:
        try:
            return await put({"if-match": quoted(_NO_VERSION)})
        except Transient:
            self._keeps_version = None
            return info
        except (ObjectChanged, ObjectNotFound):
            pass  # It compares; but does it know its own ETag again?
        except StorageError:
            return info
        try:
            info = await put({"if-match": quoted(info.version)})
            self._keeps_version = True
        except Transient:
            self._keeps_version = None
        except StorageError:
            pass  # It refuses what is right: never to be used.
        return info
