"""`bucketfs top`: what a mount does, live on a terminal; the screen is made anew from reports."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bucketfs.cli.asking import asked, client_of
from bucketfs.cli.intervals import busiest_programs, latencies, merged, rates, seconds_between
from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.pending import age_words, size_words
from bucketfs.cli.profiling import with_histograms
from bucketfs.cli.progress import printable
from bucketfs.cli.stats import program_words, time_words
from bucketfs.control import Report

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS = 5
"""Operations, and programs, on the screen: all of it fits on 80 columns and 24 lines."""
_BAR = 24
_BUDGETS = (
    ("memory_bytes", "memory"),
    ("disk_bytes", "disk"),
    ("read_cache_bytes", "disk cache"),
    ("requests", "requests"),
)


def show_top(mountpoint: Path, *, interval_s: float, is_once: bool) -> int:
    """Show the screen until q or Ctrl-C, or the mount ends; return 0. Raises: ConfigurationError.

    `is_once`: it is printed once, of one interval, and on no terminal either.
    """
    from rich.console import Console
    from rich.live import Live

    place = mounted_at(mountpoint)
    before = asked(place, with_histograms)
    console = Console(highlight=False)
    if is_once:
        time.sleep(interval_s)
        console.print(screen(before, asked(place, with_histograms)))
        return 0
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        live.update(screen(before, before), refresh=True)
        while not keys.wait(interval_s):
            try:
                after = with_histograms(client_of(place))
            except TimeoutError:
                continue  # it is shown as it was: `status` and `doctor` tell more
            except OSError:
                break
            live.update(screen(before, after), refresh=True)
            before = after
    return 0


def screen(before: Report, after: Report) -> RenderableType:
    """Return what happened between two reports with histograms, as a screen."""
    from rich.console import Group
    from rich.text import Text

    where = f"{after['url']} on {after['mountpoint']}"
    title = Text(printable(where), style="bold", no_wrap=True, overflow="ellipsis")
    lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in _summary(before, after)]
    return Group(
        title, *lines, *_budget_lines(after), _operations(before, after), _programs(before, after)
    )


def _summary(before: Report, after: Report) -> Iterator[str]:
    found = rates(before, after)
    age, pages = age_words(after["uptime_s"]), after["pages"]
    yield (
        f"up {age}   not in the bucket: {size_words(pages['dirty_bytes'])}   "
        f"uploads: {pages['uploads_in_flight']}   requests in flight: {found['in_flight']}"
    )
    up, down = (size_words(round(found[f"{name}_bytes_s"] or 0)) for name in ("sent", "received"))
    yield (
        f"store   {found['requests_s']:8.1f}/s   up {up}/s   down {down}/s   "
        f"failures {found['failures_s']:.1f}/s"
    )
    everything = merged(latencies(before, after, "kernel"))
    p50, p99 = (time_words(everything.quantile(share)) for share in (0.5, 0.99))
    yield f"kernel  {found['kernel_s']:8.1f}/s   p50 {p50}   p99 {p99}"
    names, reads = (_share(found[f"{kind}_hits"]) for kind in ("lookup", "read"))
    yield f"known without asking: look-ups {names}, reads {reads}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _budget_lines(report: Report) -> Iterator[RenderableType]:
    from rich.text import Text

    for name, title in _BUDGETS:
        budget = report["budgets"].get(name)
        if budget is None:
            continue
        used, limit = budget["used"], budget["limit"]
        share = min(1.0, used / limit) if limit else 0.0
        filled = round(share * _BAR)
        style = "red" if share > 0.9 else "green"
        words = (str, str) if name == "requests" else (size_words, size_words)
        yield Text.assemble(
            f"{title:<11}",
            ("#" * filled, style),
            ("." * (_BAR - filled), "dim"),
            f" {words[0](used)} of {words[1](limit)}",
        )


def _operations(before: Report, after: Report) -> RenderableType:
    """Return the kinds of requests that took most time in all: the kernel's and the store's."""
    seconds = seconds_between(before, after)
    found = [
        (who, kind, each)
        for who, table in (("kernel", "kernel"), ("store", "requests"))
        for kind, each in latencies(before, after, table).items()
    ]
    found.sort(key=lambda row: -row[2].total_s)
    rows = [
        (
            f"{who} {kind}",
            f"{each.count / seconds:.1f}",
            *(time_words(each.quantile(share)) for share in (0.5, 0.99)),
            time_words(each.longest_s),
        )
        for who, kind, each in found[:ROWS]
    ]
    return _table(("most time in", "a second", "p50", "p99", "max"), rows)


def _programs(before: Report, after: Report) -> RenderableType:
    seconds = seconds_between(before, after)
    rows = [
        (program_words(row), f"{requests / seconds:.1f}", f"{size_words(round(moved / seconds))}/s")
        for row, requests, moved in busiest_programs(before, after)[:ROWS]
    ]
    return _table(("asked for by", "requests/s", "bytes"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        justify: Any = "right" if place else "left"
        table.add_column(title, justify=justify, no_wrap=True, min_width=0 if place else 24)
    for row in rows or [("-",)]:
        table.add_row(*map(Text, row))
    return table


class _Keys:
    """What a person types, where there is a terminal to type at."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def wait(self, seconds: float) -> bool:
        """Wait; return whether q was typed meanwhile."""
        import select

        if not self._is_terminal:
            time.sleep(seconds)
            return False
        ends_s = time.monotonic() + seconds
        while (left_s := ends_s - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left_s)[0]:
                typed = os.read(sys.stdin.fileno(), 64)
                if not typed or b"q" in typed.lower():
                    return True
        return False


@contextmanager
def _keys() -> Iterator[_Keys]:
    """Read keys without Enter and without showing them; Ctrl-C ends the block without an error."""
    import termios
    import tty

    is_terminal = sys.stdin.isatty()
    former = termios.tcgetattr(sys.stdin) if is_terminal else None
    try:
        if is_terminal:
            tty.setcbreak(sys.stdin)
        yield _Keys(is_terminal)
    except KeyboardInterrupt:
        return
    finally:
        if former is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, former)
