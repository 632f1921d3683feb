"""`bucketfs sync`: waits until files are in the bucket, which sync(2) cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from bucketfs.cli.asking import client_of
from bucketfs.cli.mountpoints import check_alive, mount_of, names_on
from bucketfs.cli.progress import last_of, tell_failed, where_kept
from bucketfs.errors import ConfigurationError


def sync(path: Path) -> int:
    """Have everything at and below a path in the bucket; return 1 if something could not be saved.

    The saving goes on in the mount process if this is interrupted.
    Raises: ConfigurationError where the path is on no mount, or its process is gone.
    """
    place, names = mount_of(path)
    client = client_of(place)
    check_alive(client, place)
    if names:
        names = names_on(place, path)
    try:
        last = last_of(client.sync(names), "saving", "failed")
    except OSError as exc:
        raise ConfigurationError(f"the mount process of {place} went away: {exc}") from exc
    if "failed" not in last:
        raise ConfigurationError(f"the mount process of {place} ended while it was saving")
    failed: list[dict[str, Any]] = last["failed"]
    if not failed:
        return 0
    tell_failed(failed)
    kept = where_kept(failed, last.get("cache_folder"))
    text = f"{len(failed)} could not be saved; they are tried again; {kept}"
    typer.echo(f"bucketfs: error: {text}", err=True)
    return 1
