"""Metered: what was asked of a store, how often, how long it took, how much it carried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from bucketfs.errors import StorageError
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Precondition,
    Sink,
    Version,
)

T = TypeVar("T")


@dataclass(slots=True)
class Measure:
    """Figures of one operation: calls (all, failed, under way), bytes, seconds (sum, longest)."""

    calls: int = 0
    errors: int = 0
    in_flight: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0


class Metered(DecoratedStore):
    """An `ObjectStore` that counts. `snapshot` may be called at any time."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self._measures: dict[str, Measure] = {}

    def snapshot(self) -> Mapping[str, Measure]:
        """Return a copy of the figures, by the name of the operation."""
        return {name: replace(measure) for name, measure in self._measures.items()}

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Count one call; a `StorageError` counts as an error, cancellation does not."""
        measure = self._measures.setdefault(operation, Measure())
        measure.calls += 1
        measure.in_flight += 1
        began_s = trio.current_time()
        try:
            return await call()
        except StorageError:
            measure.errors += 1
            raise
        finally:
            took_s = trio.current_time() - began_s
            measure.in_flight -= 1
            measure.total_s += took_s
            measure.longest_s = max(measure.longest_s, took_s)

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Read, and count the bytes that came (also of a read that failed half-way)."""
        before = sink.received
        try:
            return await super().read_range(key, start, length, sink, if_version)
        finally:
            self._measures["read_range"].received_bytes += sink.received - before

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Write, and count the bytes that were stored."""
        info = await super().write(key, body, attributes, precondition)
        self._measures["write"].sent_bytes += body.size
        return info
