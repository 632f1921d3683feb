"""Mount points as the kernel names them, found without waiting for a mount that may hang."""

from __future__ import annotations

import os
from pathlib import Path

from bucketfs.control import ControlClient, cache_folder_of
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

KERNEL_TYPE = "fuse.bucketfs"
"""What the kernel's table calls our mounts (the subtype that fuse/session.py gives)."""
_MOST_LINKS = 40
"""Symbolic links in one path, as the kernel allows them."""


def resolved(mountpoint: Path) -> Path:
    """Return the absolute path without symbolic links.

    A stat of a mount whose process hangs would hang as well, so a path that is in the kernel's
    table once its parent is resolved is not touched itself.
    """
    absolute = mountpoint.absolute()
    place = absolute.parent.resolve() / absolute.name
    return place if mounttable.find(place) is not None else absolute.resolve()


def mounted_at(mountpoint: Path) -> Path:
    """Return the resolved path of a mount of ours. Raises: ConfigurationError."""
    place = resolved(mountpoint)
    entry = mounttable.find(place)
    if entry is None:
        raise ConfigurationError(f"nothing is mounted at {place}")
    if entry.type != KERNEL_TYPE:
        raise ConfigurationError(f"{place} is not a mount of bucketfs but of {entry.type}")
    return place


def is_ours(place: Path) -> bool:
    """Tell whether a mount of ours is at a resolved path."""
    entry = mounttable.find(place)
    return entry is not None and entry.type == KERNEL_TYPE


def mount_of(path: Path) -> tuple[Path, list[str]]:
    """Return the mount of ours that a path is on, and the names that lead there from it.

    Only what is above the mount point is touched, so the names may still hold ".." and links.
    Raises: ConfigurationError (it is on no mount of ours).
    """
    place, names, links = Path("/"), list(path.absolute().parts[1:]), 0
    while True:
        if is_ours(place):
            return place, names
        if not names or links > _MOST_LINKS:
            raise ConfigurationError(f"{path} is not on a mount of bucketfs")
        name = names.pop(0)
        if name == "..":
            place = place.parent
        elif is_ours(place / name) or not (place / name).is_symlink():
            place /= name
        else:
            target = (place / name).readlink()
            names = [*target.parts, *names]
            links += 1
            if target.is_absolute():
                place = Path(names.pop(0))


def names_on(place: Path, path: Path) -> list[str]:
    """Return the names that lead from a mount that answers to an existing path on it.

    Raises: ConfigurationError (it does not exist, or a link leads away from the mount).
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
        return list(real.relative_to(place).parts)
    except OSError as exc:
        raise ConfigurationError(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigurationError(f"{path} leads to {real}, which is not on {place}") from exc


def check_alive(client: ControlClient, place: Path) -> None:
    """Make sure that a mount's process answers. Raises: ConfigurationError."""
    try:
        client.status()
    except TimeoutError as exc:
        raise ConfigurationError(f"the mount process of {place} does not answer") from exc
    except OSError as exc:
        folder = cache_folder_of(place) or "its cache folder"
        raise ConfigurationError(
            f"the mount process of {place} is gone; what it had not saved is in {folder}: mount it "
            "again (bucketfs umount, then mount), and it is saved"
        ) from exc
