"""Questions to the mount process behind a mount point, and what a person reads where it is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bucketfs.control import ControlClient, cache_folder_of
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

T = TypeVar("T")


def client_of(place: Path) -> ControlClient:
    """Return a client of the mount at a resolved path, of whichever user it is."""
    entry = mounttable.find(place)
    return ControlClient(place, None if entry is None else entry.owner_uid)


def cache_folder_at(place: Path) -> Path | None:
    """Return the cache folder of the mount at a resolved path, of whichever user; None: unknown."""
    entry = mounttable.find(place)
    return cache_folder_of(place, None if entry is None else entry.owner_uid)


def asked(place: Path, question: Callable[[ControlClient], T]) -> T:
    """Return the answer to a question. Raises: ConfigurationError where there is none."""
    try:
        return question(client_of(place))
    except TimeoutError as exc:
        raise ConfigurationError(f"the mount process of {place} does not answer") from exc
    except PermissionError as exc:
        raise ConfigurationError(f"the mount at {place} answers its owner only") from exc
    except OSError as exc:
        raise ConfigurationError(
            f"the mount process of {place} is gone, and what it had counted with it; what it had "
            f"not saved is in {cache_folder_at(place) or 'its cache folder'}"
        ) from exc
