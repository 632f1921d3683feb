"""Guard: writes that happen only if the object is what the caller knows.

COS itself keeps one condition of writing: `x-cos-forbid-overwrite`, no object may be there; and
that only in buckets that never had versioning. Every other one is compared by a HEAD before the
write, which leaves a window of one round trip.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from cachetools import TTLCache

from bucketfs.errors import ObjectChanged, ObjectExists, ObjectNotFound
from bucketfs.storage.interface import ObjectInfo, Precondition

_RECENT_S = 1.0
_RECENT_KEYS = 4096


class Guard:
    """Checks preconditions, and remembers what was written in the last second."""

    is_native = False
    """COS compares no versions when it deletes."""

    def __init__(self, stat: Callable[[str], Awaitable[ObjectInfo]]) -> None:
        self.stat = stat
        self.was_ever_versioned = True
        """Whether the bucket may ignore x-cos-forbid-overwrite; True until it is known."""
        self._recent: TTLCache[str, ObjectInfo] = TTLCache(
            _RECENT_KEYS, _RECENT_S, timer=trio.current_time
        )

    def wrote(self, info: ObjectInfo) -> ObjectInfo:
        """Remember that this store itself has just made `info`, and return it."""
        self._recent[info.key] = info
        return info

    def removed(self, key: str) -> None:
        """Forget what was known of `key`."""
        self._recent.pop(key, None)

    def recent(self, key: str) -> ObjectInfo | None:
        """Return what this store itself wrote under `key` in the last second."""
        return self._recent.get(key)

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

    async def check(self, key: str, precondition: Precondition) -> None:
        """Compare the object at `key` now. Raises: ObjectExists, ObjectChanged."""
        recent = self.recent(key)
        expected = precondition.version
        if recent is not None and recent.version == expected:
            return
        try:
            found = await self.stat(key)
        except ObjectNotFound as exc:
            if expected is None:
                return
            raise ObjectChanged("the object is gone", key=key, operation="check") from exc
        if expected is None:
            raise ObjectExists("an object is there already", key=key, operation="check")
        if found.version != expected:
            raise ObjectChanged("the object was replaced", key=key, operation="check")
