"""What a mount reports, in the three ways of all commands: JSON, tables, or lines for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import typer

T = TypeVar("T")


def show(
    report: T,
    *,
    is_json: bool,
    tables: Callable[[T], None],
    lines: Callable[[T], Iterable[Sequence[str]]],
) -> None:
    """Print a report as JSON where that is asked for, by `tables` on a terminal, else by `lines`.

    `lines` gives the cells of each line; tabs go between.
    """
    if is_json:
        typer.echo(json.dumps(report, indent=2))
    elif sys.stdout.isatty():
        tables(report)
    else:
        for cells in lines(report):
            typer.echo("\t".join(cells))
