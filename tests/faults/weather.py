"""Bad weather: a share of all requests fails, each in one of many ways, by chance."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence

PASSING = ("500", "503", "reset", "lost", "late", "cut", "error200", "doubled")
"""What a client must bear without a program noticing."""
LIES = (*PASSING, "etag")
"""Beside that, what no client can tell from an object that others replaced."""


class Weather:
    """A `Rule` for the proxy. `met` counts what was handed out; may be used from many threads."""

    def __init__(self, seed: int, share: float = 0.1, faults: Sequence[str] = PASSING) -> None:
        self.met: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._share = share
        self._faults = faults
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> str | None:
        """Return the fault of one request, None for most."""
        with self._lock:
            if self._chance.random() >= self._share:
                return None
            fault = self._chance.choice(self._faults)
            self.met[fault] += 1
            return fault
