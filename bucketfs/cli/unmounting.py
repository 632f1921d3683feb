"""`bucketfs umount`: everything is saved while a person watches, then the mount point is freed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import trio
import typer

from bucketfs.cli.asking import client_of
from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.progress import counted, last_of, tell_failed, where_kept
from bucketfs.cli.requirements import missing_program
from bucketfs.control import ControlClient, Report, cache_folder_of
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable, takeover

UNMOUNT_TIMEOUT_S = 30.0
CLOSING_S = 2.0
"""A file that a program has just closed may be open for us a moment longer."""


def unmount(mountpoint: Path, *, is_forced: bool = False) -> int:
    """Save, unmount, wait for the mount process; return 1 if something could not be saved.

    What cannot be saved keeps the mount standing unless `is_forced`: as long as it stands the
    bytes can still be copied elsewhere. Raises: ConfigurationError where nothing is mounted there
    or it is busy.
    """
    place = mounted_at(mountpoint)
    client = client_of(place)
    try:
        _wait_until_closed(client, place)
        draining = cast("Generator[Report]", client.drain(is_last=is_forced))
        # No changes are let in until it is closed, or the mount is gone.
        with contextlib.closing(draining):
            return _drain_and_free(client, draining, place, is_forced=is_forced)
    except TimeoutError as exc:
        if not is_forced:
            raise ConfigurationError(
                f"the mount process of {place} does not answer (--force takes the mount away)"
            ) from exc
        return _give_up(place, "does not answer")
    except OSError:
        return _unmount_unheard(place)


def detach(mountpoint: Path) -> int:
    """Unmount without waiting: it vanishes at once, and its process saves what is left, then ends.

    Return 1 if the process is gone, so that nobody does. Raises: ConfigurationError.
    """
    place = mounted_at(mountpoint)
    try:
        report = client_of(place).status()
    except TimeoutError:
        return _give_up(place, "does not answer")
    except OSError:
        return _unmount_unheard(place, is_lazy=True)
    _free(place, is_lazy=True)
    files, pid = int(report.get("dirty_files", 0)), report.get("pid")
    if files:
        left = counted(files, "file")
        typer.echo(f"bucketfs: {place} is detached; process {pid} still saves {left}", err=True)
    return 0


def _unmount_unheard(place: Path, *, is_lazy: bool = False) -> int:
    """Unmount what has no control socket: its process is gone, or is that of another user."""
    entry = mounttable.find(place)
    folder = cache_folder_of(place, entry.owner_uid if entry else None)
    if folder is None and entry is None:
        return 0  # somebody else has unmounted it meanwhile, and everything was saved
    if entry is None or trio.run(takeover.is_dead, place):
        return _give_up(place, "is gone")
    _free(place, is_lazy=is_lazy)
    typer.echo(
        f"bucketfs: {place} is unmounted; its process could not be asked: it saves what is left "
        "by itself, and its log tells what could not be saved",
        err=True,
    )
    return 0


def _give_up(place: Path, what: str) -> int:
    """Take a mount away whose process does nothing any more, and say where its files are."""
    entry = mounttable.find(place)
    folder = cache_folder_of(place, entry.owner_uid if entry else None)
    left = f"what it had not saved is in {folder or 'its cache folder'}"
    how = f"the next mount saves it, `bucketfs recover {folder or 'CACHE_DIR'}` exports it"
    _free(place, is_lazy=True)
    typer.echo(f"bucketfs: error: the process of {place} {what}; {left}: {how}", err=True)
    return 1


def _wait_until_closed(client: ControlClient, place: Path) -> None:
    """Refuse a mount with open files, before anything is done to it. Raises: ConfigurationError."""
    deadline = time.monotonic() + CLOSING_S
    while open_handles := int(client.status().get("open_handles", 0)):
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"{place} is busy: open files or directories: {open_handles} "
                f"(fuser -vm {place} shows who has them)"
            )
        time.sleep(0.1)


def _drain_and_free(
    client: ControlClient, draining: Iterator[Report], place: Path, *, is_forced: bool
) -> int:
    last = last_of(draining, "saving", "failed")
    if "failed" not in last:
        raise ConnectionResetError("the mount process ended while it was saving")
    failed: list[dict[str, Any]] = last["failed"]
    tell_failed(failed)
    if failed and not is_forced:
        hint = f"{place} is still mounted; --force unmounts it"
        _complain(failed, last, hint)
        return 1
    status = _free_and_wait(client, place)
    if failed:
        _complain(failed, last, f"{place} is unmounted")
    elif status:
        folder = last.get("cache_folder")
        typer.echo(
            f"bucketfs: error: {place} is unmounted, but not everything was saved; "
            f"`bucketfs recover {folder}` shows what is left",
            err=True,
        )
    return 1 if failed or status else 0


def _complain(failed: list[dict[str, Any]], report: Report, state: str) -> None:
    kept = where_kept(failed, report.get("cache_folder"))
    text = f"{len(failed)} could not be saved; {state}; {kept}"
    typer.echo(f"bucketfs: error: {text}", err=True)


def _free_and_wait(client: ControlClient, place: Path) -> int:
    """Unmount, then follow the process until its end; return its exit status."""
    try:
        reports: Iterator[Report] = client.watch()
    except OSError:
        reports = iter(())
    _free(place)
    try:
        last = last_of(reports, "ending", "exit_status")
    except OSError as exc:
        raise ConfigurationError(f"unmounted, but the mount process went away: {exc}") from exc
    return int(last.get("exit_status") or 0)


def _free(place: Path, *, is_lazy: bool = False) -> None:
    """Take the mount out of the kernel's table. Raises: ConfigurationError (busy, not allowed)."""
    command = ["fusermount3", "-uz" if is_lazy else "-u", "--", os.fspath(place)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=UNMOUNT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as exc:
        raise missing_program() from exc
    except subprocess.TimeoutExpired as exc:
        raise ConfigurationError(f"unmounting {place} takes too long") from exc
    if done.returncode and mounttable.find(place) is not None:
        reason = done.stderr.strip() or f"fusermount3 ended with status {done.returncode}"
        raise ConfigurationError(f"cannot unmount {place}: {reason}")
