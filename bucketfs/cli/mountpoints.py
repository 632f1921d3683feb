"""Mount points as the kernel names them, found without waiting for a mount that may hang."""

from __future__ import annotations

from pathlib import Path

from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

KERNEL_TYPE = "fuse.bucketfs"
"""What the kernel's table calls our mounts (the subtype that fuse/session.py gives)."""


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
