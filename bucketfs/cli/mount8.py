"""What mount(8) and umount(8) call for file systems of our type: their words, their exit statuses.

    /sbin/mount.TYPE SPEC DIR [-sfnvrw] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
    /sbin/umount.TYPE DIR [-flnrv] [-N NAMESPACE] [-t TYPE]

See "External helpers" of both manuals. An exit status of 32 is their "it failed".
"""

from __future__ import annotations

import os
from pathlib import Path

import typer

from bucketfs.cli.mounting import describe_error, mount_bucket, settings_from
from bucketfs.errors import BucketfsError, ConfigurationError, StorageError
from bucketfs.options import is_known, joined, split

FAILED = 32
"""What mount(8) and umount(8) say when it did not work."""
_TYPES = ("bucketfs", "fuse.bucketfs")


def mount_for_fstab(
    spec: str,
    place: Path,
    options: list[str],
    *,
    kind: str | None,
    namespace: str | None,
    is_writable: bool,
    is_sloppy: bool,
    is_fake: bool,
    is_verbose: bool,
) -> int:
    """Mount in the background, as `mount` of the command line does; return the exit status.

    `spec` is a URL or a profile. `is_writable`: although a profile says `ro`. `is_sloppy`:
    options that nobody knows are left out. `is_fake`: all but the mount itself.
    """
    try:
        _check(kind, namespace)
        items = _without_default([item for text in options for item in split(text)])
        if is_writable:
            items.append("rw")
        if "remount" in items:
            raise ConfigurationError("remount is not possible: umount and mount instead")
        if is_sloppy:
            items = [item for item in items if is_known(item)]
        settings = settings_from(
            spec, place, [joined(items)], is_foreground=False, is_read_only=False, is_debug=False
        )
        if is_fake:
            return 0
        mount_bucket(settings)
    except (BucketfsError, OSError) as exc:
        text = describe_error(exc, spec) if isinstance(exc, StorageError) else str(exc)
        return _failed("mount", text)
    if is_verbose:
        typer.echo(f"mount.bucketfs: {settings.url} is mounted at {settings.mountpoint}")
    return 0


def _without_default(items: list[str]) -> list[str]:
    """Return the items without `rw`, and what it takes back.

    mount(8) says it wherever nobody asks for `ro`; a profile that has `ro = true` would be
    overruled.
    """
    if next((item for item in reversed(items) if item in ("ro", "rw")), "") == "ro":
        return items
    return [item for item in items if item not in ("ro", "rw")]


def umount_for_fstab(
    place: Path,
    *,
    namespace: str | None,
    kind: str | None,
    is_forced: bool,
    is_lazy: bool,
    is_verbose: bool,
) -> int:
    """Save everything and unmount, as `umount` of the command line does; return the exit status.

    `is_forced`: unmount although something could not be saved. `is_lazy`: do not wait.
    """
    # Not at the top: a mount goes to the background before trio is there.
    from bucketfs.cli.unmounting import detach, unmount

    try:
        _check(kind, namespace)
        status = detach(place) if is_lazy else unmount(place, is_forced=is_forced)
    except (BucketfsError, OSError) as exc:
        return _failed("umount", str(exc))
    if is_verbose and not status:
        typer.echo(f"umount.bucketfs: {place} is unmounted")
    return FAILED if status else 0


def _check(kind: str | None, namespace: str | None) -> None:
    if kind is not None and kind not in _TYPES:
        raise ConfigurationError(f"{kind} is not a type of bucketfs")
    if namespace is not None and not _is_own_namespace(namespace):
        raise ConfigurationError(
            f"-N {namespace} is not possible; run: nsenter --mount={namespace} mount ..."
        )


def _is_own_namespace(namespace: str) -> bool:
    """Tell whether a mount namespace (a process id or a file) is the one that we are in."""
    path = f"/proc/{namespace}/ns/mnt" if namespace.isdecimal() else namespace
    return os.path.samestat(os.stat(path), os.stat("/proc/self/ns/mnt"))


def _failed(verb: str, text: str) -> int:
    typer.echo(f"{verb}.bucketfs: error: {' '.join(text.split())}", err=True)
    return FAILED
