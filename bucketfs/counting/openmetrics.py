"""The report of a mount as OpenMetrics text, which Prometheus and others collect. Pure.

Names carry their units; counters end with `_total`. They stay as they are (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bucketfs.counting.histogram import LEAST_S, Histogram

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LATENCY_BOUNDS_S = tuple(LEAST_S * 2**doublings for doublings in range(6, 27))
"""64 microseconds to 67 seconds, each twice the one before: bounds that the counters have, too."""

Labels = Mapping[str, str]
Samples = Iterable[tuple[Labels, float]]

_STORE = (
    ("requests", "bucketfs_store_requests", "Requests sent to the store, each attempt as one."),
    ("failures", "bucketfs_store_failures", "Requests without a usable answer."),
    ("retries", "bucketfs_store_retries", "Attempts after a failure."),
    ("sent_bytes", "bucketfs_store_sent_bytes", "Bytes of bodies that were sent."),
    ("received_bytes", "bucketfs_store_received_bytes", "Bytes of bodies that came."),
)
_PROGRAM = (
    ("requests", "bucketfs_program_requests", "Requests to the store by who caused them."),
    ("sent_bytes", "bucketfs_program_sent_bytes", "Bytes sent by who caused it."),
    ("received_bytes", "bucketfs_program_received_bytes", "Bytes received by who caused it."),
)
_KERNEL = (
    ("requests", "bucketfs_kernel_requests", "Requests of the kernel."),
    ("errors", "bucketfs_kernel_errors", "Those answered by an errno."),
    ("hits", "bucketfs_kernel_hits", "Those that did not wait for the store."),
    ("bytes", "bucketfs_kernel_bytes", "Bytes that programs read or wrote."),
)
_CACHE = (
    ("cache_hits", "bucketfs_cache_hits", "Reads that the disk cache answered whole."),
    ("cache_misses", "bucketfs_cache_misses", "Reads that it did not."),
    ("cache_hit_bytes", "bucketfs_cache_hit_bytes", "Bytes that came from the disk cache."),
)


def exposition(stats: Mapping[str, Any], health: Mapping[str, Any]) -> str:
    """Return the text; `stats` is a report with histograms, `health` what is not saved."""
    lines: list[str] = []
    for family in (_mount(stats, health), _store(stats), _kernel(stats), _held(stats)):
        lines += family
    return "\n".join([*lines, "# EOF", ""])


def _mount(stats: Mapping[str, Any], health: Mapping[str, Any]) -> Iterator[str]:
    about = {name: str(stats[name]) for name in ("version", "url", "mountpoint")}
    yield from ("# TYPE bucketfs_build info", "# HELP bucketfs_build What is mounted where.")
    yield _sample("bucketfs_build_info", about, 1)
    yield from _gauge("bucketfs_uptime_seconds", "Since the mount.", [({}, stats["uptime_s"])])
    for name, key, text in (
        ("bucketfs_pending_files", "dirty_files", "Files that are not in the bucket yet."),
        ("bucketfs_pending_bytes", "dirty_bytes", "Bytes that only this machine has."),
        ("bucketfs_failed_files", "failed_files", "Files whose last save failed."),
    ):
        yield from _gauge(name, text, [({}, health[key])])
    refused = [({"program": name}, n) for name, n in stats["crawlers"]["refused"].items()]
    yield from _counter("bucketfs_crawler_refusals", "Refusals to crawlers.", refused)


def _store(stats: Mapping[str, Any]) -> Iterator[str]:
    table = stats["requests"]
    for key, name, text in _STORE:
        yield from _counter(name, text, _column(table, "operation", key))
    flying = _column(table, "operation", "in_flight")
    yield from _gauge("bucketfs_store_requests_in_flight", "Requests under way.", flying)
    yield from _latencies("bucketfs_store_latency_seconds", "operation", table)
    for key, name, text in _PROGRAM:
        rows = [({"kind": r["kind"], "program": r["name"]}, r[key]) for r in stats["programs"]]
        yield from _counter(name, text, rows)


def _kernel(stats: Mapping[str, Any]) -> Iterator[str]:
    for key, name, text in _KERNEL:
        yield from _counter(name, text, _column(stats["kernel"], "request", key))
    yield from _latencies("bucketfs_kernel_latency_seconds", "request", stats["kernel"])


def _held(stats: Mapping[str, Any]) -> Iterator[str]:
    budgets = {
        name.removesuffix("_bytes"): budget
        for name, budget in stats["budgets"].items()
        if name.endswith("_bytes")
    }
    for side, text in (("used", "In use of a budget."), ("limit", "The most of it.")):
        rows = [({"budget": name}, budget[side]) for name, budget in budgets.items()]
        yield from _gauge(f"bucketfs_budget_{side}_bytes", text, rows)
    for key, name, text in _CACHE:
        if key in stats["pages"]:
            yield from _counter(name, text, [({}, stats["pages"][key])])


def _column(table: Mapping[str, Mapping[str, Any]], label: str, key: str) -> Samples:
    return [({label: name}, figures[key]) for name, figures in table.items()]


def _latencies(name: str, label: str, table: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _head(name, "histogram", "Until the answer (of the store: its head) came.")
    for kind, figures in table.items():
        histogram = Histogram.between({}, figures["histogram"])
        for bound_s in LATENCY_BOUNDS_S:
            labels = {label: kind, "le": f"{bound_s:.6f}"}
            yield _sample(f"{name}_bucket", labels, histogram.at_most(bound_s))
        yield _sample(f"{name}_bucket", {label: kind, "le": "+Inf"}, histogram.count)
        yield _sample(f"{name}_count", {label: kind}, histogram.count)
        yield _sample(f"{name}_sum", {label: kind}, round(histogram.total_s, 9))


def _counter(name: str, text: str, samples: Samples) -> Iterator[str]:
    yield from _head(name, "counter", text)
    for labels, value in samples:
        yield _sample(f"{name}_total", labels, value)


def _gauge(name: str, text: str, samples: Samples) -> Iterator[str]:
    yield from _head(name, "gauge", text)
    for labels, value in samples:
        yield _sample(name, labels, value)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for unit in ("bytes", "seconds"):
        if name.endswith(f"_{unit}"):
            yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    plain = text.encode("utf-8", "replace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
