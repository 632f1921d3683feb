"""Own objects: was what is in the bucket put there by a save of ours that nobody heard the end of?

The answer of such a save was lost, or the mount died while it was under way. Taking it for a change
by others would refuse the file's next save; taking a change by others for it would lose an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from bucketfs.errors import ObjectNotFound
from bucketfs.namespace.nodes import Node, key_of
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, ObjectStore


class OwnObjects:
    """Recognises what saves of this mount, or of an earlier one with its journal, have stored."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def found(self, key: str, sent: Sequence[ObjectAttributes]) -> ObjectInfo | None:
        """Return what is at `key` if a save that `sent` one of these attributes has put it there.

        Metadata that this made hold times to the nanosecond: nobody else writes the same. But
        others may add to an object that grows, and its metadata stay: of such one nobody can say.
        Raises: StorageError.
        """
        if not any(attributes.metadata for attributes in sent):
            return None
        try:
            found = await self._store.stat(key)
        except ObjectNotFound:
            return None
        metadata = dict(found.metadata or {})
        is_own = metadata and any(dict(attributes.metadata) == metadata for attributes in sent)
        return found if is_own and not found.is_appendable else None

    async def grown(self, node: Node) -> ObjectInfo | None:
        """Return the object if it is as an earlier save, whose end nobody knows, let it grow.

        Raises: StorageError, ObjectChanged.
        """
        if node.content is None:
            return None
        with suppress(ObjectNotFound):
            found = await self._store.stat(key_of(node))
            return found if await node.content.has_grown_to(found) else None
        return None

    async def rest(self, node: Node) -> None:
        """Let a restored file rest on what an earlier save of it has put into the bucket, if so.

        The version that it rested on is gone then, and with it what the file has unchanged of it.
        Raises: StorageError, ObjectChanged.
        """
        own = await self.found(key_of(node), node.sent) or await self.grown(node)
        if own is not None and node.content is not None and node.info is not None:
            # ATOMIC: content and node name the same version
            node.content.rebased(own)
            node.info = own
