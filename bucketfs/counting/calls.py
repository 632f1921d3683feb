"""Requests of the kernel, counted by their kind. Used in trio's thread only."""

from __future__ import annotations

from typing import Any

from bucketfs.counting.histogram import Histogram


class CallSum:
    """What the requests of one kind come to.

    `hits` were answered without waiting for the store. `bytes` are those read or written, and
    `hit_bytes` what hits had of them.
    """

    __slots__ = ("bytes", "errors", "hit_bytes", "hits", "latency")

    def __init__(self) -> None:
        self.errors = 0
        self.hits = 0
        self.bytes = 0
        self.hit_bytes = 0
        self.latency = Histogram()

    def report(self, *, has_histogram: bool = False) -> dict[str, Any]:
        """Return the figures by name."""
        details = {"histogram": self.latency.details()} if has_histogram else {}
        return {
            **details,
            "requests": self.latency.count,
            "errors": self.errors,
            "hits": self.hits,
            "bytes": self.bytes,
            "hit_bytes": self.hit_bytes,
            "latency_s": self.latency.report(),
        }


class Calls:
    """What the kernel asked for since the mount."""

    def __init__(self) -> None:
        self._sums: dict[str, CallSum] = {}

    def done(
        self, kind: str, took_s: float, size_bytes: int, has_waited: bool, is_failed: bool
    ) -> None:
        """Count a request that was answered. Called for each: every operation here counts."""
        total = self._sums.get(kind)
        if total is None:
            total = self._sums[kind] = CallSum()
        total.latency.add(took_s)
        if is_failed:
            total.errors += 1
        if not has_waited:
            total.hits += 1
        if size_bytes:
            total.bytes += size_bytes
            if not has_waited:
                total.hit_bytes += size_bytes

    def report(self, *, has_histograms: bool = False) -> dict[str, Any]:
        """Return the figures by kind."""
        return {
            kind: self._sums[kind].report(has_histogram=has_histograms)
            for kind in sorted(self._sums)
        }
