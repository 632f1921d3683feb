"""`bucketfs info`: what a mount knows of files: their objects, and where their bytes are.

Files and directories tell it by an extended attribute, to whoever may read them. Of all else (Linux
has no such attributes of symlinks) the mount process is asked, which answers its owner only.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from bucketfs.cli.asking import client_of
from bucketfs.cli.mountpoints import check_alive, mount_of
from bucketfs.cli.pending import size_words
from bucketfs.cli.progress import printable
from bucketfs.errors import BucketfsError, ConfigurationError
from bucketfs.fuse import mounttable

ATTRIBUTE = "user.bucketfs.info"
_PATIENCE_S = 60.0
"""One request may be needed."""
_SIZES = ("size", "unsaved_bytes", "memory_bytes", "spilled_bytes", "cached_bytes")


def show_info(paths: Sequence[Path], *, is_json: bool) -> int:
    """Show what is known of each path; return 1 if one of them could not be looked at."""
    found, status = [], 0
    for path in paths:
        try:
            found.append(information(path))
        except (BucketfsError, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
            typer.echo(f"bucketfs: error: {path}: {reason}", err=True)
            status = 1
    if is_json:
        typer.echo(json.dumps(found, indent=2))
        return status
    for number, report in enumerate(found):
        if number:
            typer.echo()
        for name, words in lines_of(report):
            tab = f"{name + ':':<16}" if sys.stdout.isatty() else f"{name}\t"
            typer.echo(tab + printable(words))
    return status


def information(path: Path) -> dict[str, Any]:
    """Return what the mount knows of a path. Raises: ConfigurationError, OSError."""
    place, _ = mount_of(path)
    entry = mounttable.find(place)
    client = client_of(place)
    if entry is not None and entry.owner_uid == os.geteuid():
        check_alive(client, place)  # or the next line might hang
    state = path.lstat()
    if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
        found: dict[str, Any] = json.loads(os.getxattr(path, ATTRIBUTE, follow_symlinks=False))
        return found
    try:
        return dict(client.ask("info", inode=state.st_ino, timeout_s=_PATIENCE_S))
    except OSError as exc:
        raise ConfigurationError(f"the mount process of {place} cannot be asked: {exc}") from exc


def lines_of(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person reads of a report: names and words; what is not known is left out."""
    for name, value in report.items():
        if value is None or value in ({}, []):
            continue
        if isinstance(value, dict):
            for inner, words in value.items():
                if words != []:
                    yield f"{name}.{inner}", str(words)
        elif name in _SIZES and sys.stdout.isatty():
            yield name.removesuffix("_bytes"), size_words(value)
        elif name == "modified" and sys.stdout.isatty():
            yield name, datetime.fromtimestamp(value).astimezone().isoformat(" ", "seconds")
        else:
            yield name, str(value)
