"""RenewedCredentials: keys that are exchanged for newer ones while requests go on.

Three things renew keys: their end comes near, a file that they came from may have been written
anew, or the server refused them. Only the last lets a request wait, and keys that have ended.

What renews in the background is a system task of trio: it lives shorter than the run, raises
nothing, and a layer this low has no nursery; the wire's own threads are no place for it either,
because what finds keys talks HTTP itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from bucketfs import logs
from bucketfs.errors import BucketfsError, ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials import ENVIRONMENT, Credentials

_EARLY_S = 300.0
"""Keys are renewed this long before they expire (the SDKs: 10 to 15 minutes), or after half of the
time that was left of them, if that is later: some machines are lent keys for a few minutes only."""
_LEAST_S = 0.5
"""Keys that have ended when they are found are used for so long before others are looked for: it
may be this machine's clock that is wrong, and the server is the judge."""
_FILE_S = 10.0
"""How old what is known of a file may be."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""After finding has failed it is not tried again for so long; the pause doubles."""
_CERTAIN_PAUSE_S = 1.0
_DOUBTFUL_PAUSE_S = 30.0
"""After a refusal for which no other keys were found, none are looked for again for so long: an
object that is forbidden must not cost one look for keys at each request."""
_GRACE_S = 10.0
_PROVEN_S = 2.0
_FORGOTTEN_S = 30.0
"""Keys that were good for a while and are refused now were probably exchanged, and what gives them
may be a little late: for so long requests are tried again instead of failing. A refusal that is
long ago counts no more."""

_log = logging.getLogger(__name__)


class RenewedCredentials:
    """What `find` gives, remembered, and renewed before its end, after a change or a refusal.

    One `find` runs at a time, whoever needs it. Keys that have not ended are used on where it
    fails. The same keys are always the same object. For one trio run.
    """

    def __init__(self, find: Callable[[], Awaitable[Credentials]]) -> None:
        self._find = find
        self._lock = trio.Lock()
        self._known: Credentials | None = None
        self._found_s = 0.0
        self._renew_at_s = 0.0
        self._is_renewing = False
        self._failure: tuple[float, str] | None = None
        self._failures = 0
        self._fruitless_s: float | None = None
        self._known_since_s = 0.0
        self._refused_since_s: float | None = None
        self._last_refused_s = 0.0

    async def get(self) -> Credentials:
        """Return credentials that are good for now; waits only where there are none yet.

        Raises: what `find` raises, the first time; KeysUnavailable, where the known ones have ended
        and there are no others for the moment.
        """
        known = self._known
        if known is None or self._is_over(known):
            return await self._get_anew()
        if time.time() >= self._renew_at_s and not self._is_renewing:
            self._is_renewing = True
            trio.lowlevel.spawn_system_task(self._renew, name="credentials")
        return known

    async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
        """Return others than `refused`; None: there are none, or none were found just now.

        Raises: KeysUnavailable, where `is_certain` and finding them failed, or they may come late.
        """
        if self._is_settled(refused, is_certain):
            self._check_patience(is_certain)
            return None
        async with self._lock:
            known = self._known
            if known is not None and not known.has_keys_of(refused):
                return known
            if self._is_settled(refused, is_certain):
                self._check_patience(is_certain)
                return None
            try:
                found = await self._find_now()
            except BucketfsError as exc:
                if is_certain:
                    self._raise(exc)
                self._fruitless_s = time.time()
                return None
            if found.has_keys_of(refused):
                self._fruitless_s = time.time()
                self._check_patience(is_certain)
                return None
            return found

    async def _get_anew(self) -> Credentials:
        async with self._lock:
            known = self._known
            if known is not None and not self._is_over(known):
                return known
            try:
                return await self._find_now()
            except BucketfsError as exc:
                self._raise(exc)

    async def _renew(self) -> None:
        """Look for newer keys; whatever goes wrong is only logged."""
        try:
            async with self._lock:
                known = self._known
                if known is not None and time.time() >= self._renew_at_s:
                    await self._find_now()
        except BucketfsError as exc:
            if self._failures == 1:
                _log.warning("the keys could not be renewed, and will be tried again: %s", exc)
        except Exception:
            _log.exception("renewing the keys broke")
            self._renew_at_s = time.time() + _LONGEST_PAUSE_S
        finally:
            self._is_renewing = False

    async def _find_now(self) -> Credentials:
        """Find keys and remember them; the lock is held.

        Raises: what `find` raises; KeysUnavailable, where that just failed; ConfigurationError, for
        keys of another origin: a file that is gone for a moment must not make this another user.
        """
        if self._failure is not None and self._is_recent(self._failure[0]):
            raise KeysUnavailable(self._failure[1], sent=False)
        try:
            found = await self._find()
            self._check_origin(found)
        except BucketfsError as exc:
            self._failed(exc)
            raise
        self._failure, self._failures = None, 0
        return self._take(found)

    def _check_origin(self, found: Credentials) -> None:
        known = self._known
        if known is not None and known.origin != found.origin:
            raise ConfigurationError(
                f"{known.origin} gives no keys any more; a new mount would take those of "
                f"{found.origin}"
            )

    def _take(self, found: Credentials) -> Credentials:
        # ATOMIC: nobody sees new keys with the times of old ones.
        known = self._known
        self._found_s = time.time()
        if known is None or not known.has_keys_of(found):
            self._fruitless_s = self._refused_since_s = None
            self._known_since_s = self._found_s
            logs.hide_secrets(found.secret_key, found.session_token)
            if known is not None:
                _log.info("there are new keys%s", f" from {found.origin}" if found.origin else "")
        if known is None or known != found:
            self._known = known = found
        self._renew_at_s = self._due_s(known)
        return known

    def _due_s(self, found: Credentials) -> float:
        due_s = self._found_s + _FILE_S if found.is_of_file else float("inf")
        expires = found.expires_at_s
        if expires is None:
            return due_s
        left_s = max(expires - self._found_s, 2 * _LEAST_S)
        return min(due_s, self._found_s + max(left_s / 2, left_s - _EARLY_S))

    def _is_over(self, known: Credentials) -> bool:
        expires, now_s = known.expires_at_s, time.time()
        return expires is not None and now_s >= max(expires, self._found_s + _LEAST_S)

    def _is_settled(self, refused: Credentials, is_certain: bool) -> bool:
        """Return whether others than `refused` were looked for just now, without finding any."""
        known, since_s = self._known, self._fruitless_s
        if since_s is None or known is None or not known.has_keys_of(refused):
            return False
        pause_s = _CERTAIN_PAUSE_S if is_certain else _DOUBTFUL_PAUSE_S
        return 0 <= time.time() - since_s < pause_s

    def _check_patience(self, is_certain: bool) -> None:
        """Raise KeysUnavailable, where other keys are worth waiting for."""
        known, now_s = self._known, time.time()
        if not is_certain or known is None or known.origin == ENVIRONMENT:
            return
        if self._refused_since_s is None or now_s - self._last_refused_s > _FORGOTTEN_S:
            self._refused_since_s = now_s
        self._last_refused_s = now_s
        is_proven = self._refused_since_s - self._known_since_s > _PROVEN_S
        if is_proven and 0 <= now_s - self._refused_since_s < _GRACE_S:
            said = "the server refuses the keys, and there are no others yet"
            raise KeysUnavailable(said, sent=False)

    def _failed(self, exc: BucketfsError) -> None:
        self._failures += 1
        now_s = time.time()
        # Once is tried again at once by whoever needs keys; more than once, not by each of them.
        self._failure = (now_s, str(exc)) if self._failures > 1 else None
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
        expires = self._known.expires_at_s if self._known is not None else None
        if expires is not None:
            pause_s = min(pause_s, max(_LEAST_S, (expires - now_s) / 4))
        self._renew_at_s = now_s + pause_s

    def _is_recent(self, failed_s: float) -> bool:
        return 0 <= time.time() - failed_s < _LEAST_S

    def _raise(self, exc: BucketfsError) -> NoReturn:
        """Tell a request of it: what went well before may go well again."""
        if self._known is None or isinstance(exc, KeysUnavailable):
            raise exc
        raise KeysUnavailable(f"{exc} (it went well before)", sent=False) from exc
