"""`bucketfs stats`: what a mount has asked of its bucket, for whom, and what that may cost.

The mount process answers from memory. On a terminal tables, elsewhere lines with tabs between;
`--interval` shows what happens meanwhile, a line each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from bucketfs.cli.asking import asked
from bucketfs.cli.intervals import RATES, each, rates
from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.pending import age_words, size_words
from bucketfs.cli.progress import counted, printable
from bucketfs.cli.showing import show
from bucketfs.control import ControlClient, Report

PROGRAMS_SHOWN = 15
"""Programs in the table of a terminal; everything else shows all that are told apart."""

Row = Sequence[str]

_STORE = ("requests", "failures", "retries", "sent_bytes", "received_bytes")
_PROGRAM = ("requests", "failures", "sent_bytes", "received_bytes")
_KERNEL = ("requests", "errors", "hits", "bytes", "hit_bytes")
_QUANTILES = ("p50", "p90", "p99", "max")


def show_stats(mountpoint: Path, *, is_json: bool, interval_s: float | None) -> int:
    """Show what a mount has counted; return 0. With an interval, go on until the mount ends.

    Raises: ConfigurationError (no mount of ours, or its process does not answer).
    """
    place = mounted_at(mountpoint)
    if interval_s is None:
        report = asked(place, ControlClient.statistics)
        show(report, is_json=is_json, tables=_show_tables, lines=plain_rows)
        return 0
    if is_json:
        for report in each(place, interval_s):
            _say(json.dumps(report))
        return 0
    _show_rates(place, interval_s)
    return 0


def plain_rows(report: Report) -> Iterator[Row]:
    """Yield the lines of the plain output: what it is about, its name, then figures."""
    yield "uptime_s", "", _number(report["uptime_s"])
    for name, figures in report["requests"].items():
        yield "store", name, *_figures(figures, _STORE), *_figures(figures["latency_s"], _QUANTILES)
    for program in report["programs"]:
        yield program["kind"], printable(program["name"]), *_figures(program, _PROGRAM)
    for name, figures in report["kernel"].items():
        row = (*_figures(figures, _KERNEL), *_figures(figures["latency_s"], _QUANTILES))
        yield "kernel", name, *row
    for name, budget in report["budgets"].items():
        yield "budget", name, _number(budget["used"]), _number(budget["limit"])
    for name, count in _disk_cache(report).items():
        yield "cache", name, _number(count)
    for name, count in report["crawlers"]["refused"].items():
        yield "crawler", printable(name), _number(count)
    bill = report["bill"]
    if bill is not None:
        for name in ("so_far", "per_30_days"):
            figures = _figures(bill[name], ("requests", "egress", "total"))
            yield "bill", name, bill["currency"], *figures


def _figures(figures: Mapping[str, Any], names: Sequence[str]) -> Row:
    return [_number(figures[name]) for name in names]


def _number(value: float) -> str:
    """Return a number without an exponent, as spreadsheets and awk(1) read it."""
    return str(value) if isinstance(value, int) else f"{value:.9f}".rstrip("0").rstrip(".")


# -- rates


def _show_rates(place: Path, interval_s: float) -> None:
    is_terminal = sys.stdout.isatty()
    before: Report | None = None
    for count, report in enumerate(each(place, interval_s)):
        if is_terminal and count % 20 == 0:
            _say("".join(f"{name:>18}" for name in RATES))
        if before is not None:
            found = rates(before, report)
            cells = [_rate_words(found[name]) for name in RATES]
            _say("".join(f"{cell:>18}" for cell in cells) if is_terminal else "\t".join(cells))
        before = report


def _rate_words(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


# -- tables


def _show_tables(report: Report) -> None:
    from rich.console import Console

    print_tables(Console(highlight=False), report)


def print_tables(console: Any, report: Report) -> None:
    """Print what a terminal shows of a report."""
    age = age_words(report["uptime_s"])
    where = f"{report['url']} on {report['mountpoint']}, mounted {age} ago"
    console.print(where, markup=False)
    _print_table(
        console,
        "asked of the store",
        ("operation", "count", "fail", "again", "up", "down", *_QUANTILES),
        [
            (name, *_counts(figures, _STORE[:3]), *_sizes(figures), *_times(figures["latency_s"]))
            for name, figures in report["requests"].items()
        ],
    )
    programs = report["programs"]
    _print_table(
        console,
        "for whom",
        ("program", "count", "fail", "up", "down"),
        [
            (program_words(program), *_counts(program, _PROGRAM[:2]), *_sizes(program))
            for program in programs[:PROGRAMS_SHOWN]
        ],
    )
    if len(programs) > PROGRAMS_SHOWN:
        console.print(f"and {counted(len(programs) - PROGRAMS_SHOWN, 'more program')}")
    _print_table(
        console,
        "asked by the kernel",
        ("request", "count", "errors", "hits", *_QUANTILES),
        [
            (name, *_counts(figures, _KERNEL[:2]), _share(figures), *_times(figures["latency_s"]))
            for name, figures in report["kernel"].items()
        ],
    )
    for line in _closing_lines(report):
        console.print(line, markup=False)


def _print_table(console: Any, title: str, titles: Sequence[str], rows: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    # Narrow, so that ten columns have room on a terminal of 80.
    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for place, name in enumerate(titles):
        justify: Any = "right" if place else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=not place)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _closing_lines(report: Report) -> Iterator[str]:
    yield ""
    budgets = report["budgets"]
    for name, title in (("memory_bytes", "memory"), ("disk_bytes", "disk")):
        used, limit = (size_words(budgets[name][side]) for side in ("used", "limit"))
        yield f"{title}: {used} of {limit}"
    if "read_cache_bytes" in budgets:
        yield _disk_cache_words(report)
    requests = budgets["requests"]
    yield f"requests in flight: {requests['used']} of {requests['limit']}"
    read = report["kernel"].get("read")
    if read is not None:
        hit, size = size_words(read["hit_bytes"]), size_words(read["bytes"])
        yield f"read: {size}, {hit} of it without waiting for the store"
    refused = report["crawlers"]["refused"]
    for name, count in refused.items():
        yield f"{printable(name)} was refused {counted(count, 'time')} (crawlers=)"
    yield from _bill_lines(report["bill"])


def _disk_cache(report: Report) -> dict[str, int]:
    """Return the figures of the disk cache; {} where there is none."""
    return {
        name: figure
        for name, figure in report.get("pages", {}).items()
        if name.startswith(("cached_", "cache_"))
    }


def _disk_cache_words(report: Report) -> str:
    used, limit = (
        size_words(report["budgets"]["read_cache_bytes"][side]) for side in ("used", "limit")
    )
    figures = _disk_cache(report)
    return (
        f"disk cache: {used} of {limit} in {counted(figures['cached_blocks'], 'block')}; "
        f"{counted(figures['cache_hits'], 'read')} ({size_words(figures['cache_hit_bytes'])}) "
        f"answered by it, {figures['cache_misses']} by the store"
    )


def _bill_lines(bill: Mapping[str, Any] | None) -> Iterator[str]:
    if bill is None:
        yield "no prices are known for this kind of bucket (-o prices=FILE names some)"
        return
    month, currency = bill["per_30_days"], bill["currency"]
    yield (
        f"30 days at the pace of the last {age_words(bill['observed_s'])}: "
        f"{money_words(month['total'])} {currency} ({money_words(month['requests'])} for "
        f"requests, {money_words(month['egress'])} for bytes that leave the cloud)"
    )
    yield f"by: {printable(bill['prices'])}; not included: {bill['not_included']}"


def money_words(amount: float) -> str:
    """Return an amount: in hundredths, and less than one by its first three digits."""
    return f"{amount:.2f}" if amount >= 1 or not amount else f"{amount:.3g}"


def program_words(program: Mapping[str, Any]) -> str:
    """Return the name of a program; the mount's own work stands in parentheses."""
    name = printable(program["name"])
    return name if program["kind"] == "program" else f"({name})"


def _counts(figures: Mapping[str, Any], names: Sequence[str]) -> Row:
    return [str(figures[name]) for name in names]


def _sizes(figures: Mapping[str, Any]) -> Row:
    return [size_words(figures[name]) for name in ("sent_bytes", "received_bytes")]


def _share(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['hits'] / figures['requests']:.0f} %" if figures["requests"] else ""


def _times(latency_s: Mapping[str, float]) -> Row:
    return [time_words(latency_s[name]) for name in _QUANTILES]


def time_words(seconds: float) -> str:
    """Return a duration as a person reads it: `85 us`, `3.4 ms`, `1.2 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
