"""Unmovable: what stores of clouds say that have no request which renames an object."""

from __future__ import annotations

from bucketfs.errors import NotSupported
from bucketfs.storage.interface import ObjectInfo


class Unmovable:
    """A store that renames only by copy and delete, which is for the layers above to do."""

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Raise NotSupported."""
        raise NotSupported("this cloud cannot move objects", key=source, operation="move")
