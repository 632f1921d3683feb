"""`bucketfs profile`: what a mount did during some seconds, operation by operation."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer

from bucketfs.cli.asking import asked
from bucketfs.cli.intervals import latencies, seconds_between
from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.stats import time_words
from bucketfs.control import ControlClient, Report
from bucketfs.counting.histogram import Histogram

TABLES = (("kernel", "asked by the kernel"), ("requests", "asked of the store"))
COLUMNS = ("count", "total", "mean", "p50", "p99", "max")

with_histograms = partial(ControlClient.statistics, has_histograms=True)


def show_profile(mountpoint: Path, *, seconds: float, is_json: bool) -> int:
    """Show what a mount does for some seconds (or until Ctrl-C); return 0.

    Raises: ConfigurationError.
    """
    place = mounted_at(mountpoint)
    before = asked(place, with_histograms)
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        typer.echo("interrupted; this is what happened until then", err=True)
    after = asked(place, with_histograms)
    found = profile(before, after)
    if is_json:
        typer.echo(json.dumps(found, indent=2))
    elif sys.stdout.isatty():
        _show_tables(found)
    else:
        for kind, _ in TABLES:
            for row in found[kind]:
                cells = (f"{row[name]:.7f}" for name in COLUMNS[1:])
                typer.echo("\t".join((kind, row["operation"], str(row["count"]), *cells)))
    return 0


def profile(before: Report, after: Report) -> dict[str, Any]:
    """Return what came between two reports with histograms, by total time; times in seconds."""
    found: dict[str, Any] = {"seconds": round(seconds_between(before, after), 3)}
    for kind, _ in TABLES:
        rows = [_row(name, each) for name, each in latencies(before, after, kind).items()]
        found[kind] = sorted(rows, key=lambda row: -row["total"])
    return found


def _row(operation: str, histogram: Histogram) -> dict[str, Any]:
    figures = {
        "total": histogram.total_s,
        "mean": histogram.total_s / histogram.count,
        "p50": histogram.quantile(0.5),
        "p99": histogram.quantile(0.99),
        "max": histogram.longest_s,
    }
    rounded = {name: round(value, 7) for name, value in figures.items()}
    return {"operation": operation, "count": histogram.count, **rounded}


def _show_tables(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"{found['seconds']:.1f} seconds")
    for kind, title in TABLES:
        if found[kind]:
            console.print(_table(title, found[kind]))
        else:
            console.print(f"nothing was {title}")


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("operation", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        times = (time_words(row[name]) for name in COLUMNS[1:])
        table.add_row(row["operation"], str(row["count"]), *times)
    return table
