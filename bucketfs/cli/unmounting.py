"""`bucketfs umount`: everything is saved while a person watches, then the mount point is freed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import typer

from bucketfs.cli.mountpoints import mounted_at
from bucketfs.cli.progress import last_of
from bucketfs.control import ControlClient, Report
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

UNMOUNT_TIMEOUT_S = 30.0


def unmount(mountpoint: Path, *, is_forced: bool = False) -> int:
    """Save, unmount, wait for the mount process; return 1 if something could not be saved.

    What cannot be saved keeps the mount standing unless `is_forced`: as long as it stands the
    bytes can still be copied elsewhere. Raises: ConfigurationError where nothing is mounted there
    or it is busy.
    """
    place = mounted_at(mountpoint)
    client = ControlClient(place)
    try:
        failed = _drain(client)
    except TimeoutError as exc:
        raise ConfigurationError(f"the mount process of {place} does not answer") from exc
    except OSError:
        left = "what it had not saved is in its cache folder"
        typer.echo(f"bucketfs: error: the process of {place} is gone; {left}", err=True)
        _free(place, is_lazy=True)
        return 1
    for line in failed:
        typer.echo(f"bucketfs: not saved: {line}", err=True)
    if failed and not is_forced:
        hint = f"{place} is still mounted; --force unmounts it and leaves them in the cache"
        typer.echo(f"bucketfs: error: {len(failed)} could not be saved; {hint}", err=True)
        return 1
    status = _free_and_wait(client, place)
    return 1 if failed or status else 0


def _drain(client: ControlClient) -> list[str]:
    last = last_of(client.drain(), "saving")
    if "failed" not in last:
        return ["the mount process ended while it was saving"]
    return [str(line) for line in last["failed"]]


def _free_and_wait(client: ControlClient, place: Path) -> int:
    """Unmount, then follow the process until its end; return its exit status."""
    try:
        reports: Iterator[Report] = client.watch()
    except OSError:
        reports = iter(())
    _free(place)
    try:
        last = last_of(reports, "ending")
    except OSError as exc:
        raise ConfigurationError(f"unmounted, but the mount process went away: {exc}") from exc
    return int(last.get("exit_status", 0))


def _free(place: Path, *, is_lazy: bool = False) -> None:
    """Take the mount out of the kernel's table. Raises: ConfigurationError (busy, not allowed)."""
    command = ["fusermount3", "-uz" if is_lazy else "-u", "--", os.fspath(place)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=UNMOUNT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as exc:
        raise ConfigurationError("fusermount3 is missing: install the package fuse3") from exc
    except subprocess.TimeoutExpired as exc:
        raise ConfigurationError(f"unmounting {place} takes too long") from exc
    if done.returncode and mounttable.find(place) is not None:
        reason = done.stderr.strip() or f"fusermount3 ended with status {done.returncode}"
        raise ConfigurationError(f"cannot unmount {place}: {reason}")
