"""`bucketfs pending`: what is not in the bucket yet, of a mount that lives or of one that died.

A living mount is asked, and answers from memory whatever its server does; where its process is dead
or does not answer, the journal in its cache folder says what was kept.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from bucketfs.cli.asking import cache_folder_at, client_of
from bucketfs.cli.mountpoints import is_ours, resolved
from bucketfs.cli.progress import counted, printable
from bucketfs.control import Report, cache_folder_of
from bucketfs.errors import ConfigurationError
from bucketfs.pagecache.folder import is_taken
from bucketfs.pagecache.images import ROW, SPILL
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord

COLUMNS = ("path", "size", "unsaved_bytes", "age_s", "attempts", "state", "last_error")
"""What a line of the plain output has, in this order, tabs between."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show_pending(place: Path, *, is_json: bool) -> int:
    """Show what is pending of a mount point or a cache folder; return 0.

    Raises: ConfigurationError (neither a mount nor a cache folder; nothing can be learned).
    """
    files = pending_of(place)
    if is_json:
        typer.echo(json.dumps(files, indent=2))
    else:
        show_files(files)
    return 0


def show_files(files: Sequence[Report]) -> None:
    """Show pending files: a table on a terminal, a line a file elsewhere."""
    if sys.stdout.isatty():
        _show_table(files)
        return
    for file in files:
        typer.echo("\t".join(_plain(file[column]) for column in COLUMNS))


def pending_of(place: Path) -> list[Report]:
    """Return what is pending of a mount point or a cache folder. Raises: ConfigurationError."""
    mountpoint = resolved(place)
    if not is_ours(mountpoint):
        known = mountpoint if (mountpoint / "journal.db").exists() else cache_folder_of(mountpoint)
        if known is None:
            raise ConfigurationError(
                f"{mountpoint} is neither a mount of bucketfs nor a cache folder of one"
            )
        owner = _owner_of(known)
        return _asked(owner, known) if owner is not None else _in_journal(known)
    return _asked(mountpoint, cache_folder_at(mountpoint))


def _asked(mountpoint: Path, folder: Path | None) -> list[Report]:
    """Ask the mount process; where it does not answer, read what it had kept."""
    try:
        return client_of(mountpoint).pending()
    except TimeoutError:
        state = "does not answer"
    except OSError:
        state = "is gone"
    if folder is None:
        raise ConfigurationError(
            f"the mount process of {mountpoint} {state}, and where its cache folder was is not "
            "known: name it (bucketfs pending CACHE_DIR)"
        )
    text = f"the mount process of {mountpoint} {state}; this is what it had kept in {folder}"
    typer.echo(f"bucketfs: {text}", err=True)
    return _in_journal(folder)


def _in_journal(folder: Path) -> list[Report]:
    return [described(record) for record in Journal.read(folder).files]


def described(record: FileRecord) -> Report:
    """Return what is told of a file of the journal."""
    return {
        "path": printable(
            "/" + record.key.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        ),
        "size": record.size,
        "unsaved_bytes": sum(e - s for s, e, where in record.ranges if where in (SPILL, ROW)),
        "age_s": max(0.0, (time.time_ns() - record.kept_ns) / 1e9),
        "attempts": record.attempts,
        "last_error": record.last_error,
        "state": "refused" if record.is_refused else "waiting",
        "is_kept": True,
    }


def _owner_of(folder: Path) -> Path | None:
    """Return the mount point of the living mount that has locked a cache folder."""
    try:
        if not is_taken(folder):
            return None
        text = (folder / "lock").read_text("utf-8", "surrogateescape")
    except OSError as exc:
        raise ConfigurationError(f"{folder} cannot be read: {exc.strerror}") from exc
    owner, separator, _ = text.partition(" pid=")
    return Path(owner) if separator and owner.startswith("/") else None


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if isinstance(value, float) else printable(str(value))


def _show_table(files: Sequence[Report]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not files:
        console.print("everything is in the bucket")
        return
    table = Table(show_edge=False, pad_edge=False)
    for title, side in (
        ("path", "left"),
        ("size", "right"),
        ("unsaved", "right"),
        ("age", "right"),
        ("tries", "right"),
        ("state", "left"),
        ("last error", "left"),
    ):
        table.add_column(title, justify="right" if side == "right" else "left", overflow="fold")
    for file in files:
        state = str(file["state"]) + (": conflict" if file["state"] == "refused" else "")
        table.add_row(
            Text(printable(str(file["path"]))),
            size_words(file["size"]),
            size_words(file["unsaved_bytes"]),
            age_words(file["age_s"]),
            str(file["attempts"]),
            state,
            Text(printable(file["last_error"] or "")),
        )
    console.print(table)
    total = sum(file["unsaved_bytes"] for file in files)
    console.print(f"{counted(len(files), 'file')}, {size_words(total)} not in the bucket")


def size_words(count: int) -> str:
    """Return a number of bytes as a person reads it: `1.5 MiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if not unit else f"{value:.1f} {_UNITS[unit]}"


def age_words(seconds: float | None) -> str:
    """Return how long ago, as a person reads it: `5 s`, `3 min`; a file that is open has no age."""
    if seconds is None:
        return "open"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
