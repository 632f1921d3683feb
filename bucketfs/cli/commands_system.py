"""Commands that make mounts a part of the system, and those that mount(8) and umount(8) call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli import completing
from bucketfs.cli.app import Debug, Mountpoint, Options, app, untouched

Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Below DIR, for packagers.")]
Verbose = Annotated[bool, typer.Option("-v", help="Say what was done.")]
Ignored = Annotated[bool, typer.Option("-n", help="Ignored: there is no mtab.")]
Namespace = Annotated[
    str | None,
    typer.Option("-N", metavar="NAMESPACE", help="Only the mount namespace that it is run in."),
]
Kind = Annotated[str | None, typer.Option("-t", metavar="TYPE", help="bucketfs or fuse.bucketfs.")]


@app.command()
def install(root: Root = Path("/"), debug: Debug = False) -> None:
    """Make mount(8), fstab and umount(8) know bucketfs (as root).

    Makes /sbin/mount.bucketfs and /sbin/umount.bucketfs, and the same two for fuse.bucketfs: small
    programs that run this installation. From then on `mount -t bucketfs URL DIR -o ...`, a line of
    fstab and `umount DIR` do what `bucketfs mount` and `bucketfs umount` do.
    """
    from bucketfs.cli.installing import install as make

    raise typer.Exit(make(root))


@app.command()
def uninstall(root: Root = Path("/"), debug: Debug = False) -> None:
    """Remove what `bucketfs install` made, and nothing else (as root)."""
    from bucketfs.cli.installing import uninstall as remove

    raise typer.Exit(remove(root))


@app.command()
def systemd(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=completing.profile_names)],
    source: Annotated[
        str | None, typer.Argument(metavar="URL|PROFILE", autocompletion=completing.sources)
    ] = None,
    mountpoint: Annotated[
        Path | None, typer.Argument(metavar="MOUNTPOINT", parser=untouched)
    ] = None,
    options: Options = None,
    is_user: Annotated[
        bool, typer.Option("--user", help="A unit of your own, not root's.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write it (default: where systemd looks)."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a unit that mounts profile NAME, or URL on MOUNTPOINT, as the service bucketfs@NAME.

    Says what to type to start it at boot. What a profile says may still be changed there; only its
    mount point is in the unit as well. Credentials are those of the profile, else they are read
    from /etc/bucketfs/NAME.env (with --user: ~/.config/bucketfs/NAME.env), lines like
    AWS_ACCESS_KEY_ID=..., if that file exists.
    """
    from bucketfs.cli.units import write_unit

    raise typer.Exit(write_unit(name, source, mountpoint, options or [], output, is_user=is_user))


@app.command(name="mount-helper", hidden=True)
def mount_helper(
    spec: str,
    place: Mountpoint,
    options: Options = None,
    is_sloppy: Annotated[bool, typer.Option("-s", help="Leave out unknown options.")] = False,
    is_fake: Annotated[bool, typer.Option("-f", help="All but the mount itself.")] = False,
    is_read_only: Annotated[bool, typer.Option("-r", help="The same as -o ro.")] = False,
    is_writable: Annotated[
        bool, typer.Option("-w", help="Writable, although a profile has ro = true.")
    ] = False,
    no_mtab: Ignored = False,
    is_verbose: Verbose = False,
    namespace: Namespace = None,
    kind: Kind = None,
) -> None:
    """What /sbin/mount.bucketfs runs; mount(8) calls it."""
    from bucketfs.cli.mount8 import mount_for_fstab

    status = mount_for_fstab(
        spec,
        place,
        [*(options or []), *(["ro"] if is_read_only else [])],
        kind=kind,
        namespace=namespace,
        is_writable=is_writable,
        is_sloppy=is_sloppy,
        is_fake=is_fake,
        is_verbose=is_verbose,
    )
    raise typer.Exit(status)


@app.command(name="umount-helper", hidden=True)
def umount_helper(
    place: Mountpoint,
    is_forced: Annotated[bool, typer.Option("-f", help="Although not all is saved.")] = False,
    is_lazy: Annotated[bool, typer.Option("-l", help="Do not wait.")] = False,
    is_read_only_else: Annotated[bool, typer.Option("-r", help="Ignored.")] = False,
    no_mtab: Ignored = False,
    is_verbose: Verbose = False,
    namespace: Namespace = None,
    kind: Kind = None,
) -> None:
    """What /sbin/umount.bucketfs runs; umount(8) calls it."""
    from bucketfs.cli.mount8 import umount_for_fstab

    status = umount_for_fstab(
        place,
        kind=kind,
        namespace=namespace,
        is_forced=is_forced,
        is_lazy=is_lazy,
        is_verbose=is_verbose,
    )
    raise typer.Exit(status)
