"""Where a content would be saved: its key and attributes are the namespace's to say, and change."""

from __future__ import annotations

from typing import Protocol

from bucketfs.storage.interface import ObjectAttributes


class Target(Protocol):
    """Where a file would be saved now: asked when it begins to stream."""

    def key(self) -> str:
        """Return the object's key."""

    def attributes(self) -> ObjectAttributes:
        """Return what is to stand beside its bytes."""
