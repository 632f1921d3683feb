"""RenewedCredentials: keys that are fetched when they are needed, and again before they end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

from bucketfs.errors import Transient
from bucketfs.transport.credentials import Credentials

_EARLY_S = 300.0
"""Keys are renewed this long before they expire (the SDKs: 1 to 15 minutes)."""
_YOUNG_S = 30.0
"""Keys younger than this are not fetched again on a refusal: the refusal has another reason."""


class RenewedCredentials:
    """What `find` gives, remembered until shortly before its end.

    Concurrent `get`s wait for one `find`. Keys that have not ended yet are used on where `find`
    fails for the moment.
    """

    def __init__(self, find: Callable[[], Awaitable[Credentials]]) -> None:
        self._find = find
        self._lock = trio.Lock()
        self._known: Credentials | None = None
        self._known_since_s = 0.0

    async def get(self) -> Credentials:
        """Return credentials that are good for now. Raises: what `find` raises."""
        known = self._known
        if known is not None and not _is_ending(known, _EARLY_S):
            return known
        async with self._lock:
            if self._known is None or _is_ending(self._known, _EARLY_S):
                try:
                    self._known = await self._find()
                except Transient:
                    if self._known is None or _is_ending(self._known, 0):
                        raise
                self._known_since_s = time.time()
            return self._known

    def invalidate(self, refused: Credentials) -> bool:
        """Forget `refused`, unless they are young; return whether to try again with `get`."""
        if self._known is not refused:
            return True
        if time.time() - self._known_since_s < _YOUNG_S:
            return False
        self._known = None
        return True


def _is_ending(credentials: Credentials, early_s: float) -> bool:
    expires = credentials.expires_at_s
    return expires is not None and time.time() >= expires - early_s
