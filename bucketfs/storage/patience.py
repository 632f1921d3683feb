"""Opening a bucket that cannot be reached yet: before the network of a machine is up."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from bucketfs.errors import Transient
from bucketfs.storage.interface import ObjectStore

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


async def open_patiently(
    open_once: Callable[[], Awaitable[ObjectStore]], limit_s: float, say: Callable[[str], object]
) -> ObjectStore:
    """Return what `open_once` does, tried again for `limit_s` while its failure may pass.

    No attempt begins after that; the last one lasts as long as it does. `say` hears of each failure
    but the last.
    A wrong key, a bucket that is not there, an option that is wrong fail at once.
    Raises: what `open_once` does.
    """
    pause_s = FIRST_PAUSE_S
    end = trio.current_time() + limit_s
    while True:
        try:
            return await open_once()
        except Transient as exc:
            left_s = end - trio.current_time()
            if left_s <= 0:
                raise
            log.info("the store cannot be reached yet, it is tried again: %s", exc)
            say(f"waiting for the store: {exc}")
            await trio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
