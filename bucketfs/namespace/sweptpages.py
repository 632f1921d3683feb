"""The pages of one directory's listing from a sweep, and from requests of its own where that ends.

So a sweep is never the reason of an error, or of an absence.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from bucketfs.errors import StorageError, Transient
from bucketfs.namespace.flatpages import Piece
from bucketfs.namespace.listings import Entry
from bucketfs.namespace.masking import LocalChanges
from bucketfs.namespace.pagesource import Answered, PageSource
from bucketfs.namespace.sweep import Heard, Sweep
from bucketfs.storage.interface import ListPage
from bucketfs.storage.key_order import key_bytes

PATIENCE = 3
"""Pages without a line for the directory that waits for them (they are of directories below it)."""


class SweptPages:
    """The pages of the listing of one directory, from a sweep as far as that goes.

    `others(after)` makes the source that goes on where the sweep cannot.
    """

    def __init__(
        self,
        sweep: Sweep,
        prefix: str,
        changes: LocalChanges[Entry],
        ttl_s: float,
        others: Callable[[str | None], PageSource],
    ) -> None:
        self._sweep = sweep
        self._prefix = prefix
        self._changes = changes
        self._ttl_s = ttl_s
        self._others = others
        self._swept = sweep.take(prefix)
        self._last: str | None = None
        self._rest: PageSource | None = None

    async def page(self) -> Answered:
        """Return the next page. Raises: StorageError."""
        waited = 0
        while self._rest is None:
            heard = self._next()
            if heard is not None and heard.asked_s > trio.current_time() - self._ttl_s:
                return _answered(heard)
            if heard is not None or waited >= PATIENCE or not self._may_wait():
                self._leave_sweep()
                break
            waited += 1
            try:
                await self._sweep.advance()
            except Transient:
                raise
            except StorageError:
                # This server, or its rules, may well answer for the directory alone.
                self._leave_sweep()
        if self._rest is None:
            raise AssertionError("neither the sweep nor another source has the page")
        return await self._rest.page()

    def taken(self) -> None:
        """Go on to the next page."""
        if self._rest is not None:
            self._rest.taken()
            return
        heard = self._next()
        if heard is None or self._swept is None:
            return
        self._swept.heard.popleft()
        self._changes.end(heard.moment)
        self._last = _last_of(heard.piece) or self._last
        self._sweep.served(heard.piece)

    def run_ahead(self) -> None:
        """Ask for the next page."""
        if self._rest is not None:
            self._rest.run_ahead()
        elif self._swept is not None and not self._swept.heard:
            self._sweep.ask()

    def close(self) -> None:
        """Give up what was not taken."""
        if self._rest is not None:
            self._rest.close()
        elif self._swept is not None:
            self._sweep.give_up(self._swept)

    def _next(self) -> Heard | None:
        if self._swept is None:
            self._swept = self._sweep.take(self._prefix)
        return self._swept.heard[0] if self._swept is not None and self._swept.heard else None

    def _may_wait(self) -> bool:
        if self._swept is None:
            return self._sweep.may_reach(self._prefix)
        return self._sweep.may_ask()

    def _leave_sweep(self) -> None:
        if self._swept is not None:
            self._sweep.give_up(self._swept)
        self._sweep.budget.missed()
        self._rest = self._others(self._last)


def _answered(heard: Heard) -> Answered:
    piece = heard.piece
    page = ListPage(piece.objects, piece.prefixes, None if piece.is_last else "more")
    return Answered(
        page, heard.moment, heard.asked_s, dict(zip(piece.prefixes, piece.markers, strict=True))
    )


def _last_of(piece: Piece) -> str | None:
    last = [info.key for info in piece.objects[-1:]] + piece.prefixes[-1:]
    return max(last, key=key_bytes, default=None)
