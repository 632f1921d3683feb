"""`bucketfs doctor`: what is wrong with a mount or a bucket, and all that a bug report needs."""

from __future__ import annotations

import io
import json
import logging
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from bucketfs import logs
from bucketfs.cli import checks, profiles
from bucketfs.cli.asking import client_of
from bucketfs.cli.checks import FAIL, OK, Check
from bucketfs.cli.following import last_lines
from bucketfs.cli.mountpoints import is_ours, mounted_at, resolved
from bucketfs.cli.profiles import is_url
from bucketfs.cli.progress import printable
from bucketfs.cli.resolving import NOWHERE, resolve
from bucketfs.control import ControlClient, cache_folder_of, log_file_of
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable
from bucketfs.settings import mask_url

LOG_LINES = 500

Document = dict[str, Any]


def examine(place: str, options: Sequence[str], *, output: Path | None, is_json: bool) -> int:
    """Check a mount point or the bucket of a URL, and tell; return 1 if a check failed.

    `output`: a new archive for a bug report. Raises: ConfigurationError.
    """
    collected: Document = {}
    subject = _bucket(place, options, collected) if _is_bucket(place) else _mount(place, collected)
    found = []
    for check in (*checks.machine(), *subject):
        found.append(check)
        if not is_json:
            _show(check)
    results = [asdict(check) for check in found]
    if is_json:
        typer.echo(json.dumps(results, indent=2))
    if output is not None:
        shown = mask_url(place) if is_url(place) else place
        document = {"checks": results, "versions": checks.versions(), "about": shown}
        write_archive(output, {**document, **collected})
        typer.echo(f"written: {output} (look into it before you send it to anybody)", err=True)
    return int(any(check.result == FAIL for check in found))


def _is_bucket(place: str) -> bool:
    """Tell whether a URL or a profile is meant; what is mounted goes before a profile."""
    if is_url(place):
        return True
    if os.sep in place or is_ours(resolved(Path(place))):
        return False
    return any(place in file.tables for file in profiles.read_all())


def _show(check: Check) -> None:
    mark = {OK: "green", FAIL: "red"}.get(check.result, "yellow")
    typer.secho(f"{check.result:<5}", fg=mark, nl=False)
    typer.echo(printable(f"{check.what}: {check.found}"))
    if check.fix:
        typer.echo(f"     fix: {printable(check.fix)}")


def _mount(place: str, collected: Document) -> Iterator[Check]:
    """Check a mount, and collect what it tells."""
    mountpoint = mounted_at(Path(place))
    entry = mounttable.find(mountpoint)
    collected["mount"] = None if entry is None else asdict(entry)
    client = client_of(mountpoint)
    try:
        health = client.ask("health")
    except (OSError, ConfigurationError) as exc:
        yield _unanswered(mountpoint, exc)
        owner_uid = None if entry is None else entry.owner_uid
        file = log_file_of(mountpoint, owner_uid)
        folder = cache_folder_of(mountpoint, owner_uid)
        if file is not None:
            collected["log"] = _tail(file)
        if folder is not None:
            yield checks.cache_folder(folder)
        return
    collected["health"] = health
    for name, question in _questions(client).items():
        collected[name] = _answer(question)
    flights, state = collected["inflight"], collected["log_state"]
    collected["log"] = "\n".join(state.get("lines", ()))
    if state.get("path"):
        collected["log"] = _tail(Path(state["path"]))
    yield from checks.mount(health, flights, state)


def _questions(client: ControlClient) -> dict[str, Callable[[], Any]]:
    return {
        "settings": lambda: client.ask("settings"),
        "stats": lambda: client.statistics(has_histograms=True),
        "inflight": lambda: client.ask("inflight"),
        "pending": client.pending,
        "log_state": lambda: client.ask("log"),
    }


def _answer(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except (OSError, ConfigurationError) as exc:
        return {"unanswered": str(exc), "kernel": [], "store": []}


def _unanswered(place: Path, exc: Exception) -> Check:
    if isinstance(exc, TimeoutError):
        fix = f"look at its log (bucketfs log {place}); if nothing helps: kill it, then umount"
        return Check(FAIL, "mount process", "it does not answer", fix)
    if isinstance(exc, PermissionError | ConfigurationError):
        return Check(FAIL, "mount process", str(exc), "ask as the user who has mounted")
    fix = f"bucketfs umount {place}, then mount again: what was not saved is saved then"
    return Check(FAIL, "mount process", "it is gone", fix)


def _bucket(source: str, options: Sequence[str], collected: Document) -> Iterator[Check]:
    """Check whether a mount of a bucket would work. A small object is written and removed."""
    from bucketfs.cli.probing import found

    asked = resolve(source, options)
    settings = asked.settings(asked.mountpoint or NOWHERE)
    url = settings.url
    collected["settings"] = settings.shown(logs.mask().hide)
    logging.getLogger(logs.LOGGER_NAME).addHandler(logging.NullHandler())
    yield checks.credentials(asked)
    yield checks.cache_folder(settings.cache_folder)
    try:
        findings = found(settings)
    except (ConfigurationError, OSError) as exc:
        yield Check(FAIL, "bucket", str(exc), "bucketfs probe --debug shows the requests")
        return
    missing = findings.missing(is_read_only=settings.is_read_only)
    if missing:
        names = ", ".join(right.name for right in missing)
        yield Check(FAIL, "rights", f"missing: {names}", f"bucketfs probe {mask_url(url)}")
    else:
        yield Check(OK, "rights", "a mount has all that it needs")
    yield checks.clock(findings.skew_s)


def _tail(file: Path) -> str:
    try:
        return "\n".join(last_lines(file, LOG_LINES))
    except OSError as exc:
        return f"{file} cannot be read: {exc.strerror}"


def write_archive(output: Path, document: Document) -> None:
    """Write each part of a document as a file of a new tar.gz that only its owner may read.

    Whatever looks like a secret, or is known to be one, is masked once more.
    Raises: OSError (it is there already, or cannot be written).
    """
    mask = logs.mask()
    opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, value in document.items():
            is_text = isinstance(value, str)
            text = value if is_text else json.dumps(value, indent=2)
            data = mask.hide(text).encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"bucketfs-report/{name}.{'txt' if is_text else 'json'}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
