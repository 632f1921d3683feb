"""`bucketfs install`: the programs that mount(8) and umount(8) call for our type of file system.

Both run `/sbin/mount.TYPE` and `/sbin/umount.TYPE`. TYPE is what stands in fstab when mounting, and
what the kernel's table has when unmounting; that is `fuse.bucketfs`, so each has two names.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from bucketfs.errors import ConfigurationError

FOLDER = Path("/sbin")
"""Where util-linux looks, whatever PATH says."""
NAMES = {
    "mount.bucketfs": "mount-helper",
    "mount.fuse.bucketfs": "mount-helper",
    "umount.bucketfs": "umount-helper",
    "umount.fuse.bucketfs": "umount-helper",
}
_MARK = "# Made by `bucketfs install`; `bucketfs uninstall` removes it."


def install(root: Path) -> int:
    """Make the programs below `root`; those of another installation are replaced.

    Raises: ConfigurationError (something else has the name, or it needs root).
    """
    folder = _folder(root)
    for name in NAMES:
        if (folder / name).exists() and not _is_ours(folder / name):
            raise ConfigurationError(f"{folder / name} is there already, and not made by bucketfs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, command in NAMES.items():
            _replace(folder / name, _script(command))
    except PermissionError as exc:
        raise _needs_root(folder, "install") from exc
    typer.echo(f"made {', '.join(NAMES)} in {folder}; they run {sys.executable}")
    return 0


def uninstall(root: Path) -> int:
    """Remove what `install` made, and nothing else; what is not there needs not be removed.

    Raises: ConfigurationError (it needs root).
    """
    folder = _folder(root)
    removed = []
    try:
        for path in _made_in(folder):
            path.unlink()
            removed.append(path.name)
    except PermissionError as exc:
        raise _needs_root(folder, "uninstall") from exc
    what = ", ".join(removed) if removed else "nothing, there was nothing"
    typer.echo(f"removed {what} in {folder}")
    return 0


def _folder(root: Path) -> Path:
    return root / FOLDER.relative_to("/")


def _made_in(folder: Path) -> Iterator[Path]:
    return (folder / name for name in NAMES if _is_ours(folder / name))


def _is_ours(path: Path) -> bool:
    """Tell whether `install` made a file, be it of another installation of this program."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _MARK in file.read(1000)
    except FileNotFoundError:
        return False


def _script(command: str) -> str:
    """Return a program that runs a command of this installation.

    -P: nothing is imported from the folder where root happens to be.
    """
    program = f"{shlex.quote(sys.executable)} -P -m bucketfs {command}"
    return f'#!/bin/sh\n{_MARK}\nexec {program} "$@"\n'


def _replace(path: Path, text: str) -> None:
    """Write a program at once, so that no half of it is ever run."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    new.chmod(0o755)
    os.replace(new, path)


def _needs_root(folder: Path, verb: str) -> ConfigurationError:
    return ConfigurationError(f"{folder} is not writable: run `sudo bucketfs {verb}`")
