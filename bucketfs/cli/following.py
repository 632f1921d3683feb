"""`bucketfs log`: where a mount logs, its last lines, those to come, and its level."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import typer

from bucketfs.cli.asking import asked, client_of
from bucketfs.cli.mountpoints import resolved
from bucketfs.cli.progress import printable
from bucketfs.control import Report, log_file_of
from bucketfs.errors import ConfigurationError

INTERVAL_S = 0.3


def show_log(mountpoint: Path, *, lines: int, is_followed: bool, level: str | None) -> int:
    """Show the log of a mount, also of one that is dead where its file is known; return 0.

    `level`: change that instead, and show nothing unless it is followed.
    Raises: ConfigurationError.
    """
    place = resolved(mountpoint)
    if level is not None:
        state = asked(place, lambda client: client.ask("log", level=level))
        typer.echo(f"{place} logs from {state['level']} on, to {_where(state)}", err=True)
        if not is_followed:
            return 0
    file, state = _file_of(place)
    typer.echo(f"{place} logs to {_where(state)}", err=True)
    try:
        for line in _lines_of(place, file, state, lines, is_followed):
            for part in line.split("\n"):
                typer.echo(printable_line(part))
    except KeyboardInterrupt:
        if not is_followed:
            raise
    return 0


def _lines_of(
    place: Path, file: Path | None, state: Report, lines: int, is_followed: bool
) -> Iterator[str]:
    if file is None:
        yield from state["lines"][len(state["lines"]) - min(lines, len(state["lines"])) :]
        if is_followed:
            yield from _told(place, state["seen"])
        return
    try:
        yield from last_lines(file, lines)
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be read: {exc.strerror}") from exc
    if is_followed:
        yield from _appended(file)


def _file_of(place: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the file that a mount logs to (None: it has none that could be read), and its state.

    Raises: ConfigurationError (nobody answers, and no file is known).
    """
    try:
        state = dict(asked(place, lambda client: client.ask("log")))
    except ConfigurationError:
        known = log_file_of(place)
        if known is None:
            raise
        return known, {"kind": "file", "path": os.fspath(known)}
    return (Path(state["path"]) if state.get("path") else None), state


def _where(state: Report) -> str:
    if state.get("kind") == "file":
        return printable(str(state["path"]))
    if state.get("kind") == "syslog":
        return "syslog (journalctl -t bucketfs shows all); these lines are from its memory"
    return "its standard error; these lines are from its memory"


def printable_line(line: str) -> str:
    """Return a line as a terminal may see it."""
    return "\t".join(printable(part) for part in line.split("\t"))


def last_lines(file: Path, lines: int) -> list[str]:
    """Return the last lines of a file. Raises: OSError."""
    with file.open(encoding="utf-8", errors="replace") as text:
        return [line.rstrip("\n") for line in deque(text, maxlen=lines)]


def _told(place: Path, seen: int) -> Iterator[str]:
    """Yield lines as they come from the mount's memory, until it ends."""
    while True:
        time.sleep(INTERVAL_S)
        try:
            state = client_of(place).ask("log", after=seen)
        except OSError:
            return
        missed = state["seen"] - seen - len(state["lines"])
        if missed > 0:
            yield f"... {missed} lines came too fast ..."
        yield from state["lines"]
        seen = state["seen"]


def _appended(file: Path) -> Iterator[str]:
    """Yield lines as they are appended to what has the name, also after it was renamed."""
    stream = file.open(encoding="utf-8", errors="replace")
    stream.seek(0, os.SEEK_END)
    left = ""
    while True:
        left += stream.read()
        *whole, left = left.split("\n")
        yield from whole
        if _is_other(file, stream):
            left += stream.read()  # what came before it was renamed
            yield from filter(None, left.split("\n"))
            stream.close()
            stream, left = file.open(encoding="utf-8", errors="replace"), ""
            continue
        time.sleep(INTERVAL_S)


def _is_other(file: Path, stream: IO[str]) -> bool:
    """Tell whether another file has the name now (a new one, not none)."""
    try:
        named, opened = file.stat(), os.fstat(stream.fileno())
    except OSError:
        return False
    return named.st_ino != opened.st_ino or named.st_size < stream.tell()
