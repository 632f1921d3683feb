"""How saving looks while it goes on: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

from bucketfs.control import Report

_QUIET_REPORTS = 2
"""Reports before a bar appears: what is done at once needs none."""


def shown_progress(reports: Iterator[Report], verb: str) -> Iterator[Report]:
    """Yield the reports on, showing on a terminal how much is left of the most that was seen."""
    if not sys.stderr.isatty():
        yield from reports
        return
    for seen, report in enumerate(reports, start=1):
        yield report
        if seen >= _QUIET_REPORTS and int(report.get("dirty_files", 0)):
            yield from _with_bar(reports, report, verb)
            return


def _with_bar(reports: Iterator[Report], first: Report, verb: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    most = int(first.get("dirty_bytes", 0))
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with progress:
        task = progress.add_task(describe_left(first, verb), total=max(most, 1))
        for report in reports:
            left = int(report.get("dirty_bytes", 0))
            most = max(most, left)
            description = describe_left(report, verb)
            progress.update(
                task, description=description, total=max(most, 1), completed=most - left
            )
            yield report


def last_of(reports: Iterator[Report], verb: str) -> Report:
    """Show all of `reports` and return the last one, or an empty one where there is none."""
    remembered: deque[Report] = deque(shown_progress(reports, verb), maxlen=1)
    return remembered[0] if remembered else {}


def describe_left(report: Report, verb: str) -> str:
    """Return what is left, in words: `saving 3 files`."""
    files = int(report.get("dirty_files", 0))
    return f"{verb} {files} file{'' if files == 1 else 's'}"
