"""Commands that make, end and try a mount: mount, umount, probe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli import completing
from bucketfs.cli.app import Debug, Mountpoint, Options, Source, app, untouched
from bucketfs.options import describe
from bucketfs.settings import SCHEMES

_MOUNT_HELP = f"""Mount the bucket at URL on the directory MOUNTPOINT.

Instead of URL the name of a profile will do (`bucketfs configure` makes one); a profile may also
say where, then MOUNTPOINT can be left out.

\b
URL is one of
{"".join(f"  {form:<40}{meaning}{chr(10)}" for form, meaning in SCHEMES.items())}
Returns when the mount answers. Credentials come from the environment
(AWS_ACCESS_KEY_ID, COS_SECRET_ID, BCE_ACCESS_KEY_ID, QINIU_ACCESS_KEY, LIBCLOUD_KEY
and their secrets), from the profile, else from the files of the clouds' own tools.

\b
Options for -o (comma-separated; a comma in a value is written \\,):
{"".join(f"  {line}{chr(10)}" for line in describe().splitlines())}
The options of mount(8) are accepted too: nosuid, nodev, noexec, noatime,
_netdev, nofail, noauto, user, x-systemd.* and so on.
"""


@app.command(help=_MOUNT_HELP)
def mount(
    source: Source,
    mountpoint: Annotated[
        Path | None, typer.Argument(metavar="MOUNTPOINT", parser=untouched)
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            metavar="OPT,OPT=VALUE,...",
            help="Mount options; may be repeated.",
            autocompletion=completing.options,
        ),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay in the foreground; log to stderr.")
    ] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", "-r", help="The same as -o ro.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every request; show tracebacks.")
    ] = False,
) -> None:
    """Mount a bucket (the help text is `_MOUNT_HELP`)."""
    from bucketfs.cli.mounting import mount_bucket, settings_from
    from bucketfs.cli.profiles import is_url

    if mountpoint is None and is_url(source):
        raise typer.BadParameter("Missing argument 'MOUNTPOINT'.")
    settings = settings_from(
        source,
        mountpoint,
        options or [],
        is_foreground=foreground,
        is_read_only=read_only,
        is_debug=debug,
    )
    raise typer.Exit(mount_bucket(settings))


@app.command()
def umount(
    mountpoint: Mountpoint,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Unmount although something cannot be saved; it stays in the cache."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Save everything into the bucket, showing what is left, then unmount MOUNTPOINT.

    While it saves, new changes are refused (EROFS); programs may finish files that they have open.
    Each file that could not be saved is named on standard error, and the exit status is 1 then: it
    is still mounted, and changes are let in again. With --force it is unmounted all the same after
    one attempt: what is left is kept in the cache folder, where the next mount finds it, and from
    where `bucketfs recover` exports it.
    """
    from bucketfs.cli.unmounting import unmount

    raise typer.Exit(unmount(mountpoint, is_forced=force))


@app.command()
def probe(
    source: Source,
    options: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show requests and tracebacks.")] = False,
) -> None:
    """Show what the bucket at URL (or of PROFILE) can do and what these keys may do in it.

    Lists it, and writes, reads and deletes one small object of its own. The exit status is 1 if a
    mount would lack a right (list and read are enough with -o ro).
    """
    from bucketfs.cli.probing import probe_bucket

    raise typer.Exit(probe_bucket(source, options or [], is_json=as_json, is_debug=debug))
