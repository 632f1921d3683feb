"""Guard: writes that happen only if the object is what the caller knows.

COS itself keeps one condition of writing: `x-cos-forbid-overwrite`, no object may be there; and
that only in buckets that never had versioning. Every other one is compared by a HEAD before the
write, which leaves a window of one round trip.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bucketfs.storage.comparing import Comparer
from bucketfs.storage.interface import ObjectInfo, Precondition


class Guard(Comparer):
    """Checks preconditions, and remembers what was written in the last second."""

    def __init__(self, stat: Callable[[str], Awaitable[ObjectInfo]]) -> None:
        super().__init__(stat)
        self.was_ever_versioned = True
        """Whether the bucket may ignore x-cos-forbid-overwrite; True until it is known."""

    def wrote(self, info: ObjectInfo) -> ObjectInfo:
        """Remember that this store itself has just made `info`, and return it."""
        self.remember(info)
        return info

    def native_headers(self, precondition: Precondition | None) -> dict[str, str]:
        """Return the headers by which COS itself keeps `precondition`, as far as it does."""
        if precondition is None or precondition.version is not None:
            return {}
        return {"x-cos-forbid-overwrite": "true"}

    async def before_write(self, key: str, precondition: Precondition | None) -> dict[str, str]:
        """Compare what COS will not compare; return the headers for the rest.

        Raises: ObjectExists, ObjectChanged.
        """
        is_absence = precondition is not None and precondition.version is None
        if precondition is not None and (self.was_ever_versioned or not is_absence):
            await self.check(key, precondition)
        return self.native_headers(precondition)
