"""A store that fails on demand: before a call reaches the inner store, or after it did."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bucketfs.errors import Transient
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.interface import ObjectStore

T = TypeVar("T")


class Failing(DecoratedStore):
    """Raises what was planned for an operation; `is_done`: after carrying it out (answer lost)."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.calls: dict[str, int] = defaultdict(int)
        self._plans: dict[str, deque[tuple[Exception, bool]]] = defaultdict(deque)

    def plan(
        self,
        operation: str,
        error: Exception | None = None,
        *,
        is_done: bool = False,
        times: int = 1,
    ) -> None:
        """Let the next `times` calls of `operation` fail."""
        for _ in range(times):
            self._plans[operation].append((error or Transient("planned"), is_done))

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Fail as planned, or pass the call on."""
        self.calls[operation] += 1
        if not self._plans[operation]:
            return await call()
        error, is_done = self._plans[operation].popleft()
        if is_done:
            await call()
        raise error
