"""BosGuard: writes that happen only if the object is what the caller knows.

That nothing may be there BOS has kept for years (`x-bce-forbid-overwrite`); that a known version
must be there (`If-Match`) it documents since 2025 only, for every region at once. A region that
ignored the header would lose updates silently. So this one is believed after it was seen to be
kept, once a mount, on an object of ours; until then a HEAD before the write compares as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bucketfs.storage.bos.headers import FORBID_OVERWRITE
from bucketfs.storage.headers import has_etag, quoted
from bucketfs.storage.interface import ObjectInfo, Precondition
from bucketfs.storage.s3.preconditions import Guard


class BosGuard(Guard):
    """S3's guard, with what BOS promises taken for known."""

    def __init__(self, stat: Callable[[str], Awaitable[ObjectInfo]]) -> None:
        super().__init__(stat, is_native=False)
        self._keeps_absent = True
        self._tells_version = True

    @property
    def keeps_version(self) -> bool:
        """Whether this server was seen to compare `If-Match` on a PUT."""
        return self._keeps_version is True

    def native_headers(self, precondition: Precondition | None) -> dict[str, str]:
        """Return the headers of a PUT or Complete; the server refuses what contradicts them."""
        if precondition is None:
            return {}
        if precondition.version is None:
            return {"if-none-match": "*", FORBID_OVERWRITE: "true"}
        return {"if-match": quoted(precondition.version)} if has_etag(precondition.version) else {}

    async def check_unkept(self, key: str, precondition: Precondition | None) -> None:
        """Compare by a HEAD what the server is not known to compare by itself.

        Raises: ObjectChanged.
        """
        if precondition is None or self._is_trusted(precondition):
            return
        await self.check(key, precondition)
