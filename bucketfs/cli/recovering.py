"""`bucketfs recover`: the unsaved files of a mount that died, without any mount.

Listing changes nothing. Exporting copies: the cache folder stays as it is, and the next mount still
saves everything. Only what a person names, and confirms, is forgotten.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio
import typer

from bucketfs.cli.exporting import Exporter, Fetching
from bucketfs.cli.pending import described, show_files
from bucketfs.cli.progress import counted, printable
from bucketfs.errors import ConfigurationError
from bucketfs.pagecache.exporting import remote_spans, spill_of
from bucketfs.pagecache.folder import CacheFolder, is_taken
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import Contents, FileRecord

LOST = "lost+found"


def show_kept(folder: Path, *, is_json: bool) -> int:
    """Show what a cache folder has, of a dead mount or a living one; return 0.

    Raises: ConfigurationError (no cache folder), CacheDirectoryError (its journal is damaged).
    """
    contents = _read(folder)
    files = [
        {
            **described(record),
            "bytes_in_bucket": sum(stop - start for start, stop in remote_spans(record)),
        }
        for record in contents.files
    ]
    lost = _lost(folder)
    if is_json:
        document = {
            "url": contents.store_url,
            "files": files,
            "uploads": len(contents.uploads),
            "jobs": len(contents.jobs),
            "lost+found": lost,
        }
        typer.echo(json.dumps(document, indent=2))
        return 0
    show_files(files)
    if sys.stdout.isatty():
        typer.echo(f"bucket: {contents.store_url or 'unknown'}")
    for name in lost:
        typer.echo(f"bucketfs: moved aside by an earlier mount: {printable(name)}", err=True)
    return 0


def export(
    folder: Path, target: Path, url: str | None, options: Sequence[str], is_fetching: bool
) -> int:
    """Write every kept file below `target` (made, or empty); return 1 if one is not whole.

    Raises: ConfigurationError (a living mount has the folder; `target` has entries; the bucket
    cannot be opened), CacheDirectoryError.
    """
    with _held(folder):
        contents = _read(folder)
        _prepare(target)
        fetching = Fetching.of(contents, url, options) if is_fetching or url or options else None
        exporter = Exporter(folder, target, fetching)
        complaints = exporter.export(contents.files)
    for line in complaints:
        typer.echo(f"bucketfs: not whole: {printable(line)}", err=True)
    what = counted(exporter.whole, "file")
    if exporter.folders:
        what += f" and {counted(exporter.folders, 'folder')}"
    typer.echo(f"{what} exported to {target}")
    if complaints:
        hint = "" if fetching else "; --fetch gets what only the bucket has from there"
        typer.echo(
            f"bucketfs: error: {len(complaints)} could not be exported whole{hint}", err=True
        )
    return 1 if complaints else 0


def forget(folder: Path, keys: Sequence[str], *, is_sure: bool) -> int:
    """Drop kept files, bytes and all, after asking; return 1 if one of `keys` is not there.

    Raises: ConfigurationError (a living mount has the folder), CacheDirectoryError, typer.Abort.
    """
    with _held(folder):
        contents = _read(folder)
        wanted = {key.removeprefix("/") for key in keys}
        chosen = [record for record in contents.files if record.key in wanted]
        missing = sorted(wanted - {record.key for record in chosen})
        for key in missing:
            typer.echo(f"bucketfs: error: no kept file is called /{printable(key)}", err=True)
        if missing:
            return 1
        show_files([described(record) for record in chosen])
        if not is_sure:
            question = f"Forget {counted(len(chosen), 'file')}? The bytes are gone then."
            typer.confirm(question, abort=True, err=True)
        trio.run(_drop, folder, contents.store_url, chosen)
    return 0


async def _drop(folder: Path, store_url: str, records: Sequence[FileRecord]) -> None:
    journal = Journal.open(folder, store_url)
    try:
        await journal.drop_files([record.number for record in records])
    finally:
        await journal.aclose()
    for record in records:
        spill = spill_of(record, folder)
        if spill is not None:
            spill.unlink(missing_ok=True)


def _read(folder: Path) -> Contents:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a directory")
    if not (folder / "journal.db").exists():
        lost = _lost(folder)
        hint = f"; look into {folder / LOST}: {', '.join(map(printable, lost))}" if lost else ""
        raise ConfigurationError(f"{folder} is no cache folder: it has no journal{hint}")
    return Journal.read(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep mounts from using the cache folder. Raises: ConfigurationError (one does)."""
    owner = folder.absolute()
    if owner.parent.name == LOST:
        owner = owner.parent.parent
    if not owner.is_dir():
        raise ConfigurationError(f"{folder} is not a directory")
    if not (owner / "lock").exists():
        yield  # nobody ever mounted with it: a copy, on another machine perhaps
        return
    if is_taken(owner):
        raise ConfigurationError(
            f"a living mount uses {owner}; unmount it first, or save its files by bucketfs sync "
            "(--list works meanwhile)"
        )
    held = CacheFolder.open(owner, "bucketfs recover")
    try:
        yield
    finally:
        held.close()


def _prepare(target: Path) -> None:
    """Make `target`, or see that it is empty: nothing that is there is written over."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        is_empty = next(target.iterdir(), None) is None
    except OSError as exc:
        raise ConfigurationError(f"cannot export to {target}: {exc.strerror}") from exc
    if not is_empty:
        raise ConfigurationError(f"cannot export to {target}: it is not empty")


def _lost(folder: Path) -> list[str]:
    """Return what was moved aside, one line a folder."""
    lost = folder / LOST
    found = []
    if lost.is_dir():
        for place in sorted(lost.iterdir()):
            names = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
            found.append(f"{place}: {', '.join(names)}")
    return found
