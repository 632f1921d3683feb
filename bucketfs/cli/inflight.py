"""`bucketfs inflight`: what programs wait for at a mount now, and what the mount waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bucketfs.cli.asking import asked
from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.progress import printable
from bucketfs.cli.showing import show
from bucketfs.control import Report


def show_in_flight(mountpoint: Path, *, is_json: bool) -> int:
    """Show what is under way; return 0. Raises: ConfigurationError."""
    report = asked(mounted_at(mountpoint), lambda client: client.ask("inflight"))
    show(report, is_json=is_json, tables=_show_tables, lines=plain_rows)
    return 0


def plain_rows(report: Report) -> Iterator[Sequence[str]]:
    """Yield the lines of the plain output."""
    for request in report["kernel"]:
        waits = " ".join(map(str, request["waits_for"]))
        yield "kernel", *_first(request, request["path"]), waits
    for call in report["store"]:
        again = "" if call["again_in_s"] is None else str(call["again_in_s"])
        row = (*_first(call, call["key"] or ""), str(call["attempt"]), again, str(call["number"]))
        yield "store", *row


def _first(row: Mapping[str, Any], subject: str) -> Sequence[str]:
    pid = "" if row["pid"] is None else str(row["pid"])
    program = printable(row["program"])
    return [row["operation"], printable(subject), str(row["seconds"]), program, pid]


def _show_tables(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not report["kernel"]:
        console.print("no program waits for this mount")
    for title, columns, rows in (
        ("programs wait for", ("request", "path", "s", "program", "waits for"), _requests(report)),
        ("asked of the store", ("no", "call", "key", "s", "attempt", "for"), _calls(report)),
    ):
        lines = list(rows)
        if not lines:
            continue
        table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
        for name in columns:
            table.add_column(name, overflow="fold")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)


def _requests(report: Report) -> Iterator[Sequence[str]]:
    for request in report["kernel"]:
        numbers = ", ".join(f"no {number}" for number in request["waits_for"])
        yield (
            request["operation"],
            printable(request["path"]),
            str(request["seconds"]),
            _who(request),
            numbers or "this machine, or what others asked for",
        )


def _calls(report: Report) -> Iterator[Sequence[str]]:
    for call in report["store"]:
        again = call["again_in_s"]
        attempt = str(call["attempt"]) + ("" if again is None else f", again in {again} s")
        yield (
            str(call["number"]),
            call["operation"],
            printable(call["key"] or ""),
            str(call["seconds"]),
            attempt,
            _who(call),
        )


def _who(row: Mapping[str, Any]) -> str:
    name = printable(row["program"])
    if row["kind"] != "program":
        return f"({name})"
    return name if row["pid"] is None else f"{name} [{row['pid']}]"
