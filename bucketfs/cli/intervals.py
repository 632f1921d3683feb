"""What a mount did between two reports of it: rates, and latencies of that time only.

`stats --interval`, `top` and `profile` show it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bucketfs.cli.asking import asked, client_of
from bucketfs.control import ControlClient, Report
from bucketfs.counting.histogram import Histogram

RATES = (
    "requests_s",
    "failures_s",
    "sent_bytes_s",
    "received_bytes_s",
    "kernel_s",
    "lookup_hits",
    "read_hits",
    "in_flight",
    "memory_bytes",
)
"""Columns of a line of `--interval`: `_s` are a second's, hits are shares (-: none was asked)."""


def each(place: Path, interval_s: float) -> Iterator[Report]:
    """Yield reports, the first at once, until the mount ends. Raises: as `asked`, at first."""
    yield asked(place, ControlClient.statistics)
    while True:
        time.sleep(interval_s)
        try:
            report = client_of(place).statistics()
        except OSError:
            return
        yield report


def rates(before: Report, after: Report) -> dict[str, float | None]:
    """Return what happened between two reports of one mount, by the names of `_RATES`."""
    seconds = seconds_between(before, after)
    store, was = _sums(after["requests"]), _sums(before["requests"])
    kernel, kernel_was = _sums(after["kernel"]), _sums(before["kernel"])
    found: dict[str, float | None] = {
        f"{name}_s": (store.get(name, 0) - was.get(name, 0)) / seconds
        for name in ("requests", "failures", "sent_bytes", "received_bytes")
    }
    found["kernel_s"] = (kernel.get("requests", 0) - kernel_was.get("requests", 0)) / seconds
    for kind in ("lookup", "read"):
        asked, hits = (
            after["kernel"].get(kind, {}).get(name, 0) - before["kernel"].get(kind, {}).get(name, 0)
            for name in ("requests", "hits")
        )
        found[f"{kind}_hits"] = hits / asked if asked else None
    found["in_flight"] = after["budgets"]["requests"]["used"]
    found["memory_bytes"] = after["budgets"]["memory_bytes"]["used"]
    return found


def _sums(table: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for figures in table.values():
        for name, value in figures.items():
            if isinstance(value, int):
                found[name] = found.get(name, 0) + value
    return found


def seconds_between(before: Report, after: Report) -> float:
    """Return the time between two reports; never 0."""
    return max(float(after["uptime_s"] - before["uptime_s"]), 1e-6)


def latencies(before: Report, after: Report, table: str) -> dict[str, Histogram]:
    """Return what came between by kind, only what did; `table`: "kernel" or "requests".

    The reports have histograms.
    """
    found = {}
    for kind, figures in after[table].items():
        former = before[table].get(kind, {}).get("histogram", {})
        histogram = Histogram.between(former, figures["histogram"])
        if histogram.count:
            found[kind] = histogram
    return found


def merged(histograms: Mapping[str, Histogram]) -> Histogram:
    """Return all of them as one."""
    return Histogram.sum(histograms.values())


def busiest_programs(before: Report, after: Report) -> list[tuple[Mapping[str, Any], int, int]]:
    """Return who caused requests to the store: the program, requests, bytes; most first."""
    former = {(row["kind"], row["name"]): row for row in before["programs"]}
    found = []
    for row in after["programs"]:
        was = former.get((row["kind"], row["name"]), {})
        requests, moved = (
            sum(row[name] - was.get(name, 0) for name in names)
            for names in (("requests",), ("sent_bytes", "received_bytes"))
        )
        if requests > 0:
            found.append((row, requests, moved))
    return sorted(found, key=lambda line: (-line[1], -line[2]))
