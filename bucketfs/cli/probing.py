"""`bucketfs probe`: what a bucket can do, what these credentials may do, before it is mounted."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio
import typer

from bucketfs import logs
from bucketfs.cli.requirements import needing_fuse
from bucketfs.cli.resolving import resolve
from bucketfs.errors import ConfigurationError, StorageError
from bucketfs.settings import MountSettings, mask_url
from bucketfs.storage.probing import CLOCK_TOLERANCE_S, Findings, Right, probe

if TYPE_CHECKING:
    from rich.table import Table


def probe_bucket(source: str, options: Sequence[str], *, is_json: bool, is_debug: bool) -> int:
    """Probe the bucket of a URL or profile, show what was found; 1: a mount would lack a right.

    Raises: ConfigurationError with one line where the store cannot be used at all.
    """
    settings = resolve(source, options).settings()
    is_debug = is_debug or settings.is_debug
    url = settings.url
    if is_debug:
        logs.configure(is_foreground=True, is_debug=True, log_file=None, name="probe")
    else:
        # Every failure is told below, once.
        logging.getLogger(logs.LOGGER_NAME).addHandler(logging.NullHandler())
    findings = found(settings)
    missing = findings.missing(is_read_only=settings.is_read_only)
    if is_json:
        typer.echo(json.dumps(_as_document(url, findings), indent=2))
    else:
        _show(mask_url(url), findings)
    for line in complaints(findings, missing):
        typer.echo(f"bucketfs: error: {line}", err=True)
    return 1 if missing or findings.left_key else 0


def found(settings: MountSettings) -> Findings:
    """Return what a probe of the bucket finds. Raises: ConfigurationError in one line."""
    from bucketfs.cli.mounting import cause_of, describe_error

    with needing_fuse():
        from bucketfs.mount import store_options
    from bucketfs.storage.opening import open_store

    async def run() -> Findings:
        store = await open_store(settings.url, store_options(settings))
        try:
            return await probe(store)
        finally:
            await store.aclose()

    try:
        return trio.run(run)
    except (StorageError, BaseExceptionGroup) as exc:
        cause = cause_of(exc)
        if settings.is_debug or not isinstance(cause, StorageError):
            raise
        raise ConfigurationError(describe_error(cause, settings.url, verb="use")) from exc


def complaints(findings: Findings, missing: Sequence[Right]) -> list[str]:
    """Return a line for each thing that a mount would miss, or that the probe left."""
    lines = []
    if missing:
        names = " and ".join(right.name for right in missing)
        lines.append(f"these credentials may not {names}: {missing[0].detail}")
    if findings.left_key:
        lines.append(f"the probe's object could not be deleted: {findings.left_key}")
    return lines


def _as_document(url: str, findings: Findings) -> dict[str, object]:
    return {"url": mask_url(url), **asdict(findings)}


def _show(url: str, findings: Findings) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"[bold]{url}[/bold]", highlight=False)
    console.print(_rights_table(findings))
    console.print(_abilities_table(findings))


def _rights_table(findings: Findings) -> Table:
    table = _table("may", "answer", "took", "")
    for right in findings.rights:
        took = "" if right.took_s is None else f"{right.took_s * 1000:.0f} ms"
        table.add_row(right.name, right.verdict, took, right.detail)
    table.add_row("clock", *_clock_words(findings.skew_s))
    return table


def _clock_words(skew_s: float | None) -> tuple[str, str, str]:
    if skew_s is None:
        return "unknown", "", "the store's clock shows only when something can be written"
    if abs(skew_s) < CLOCK_TOLERANCE_S:
        return "right", "", f"within {max(1.0, abs(skew_s)):.0f} s of the store's"
    side = "behind" if skew_s > 0 else "ahead of"
    return "wrong", "", f"{abs(skew_s):.0f} s {side} the store's: set this machine's clock"


def _abilities_table(findings: Findings) -> Table:
    table = _table("ability", "native", "a mount")
    for ability in findings.abilities:
        table.add_row(ability.name, ability.native, ability.mount)
    return table


def _table(*titles: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(Text(title))
    return table
