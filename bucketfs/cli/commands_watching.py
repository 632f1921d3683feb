"""Commands that show how mounts are and what they do: status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli.app import Debug, app, untouched

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(
    mountpoints: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MOUNTPOINT...", parser=untouched, help="Only these."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show all your mounts (as root: everybody's), or some, and how each of them is.

    \b
    Health:
      answers          its process answers
      does not answer  it did not within 5 seconds
      dead             there is no such process any more; the mount point has to be freed

    The exit status is 1 if one of them is not well. No mount point is touched, so that a mount that
    hangs cannot make this hang.

    Without a terminal a line a mount, tabs between: URL, mount point, health, pid, uptime in
    seconds, unsaved files, their bytes, files that could not be saved, requests to the store
    without a usable answer, memory in use and its limit, disk in use and its limit. What is not
    known is empty.
    """
    from bucketfs.cli.status import show_status

    raise typer.Exit(show_status(mountpoints or [], is_json=as_json))
