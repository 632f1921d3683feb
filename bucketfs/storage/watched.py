"""Watched: the outermost store, which notes what is asked of it as long as that is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bucketfs.counting.underway import Underway
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.interface import ObjectStore

T = TypeVar("T")


class Watched(DecoratedStore):
    """An `ObjectStore` whose calls stand in `underway` while they last."""

    def __init__(self, inner: ObjectStore, underway: Underway) -> None:
        super().__init__(inner)
        self._underway = underway

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, and note it."""
        with self._underway.calling(operation, key):
            return await call()
