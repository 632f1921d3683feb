"""Commands that make mounts a part of the system, and those that mount(8) and umount(8) call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli.app import Debug, Options, app

Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Below DIR, for packagers.")]
Verbose = Annotated[bool, typer.Option("-v")]
Ignored = Annotated[bool, typer.Option("-n", help="Ignored: there is no mtab.")]
Namespace = Annotated[str | None, typer.Option("-N", metavar="NAMESPACE")]
Kind = Annotated[str | None, typer.Option("-t", metavar="TYPE")]


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
    name: Annotated[str, typer.Argument(metavar="NAME")],
    url: Annotated[str, typer.Argument(metavar="URL")],
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT")],
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
    """Write a unit that mounts URL on MOUNTPOINT as the service bucketfs@NAME.

    Says what to type to start it at boot. Credentials are read from /etc/bucketfs/NAME.env (with
    --user: ~/.config/bucketfs/NAME.env), lines like AWS_ACCESS_KEY_ID=..., if that file exists.
    """
    from bucketfs.cli.units import write_unit

    raise typer.Exit(write_unit(name, url, mountpoint, options or [], output, is_user=is_user))


@app.command(name="mount-helper", hidden=True)
def mount_helper(
    spec: str,
    place: Path,
    options: Options = None,
    is_sloppy: Annotated[bool, typer.Option("-s", help="Leave out unknown options.")] = False,
    is_fake: Annotated[bool, typer.Option("-f", help="All but the mount itself.")] = False,
    is_read_only: Annotated[bool, typer.Option("-r")] = False,
    is_writable: Annotated[bool, typer.Option("-w")] = False,
    no_mtab: Ignored = False,
    is_verbose: Verbose = False,
    namespace: Namespace = None,
    kind: Kind = None,
) -> None:
    """What /sbin/mount.bucketfs runs; mount(8) calls it."""
    from bucketfs.cli.mount8 import mount_for_fstab

    added = [text for text, is_given in (("ro", is_read_only), ("rw", is_writable)) if is_given]
    status = mount_for_fstab(
        spec,
        place,
        [*(options or []), *added],
        kind=kind,
        namespace=namespace,
        is_sloppy=is_sloppy,
        is_fake=is_fake,
        is_verbose=is_verbose,
    )
    raise typer.Exit(status)


@app.command(name="umount-helper", hidden=True)
def umount_helper(
    place: Path,
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
