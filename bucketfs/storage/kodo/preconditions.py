"""Guard: writes that happen only if the object is what the caller knows.

Kodo can insist on one thing when it stores bytes: that no object is there (`insertOnly`). But it
accepts bytes that are already there under the key as a success, so two that make the same (empty)
file would both believe to have made it. And it compares no versions. So a stat comes before,
unless this store itself learned the answer within the last second: a window of that size remains
for versions, and for equal bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from cachetools import TTLCache

from bucketfs.errors import ObjectChanged, ObjectExists, ObjectNotFound
from bucketfs.storage.interface import ObjectInfo, Precondition

_RECENT_S = 1.0
_RECENT_KEYS = 4096


Stat = Callable[[str], Awaitable[ObjectInfo]]
"""Asks for one object."""


class Guard:
    """Checks preconditions, and remembers what is known of keys from the last second."""

    def __init__(self, stat: Stat) -> None:
        self._stat = stat
        # None: Kodo said, or this store saw to it, that nothing is there.
        self._recent: TTLCache[str, ObjectInfo | None] = TTLCache(
            _RECENT_KEYS, _RECENT_S, timer=trio.current_time
        )

    def wrote(self, info: ObjectInfo) -> ObjectInfo:
        """Remember, and return, what this store itself has just made."""
        self._recent[info.key] = info
        return info

    def is_absent(self, key: str) -> None:
        """Remember that there is no object at `key`."""
        self._recent[key] = None

    def forget(self, key: str) -> None:
        """Forget what was known: a change is under way."""
        self._recent.pop(key, None)

    def written(self, key: str) -> ObjectInfo | None:
        """Return what this store wrote at `key` in the last second."""
        return self._recent.get(key)

    async def check(self, key: str, precondition: Precondition | None) -> None:
        """Compare the object at `key` now. Raises: ObjectExists, ObjectChanged."""
        if precondition is None:
            return
        expected = precondition.version
        if key in self._recent:
            recent = self._recent[key]
            if (recent.version if recent else None) == expected:
                return
        try:
            found = await self._stat(key)
        except ObjectNotFound as exc:
            if expected is None:
                return
            raise ObjectChanged("the object is gone", key=key, operation="check") from exc
        if expected is None:
            raise ObjectExists("an object is there already", key=key, operation="check")
        if found.version != expected:
            raise ObjectChanged("the object was replaced", key=key, operation="check")
