"""How saving looks while it goes on: a bar on a terminal, nothing elsewhere; and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from bucketfs.control import Report

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET_REPORTS = 2
"""Reports before a bar appears: what is done at once needs none."""


def last_of(reports: Iterator[Report], verb: str, last: str) -> Report:
    """Return the first of `reports` that has the field `last`; {} where they end without one.

    A terminal shows meanwhile how much is left: files, bytes, the rate and the time that it takes.
    No further report is waited for, and the iterator stays open.
    """
    bar: Progress | None = None
    progress = _Sent()
    try:
        for seen, report in enumerate(reports):
            if last in report:
                return report
            progress.note(report)
            if bar is None and seen >= _QUIET_REPORTS and report.get("dirty_files"):
                bar = new_bar() if sys.stderr.isatty() else None
            if bar is not None:
                task = bar.task_ids[0]
                words = describe_left(report, verb)
                bar.update(
                    task, description=words, total=progress.total, completed=progress.completed
                )
        return {}
    finally:
        if bar is not None:
            bar.stop()


class _Sent:
    """How much of the most that was ever left is done, from what reports say.

    A file counts as unsaved until all of it is in the bucket; the parts that were sent since the
    first report show how far the files are that are under way.
    """

    def __init__(self) -> None:
        self.completed = 0
        self._most = 0
        self._sent_before: int | None = None

    @property
    def total(self) -> int:
        return max(self._most, 1)

    def note(self, report: Report) -> None:
        """Learn from a report."""
        left = int(report.get("dirty_bytes", 0))
        sent = int(report.get("statistics", {}).get("sent_bytes", 0))
        if self._sent_before is None:
            self._sent_before = sent
        self._most = max(self._most, left)
        done = max(self._most - left, min(sent - self._sent_before, self._most))
        # What was sent twice, or written meanwhile, never lets the bar go back.
        self.completed = max(self.completed, done)


def new_bar() -> Progress:
    """Return a bar on standard error that was started, with one task: bytes, rate, time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task("", total=None)
    bar.start()
    return bar


def describe_left(report: Report, verb: str) -> str:
    """Return what is left, in words: `saving 3 files`."""
    return f"{verb} {counted(int(report.get('dirty_files', 0)), 'file')}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `3 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def tell_failed(failed: Sequence[dict[str, Any]]) -> None:
    """Name each file that could not be saved, one a line."""
    for failure in failed:
        place = "" if failure["is_kept"] else " (its bytes are in memory only)"
        line = f"{failure['path']}: {failure['reason']}{place}"
        typer.echo(f"bucketfs: not saved: {printable(line)}", err=True)


def where_kept(failed: Sequence[dict[str, Any]], cache_folder: object) -> str:
    """Return, in words, where the bytes are of what could not be saved."""
    lost = [failure for failure in failed if not failure["is_kept"]]
    if len(lost) == len(failed):
        return "nothing of it could be kept on this machine"
    some = "their bytes" if not lost else "the bytes of the others"
    return (
        f"{some} are kept in {cache_folder}: the next mount with this cache folder saves them, "
        f"`bucketfs recover {cache_folder}` exports them"
    )


def printable(text: str) -> str:
    """Return a text as one line that no terminal takes for a command."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
