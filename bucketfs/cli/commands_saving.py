"""Commands about what is not in the bucket yet: sync, pending, recover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli import completing
from bucketfs.cli.app import Debug, Options, PathOnMount, app, untouched

_RECOVER_HELP = """Show or export the files that a mount left unsaved in CACHE_DIR.

Usually nobody needs it: the next mount with the same cache folder saves them by itself. No mount
is needed for this, and none may use the folder (but for --list). What an earlier mount has moved to
CACHE_DIR/lost+found is named, too; a folder there that has a journal can be given as CACHE_DIR.

\b
  bucketfs recover CACHE_DIR                       list what is kept
  bucketfs recover CACHE_DIR --export FOLDER       copy what is here
  bucketfs recover CACHE_DIR --export FOLDER --fetch
                                                   and get the rest from the bucket
  bucketfs recover CACHE_DIR --forget PATH         drop one, after asking

A file that was changed in part has its other bytes only in the bucket. Without --fetch, --url or -o
they are holes in the copy, which is said for each file, and the exit status is 1. Nothing is
deleted but what --forget names.
"""

FetchUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL|PROFILE",
        help="Fetch from there (default: as it was mounted).",
        autocompletion=completing.sources,
    ),
]


@app.command()
def sync(
    path: PathOnMount,
    debug: Debug = False,
) -> None:
    """Wait until everything at and below PATH is in the bucket, showing what is left.

    PATH is a mount point, or a file or directory on a mount. sync(1) and sync(2) cannot do this:
    the kernel does not pass them on to file systems like this one (fsync(2) it does). With -o
    writeback this is how a script knows that its files have arrived.

    Each file that could not be saved is named on standard error, and the exit status is 1 then;
    it is kept in the cache folder and tried again.
    """
    from bucketfs.cli.syncing import sync as sync_path

    raise typer.Exit(sync_path(path))


@app.command()
def pending(
    place: Annotated[Path, typer.Argument(metavar="MOUNTPOINT|CACHE_DIR", parser=untouched)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    debug: Debug = False,
) -> None:
    """List what is not in the bucket yet: of a mount, or of the cache folder of one that died.

    \b
    States:
      open       a program is writing it
      waiting    closed; it is saved soon, or tried again every 10 seconds
      uploading  being sent now
      refused    others changed its object meanwhile, and -o conflict=fail: not sent by itself
      deleting   removed here, its object is still there

    Without a terminal a line a file, tabs between: path, size, bytes that only this machine has,
    seconds since it was closed (empty: open), attempts, state, last error. No request is made: it
    answers also while the server is away, and for a mount whose process is dead.
    """
    from bucketfs.cli.pending import show_pending

    raise typer.Exit(show_pending(place, is_json=as_json))


@app.command(help=_RECOVER_HELP)
def recover(
    folder: Annotated[Path, typer.Argument(metavar="CACHE_DIR")],
    list_only: Annotated[
        bool, typer.Option("--list", help="Show what is there (the default).")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FOLDER", help="Copy the files to FOLDER (new or empty)."),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch what only the bucket has from there.")
    ] = False,
    url: FetchUrl = None,
    options: Options = None,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="PATH", help="Drop a file; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --forget.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show, export or drop kept files (the help text is `_RECOVER_HELP`)."""
    from bucketfs.cli import recovering

    if (list_only or as_json) + (export is not None) + bool(forget) > 1:
        raise typer.BadParameter("--list, --export and --forget exclude each other")
    if export is not None:
        source = (url, options or [], fetch)
        raise typer.Exit(recovering.export(folder, export, *source))
    if forget:
        raise typer.Exit(recovering.forget(folder, forget, is_sure=yes))
    raise typer.Exit(recovering.show_kept(folder, is_json=as_json))
