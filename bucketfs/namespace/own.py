"""Own objects: was what is in the bucket put there by a save of ours that nobody heard the end of?

The answer of such a save was lost, or the mount died while it was under way. Taking it for a change
by others would refuse the file's next save; taking a change by others for it would lose an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bucketfs.errors import ObjectNotFound
from bucketfs.namespace.nodes import Node, key_of
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, ObjectStore


class OwnObjects:
    """Recognises what saves of this mount, or of an earlier one with its journal, have stored."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def found(self, key: str, sent: Sequence[ObjectAttributes]) -> ObjectInfo | None:
        """Return what is at `key` if a save that `sent` one of these attributes has put it there.

        Raises: StorageError.
        """
        if not any(attributes.metadata for attributes in sent):
            return None
        found = await self._found(key)
        return found if found is not None and is_own(found, sent) else None

    async def was_saved(self, key: str, sent: Sequence[ObjectAttributes], size: int) -> bool:
        """Tell whether a file of `size` bytes, whose bytes here are gone, is in the bucket.

        They are let go only after a save, or with the file. An object that grows tells nobody's
        name; that it has as many bytes is all that can be seen. Raises: StorageError.
        """
        found = await self._found(key)
        if found is None:
            return False
        return is_own(found, sent) or (found.is_appendable and found.size >= size)

    async def grown(self, node: Node) -> ObjectInfo | None:
        """Return the object if it is as an earlier save, whose end nobody knows, let it grow.

        Raises: StorageError, ObjectChanged.
        """
        found = await self._found(key_of(node)) if node.content is not None else None
        if node.content is None or found is None:
            return None
        base = node.content.base
        has_grown = found.size > (base.size if base is not None else 0)
        return found if has_grown and await node.content.shared_with(found) == found.size else None

    def may_have_grown(self, node: Node) -> bool:
        """Tell whether a restored file may be a part of what an object has grown to."""
        return node.content is not None and self._store.capabilities.append

    async def rest(self, node: Node) -> None:
        """Let a restored file rest on what an earlier save of it has put into the bucket, if so.

        The version that it rested on is gone then, and with it what the file has unchanged of it.
        Where an object that grew has all that the file has, the file is the object.
        Raises: StorageError, ObjectChanged.
        """
        content = node.content
        found = await self._found(key_of(node)) if content is not None else None
        if content is None or found is None:
            return
        shared = await content.shared_with(found)
        # ATOMIC: content and node name the same version; nobody has it open yet
        if shared is not None and shared == content.size:
            content.rest_on(found)
            node.info, node.is_new, node.has_unsaved_attributes = found, False, False
            node.attributes = replace(node.attributes, mtime_ns=found.modified_ns)
        elif node.info is not None and (shared == found.size or is_own(found, node.sent)):
            content.rebased(found)
            node.info = found

    async def _found(self, key: str) -> ObjectInfo | None:
        with suppress(ObjectNotFound):
            return await self._store.stat(key)
        return None


def is_own(found: ObjectInfo, sent: Sequence[ObjectAttributes]) -> bool:
    """Tell whether a save that `sent` one of these attributes has made an object.

    Metadata that this made hold times to the nanosecond: nobody else writes the same. But others
    may add to an object that grows, and its metadata stay: of such one nobody can say.
    """
    metadata = dict(found.metadata or {})
    is_same = any(dict(attributes.metadata) == metadata for attributes in sent)
    return bool(metadata) and is_same and not found.is_appendable
