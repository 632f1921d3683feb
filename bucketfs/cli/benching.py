"""`bucketfs bench`: how fast a folder is, on a mount or elsewhere, in a minute.

Small and honest: it says what it measured, the kernel's cache is left out where that is possible,
and what it made is removed. For comparisons of file systems docs/performance.md has more.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from bucketfs import __version__
from bucketfs.cli.mountpoints import mount_of
from bucketfs.cli.pending import size_words
from bucketfs.cli.progress import printable
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

FORMAT = 1
BLOCK_BYTES = 1 << 20
SMALL_BYTES = 4096
LEFT_FREE_BYTES = 256 << 20
"""So much has to be left on the disk at least."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one step did: `amount` of `unit` in `seconds`."""

    name: str
    seconds: float
    amount: float
    unit: str

    @property
    def rate(self) -> float:
        """Amount a second."""
        return self.amount / max(self.seconds, 1e-9)


def show_bench(folder: Path, *, size: int, files: int, is_json: bool, compared: Path | None) -> int:
    """Measure a folder, show it; return 0. Raises: ConfigurationError, OSError."""
    former = None if compared is None else read_document(compared)
    place, unit_words = folder.resolve(), sys.stderr.isatty()
    check_room(place, size + files * SMALL_BYTES)
    results = []
    for result in measure(place, size=size, files=files):
        results.append(result)
        if unit_words:
            typer.echo(f"{result.name}: {rate_words(result.rate, result.unit)}", err=True)
    document = _document(place, size, files, results)
    if is_json:
        typer.echo(json.dumps(document, indent=2))
    elif former is not None:
        _show_comparison(former, document)
    else:
        _show(document)
    return 0


def check_room(place: Path, wanted_bytes: int) -> None:
    """Refuse to fill a disk: that of the folder, and that of the cache of its mount.

    Raises: ConfigurationError.
    """
    if not place.is_dir():
        raise ConfigurationError(f"{place} is no directory")
    places = [place]
    with contextlib.suppress(ConfigurationError):
        from bucketfs.cli.asking import asked

        mountpoint, _ = mount_of(place)
        health = asked(mountpoint, lambda client: client.ask("health"))
        places.append(Path(health["cache_folder"]))
    for each in places:
        free = shutil.disk_usage(each).free
        if free < wanted_bytes + LEFT_FREE_BYTES:
            raise ConfigurationError(
                f"{each} has {size_words(free)} free, and {size_words(wanted_bytes)} would be "
                "written: choose less by --size and --files"
            )


def measure(place: Path, *, size: int, files: int) -> Iterator[Result]:
    """Yield what each step took; a folder of its own is made in `place`, and removed whatever ends.

    Each write ends with fsync or close; each read is of files that the kernel was told to drop.
    """
    folder = Path(tempfile.mkdtemp(prefix="bucketfs-bench-", dir=place))
    try:
        large, small = folder / "large", folder / "small"
        yield _timed("large write", lambda: _write(large, size), size, "B")
        yield _timed("large read", lambda: _read(large), size, "B")
        small.mkdir()
        names = [small / f"{number:05d}" for number in range(files)]
        yield _timed("small write", lambda: _each(names, _write_small), files, "files")
        yield _timed("small read", lambda: _each(names, _read), files, "files")
        yield _timed("list and stat", lambda: _list(small, files), files, "files")
        renamed = [small / f"{path.name}.new" for path in names]
        both = list(zip(names, renamed, strict=True))
        yield _timed("rename", lambda: _rename(both), files, "files")
        yield _timed("remove", lambda: _each(renamed, os.unlink), files, "files")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _timed(name: str, work: Callable[[], object], amount: float, unit: str) -> Result:
    began_s = time.perf_counter()
    work()
    return Result(name, time.perf_counter() - began_s, amount, unit)


def _each(paths: Sequence[Path], work: Callable[[Path], object]) -> None:
    for path in paths:
        work(path)


def _write(path: Path, size: int) -> None:
    block = os.urandom(BLOCK_BYTES)  # zeros would be compressed, or found to be equal, by some
    with path.open("xb", buffering=0) as file:
        left = size
        while left > 0:
            left -= file.write(block[: min(left, BLOCK_BYTES)]) or 0
        os.fsync(file.fileno())


def _write_small(path: Path) -> None:
    path.write_bytes(os.urandom(SMALL_BYTES))


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(BLOCK_BYTES):
            pass


def _rename(pairs: Sequence[tuple[Path, Path]]) -> None:
    for former, new in pairs:
        os.rename(former, new)


def _list(folder: Path, files: int) -> None:
    with os.scandir(folder) as entries:
        found = sum(entry.stat(follow_symlinks=False).st_size == SMALL_BYTES for entry in entries)
    if found != files:
        raise ConfigurationError(f"{found} of {files} files are listed as they were written")


def _document(place: Path, size: int, files: int, results: Sequence[Result]) -> dict[str, Any]:
    try:
        mountpoint, _ = mount_of(place)
        entry = mounttable.find(mountpoint)
        url = entry.source if entry is not None else None
    except ConfigurationError:
        url = None
    return {
        "format": FORMAT,
        "version": __version__,
        "kernel": platform.release(),
        "folder": os.fspath(place),
        "url": url,
        "size": size,
        "files": files,
        "results": [{**asdict(each), "rate": round(each.rate, 3)} for each in results],
    }


def read_document(path: Path) -> dict[str, Any]:
    """Return what an earlier run saved. Raises: ConfigurationError."""
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']}")
        _ = [(row["name"], row["rate"]) for row in document["results"]]
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(f"{path} is nothing that bench --json wrote: {exc}") from exc
    return document


def rate_words(rate: float, unit: str) -> str:
    """Return a rate as a person reads it."""
    return f"{size_words(round(rate))}/s" if unit == "B" else f"{rate:.0f} {unit}/s"


def _show(document: dict[str, Any]) -> None:
    if not sys.stdout.isatty():
        for row in document["results"]:
            typer.echo(f"{row['name']}\t{row['seconds']:.6f}\t{row['rate']:.3f}\t{row['unit']}/s")
        return
    from rich.console import Console

    Console(highlight=False).print(bench_table(document))


def bench_table(document: dict[str, Any]) -> Any:
    """Return what a terminal shows."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    where = document["url"] or document["folder"]
    sizes = f"{size_words(document['size'])}, {document['files']} files of 4 KiB"
    title = Text(f"{printable(where)}: {sizes}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("rate", justify="right")
    for row in document["results"]:
        table.add_row(row["name"], f"{row['seconds']:.2f}", rate_words(row["rate"], row["unit"]))
    return Group(title, table)


def comparison(former: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    """Return for each step of both runs: name, rate then, rate now, and how many times as fast."""
    before = {row["name"]: row["rate"] for row in former["results"]}
    return [
        (
            row["name"],
            rate_words(before[row["name"]], row["unit"]),
            rate_words(row["rate"], row["unit"]),
            row["rate"] / max(before[row["name"]], 1e-9),
        )
        for row in now["results"]
        if row["name"] in before
    ]


def _show_comparison(former: dict[str, Any], now: dict[str, Any]) -> None:
    rows = comparison(former, now)
    if not sys.stdout.isatty():
        for name, then, rate, times in rows:
            typer.echo(f"{name}\t{then}\t{rate}\t{times:.3f}")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("what", "then", "now", "times as fast"):
            table.add_column(title, justify="left" if title == "what" else "right")
        for name, then, rate, times in rows:
            table.add_row(name, then, rate, f"{times:.2f}")
        Console(highlight=False).print(table)
    if (former["size"], former["files"]) != (now["size"], now["files"]):
        typer.echo("bucketfs: warning: the two runs were of different sizes", err=True)
