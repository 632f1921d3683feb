"""`bucketfs warmup`: brings files to the disk cache before anybody reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bucketfs.cli.asking import client_of
from bucketfs.cli.mountpoints import check_alive, mount_of, names_on
from bucketfs.cli.pending import size_words
from bucketfs.cli.progress import counted, new_bar, printable
from bucketfs.control import Report
from bucketfs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress

_ASKED_BYTES = 48 << 10
"""Paths in one question, as JSON: less than what a mount reads of one."""
_COUNTS = ("files", "bytes", "skipped_files", "skipped_bytes", "failed_files")


def warm_up(paths: Sequence[Path]) -> int:
    """Have what is at and below paths in the disk caches of their mounts; 1: not all of it is.

    It ends when this is interrupted; what came until then stays.
    Raises: ConfigurationError (a path is on no mount of ours, or its mount has no disk cache).
    """
    status = 0
    for place, names in _by_mount(paths).items():
        done = dict.fromkeys(_COUNTS, 0)
        last: Report = {}
        for some in _questions(names):
            last = _one(place, some)
            for name in _COUNTS:
                done[name] += int(last[name])
            if last["stopped"]:
                break
        status |= _tell(done, last)
    return status


def _by_mount(paths: Sequence[Path]) -> dict[Path, list[list[str]]]:
    """Return the paths as names on their mounts. Raises: ConfigurationError."""
    found: dict[Path, list[list[str]]] = {}
    for path in paths:
        place, names = mount_of(path)
        if place not in found:
            check_alive(client_of(place), place)
        found.setdefault(place, []).append(names_on(place, path) if names else [])
    return found


def _questions(paths: list[list[str]]) -> Iterator[list[list[str]]]:
    """Yield the paths in lists that are short enough for one question."""
    some: list[list[str]] = []
    size = 0
    for path in paths:
        length = len(json.dumps(path)) + 2
        if some and size + length > _ASKED_BYTES:
            yield some
            some, size = [], 0
        some.append(path)
        size += length
    yield some


def _one(place: Path, paths: list[list[str]]) -> Report:
    """Ask a mount for some paths, and show how far it is; return its last report."""
    try:
        reports = cast("Generator[Report]", client_of(place).warm_up(paths))
        with closing(reports):
            last = _watch(reports)
    except OSError as exc:
        raise ConfigurationError(f"the mount process of {place} went away: {exc}") from exc
    if "failed" not in last:
        raise ConfigurationError(f"the mount process of {place} ended while it was warming up")
    for failure in last["failed"]:
        line = printable(f"{failure['path']}: {failure['reason']}")
        typer.echo(f"bucketfs: not cached: {line}", err=True)
    return last


def _watch(reports: Iterator[Report]) -> Report:
    """Return the last report; a terminal shows the others as a bar."""
    bar: Progress | None = None
    last: Report = {}
    try:
        for last in reports:
            if "failed" in last:
                break
            if bar is None and sys.stderr.isatty():
                bar = new_bar()
            if bar is not None:
                bar.update(
                    bar.task_ids[0],
                    description=describe(last),
                    total=max(int(last["bytes_found"]), 1) if last["is_listed"] else None,
                    completed=int(last["bytes"]),
                )
    finally:
        if bar is not None:
            bar.stop()
    return last


def describe(report: Report) -> str:
    """Return how far a warm-up is, in words: `fetched 3 of 10 files`."""
    more = "" if report["is_listed"] else ", looking for more"
    return f"fetched {report['files']} of {counted(int(report['files_found']), 'file')}{more}"


def _tell(done: dict[str, int], last: Report) -> int:
    """Say what became of it; return the exit status."""
    size = size_words(done["bytes"])
    typer.echo(f"{counted(done['files'], 'file')} ({size}) in the disk cache")
    wrong = []
    if last["stopped"]:
        wrong.append(f"stopped: {last['stopped']}")
    if done["skipped_files"]:
        limit = size_words(int(last["limit_bytes"]))
        skipped = f"{counted(done['skipped_files'], 'file')} ({size_words(done['skipped_bytes'])})"
        wrong.append(f"the disk cache of {limit} is too small for {skipped}: see read_cache=")
    if done["failed_files"]:
        wrong.append(f"{counted(done['failed_files'], 'file')} could not be cached")
    for text in wrong:
        typer.echo(f"bucketfs: error: {text}", err=True)
    return 1 if wrong else 0
