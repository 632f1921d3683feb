"""Which file a key is (pure): `a/b` is the file `b` in the folder `a`, `a/` the folder itself."""

from __future__ import annotations

from dataclasses import dataclass

from bucketfs.errors import InvalidKey
from bucketfs.storage.key_order import key_bytes

PRIVATE = ".bucketfs"
"""First part of names at the top of the bucket's folder that are the store's own."""

MAX_NAME = 255
"""Bytes of one name (Linux's NAME_MAX)."""

MAX_KEY = 4000
"""Bytes of a key: with the folder's own path still inside PATH_MAX, for the tools that look in."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is: in the folder `folders`, under `name`; a marker is a folder itself."""

    folders: tuple[str, ...]
    name: str
    is_marker: bool


def place_of(key: str, operation: str) -> Place:
    """Return where `key` is. Raises: InvalidKey for a key that no file can have."""
    if len(key_bytes(key)) > MAX_KEY:
        raise InvalidKey(f"longer than {MAX_KEY} bytes", key=key, operation=operation)
    is_marker = key.endswith("/")
    names = tuple((key[:-1] if is_marker else key).split("/"))
    for name in names:
        if name in ("", ".", "..") or "\0" in name or len(key_bytes(name)) > MAX_NAME:
            message = f"a folder cannot hold a file of the name {name[:80]!r}"
            raise InvalidKey(message, key=key, operation=operation)
    if is_private(names[0]):
        message = f"names that start with {PRIVATE} are the store's own"
        raise InvalidKey(message, key=key, operation=operation)
    return Place(names[:-1], names[-1], is_marker)


def is_private(name: str) -> bool:
    """Say whether a name at the top of the bucket's folder is hidden."""
    return name.startswith(PRIVATE)
