"""Comparer: versions compared by a look before the deed, for what a server does not compare."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from cachetools import TTLCache

from bucketfs.errors import ObjectChanged, ObjectExists, ObjectNotFound
from bucketfs.storage.interface import ObjectInfo, Precondition

_RECENT_S = 1.0
_RECENT_KEYS = 4096


class Comparer:
    """Checks preconditions by `stat`, and remembers what was written in the last second.

    `is_native`: the server itself compares versions wherever it is asked to.
    """

    def __init__(
        self, stat: Callable[[str], Awaitable[ObjectInfo]], *, is_native: bool = False
    ) -> None:
        self.is_native = is_native
        self.stat = stat
        self._recent: TTLCache[str, ObjectInfo] = TTLCache(
            _RECENT_KEYS, _RECENT_S, timer=trio.current_time
        )

    def remember(self, info: ObjectInfo) -> None:
        """Remember that this store itself has just made `info`."""
        self._recent[info.key] = info

    def removed(self, key: str) -> None:
        """Forget what was known of `key`."""
        self._recent.pop(key, None)

    def recent(self, key: str) -> ObjectInfo | None:
        """Return what this store itself wrote under `key` in the last second."""
        return self._recent.get(key)

    def native_headers(self, precondition: Precondition | None) -> dict[str, str]:
        """Return the headers by which the server itself keeps `precondition`, as far as it does."""
        return {}

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
