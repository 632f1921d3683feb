"""Admitting: no request for those who may cause none, see `counting.crawlers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bucketfs.counting import causes
from bucketfs.storage.decorated import DecoratedStore

T = TypeVar("T")


class Admitting(DecoratedStore):
    """An `ObjectStore` that asks the inner one only where the cause of the call is admitted.

    Who shares requests with others (`namespace.flights`, `pagecache.reader`) checks before it
    begins one, so that nobody gets a refusal that is meant for another.
    """

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call. Raises: CallerRefused."""
        causes.check_may_ask()
        return await call()
