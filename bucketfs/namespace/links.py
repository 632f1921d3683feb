"""Symbolic links: objects of type S_IFLNK in their metadata whose content is the target (s3fs)."""

from __future__ import annotations

import stat

from bucketfs.errors import InvalidOperation, NameTooLong, ObjectChanged, StaleHandle
from bucketfs.namespace.entries import Entries
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.nodes import Caller, Node, key_of
from bucketfs.storage.interface import MemorySink, ObjectStore

TARGET_MAX_BYTES = 4095
"""PATH_MAX of Linux without the final NUL."""


class Links:
    """Makes and reads symlinks. A target once read is kept with its node."""

    def __init__(self, store: ObjectStore, finder: Finder, entries: Entries) -> None:
        self._store = store
        self._finder = finder
        self._entries = entries

    async def make_symlink(self, parent: Node, name: bytes, target: bytes, caller: Caller) -> Node:
        """Make a symlink; one lookup is counted. Raises: EntryExists, NameTooLong, StorageError."""
        if not target or len(target) > TARGET_MAX_BYTES:
            raise NameTooLong(f"a link's target has 1 to {TARGET_MAX_BYTES} bytes")
        mode = stat.S_IFLNK | 0o777
        return await self._entries.put(parent, name, mode, 0, caller, target)

    async def read_symlink(self, node: Node) -> bytes:
        """Return a symlink's target. Raises: InvalidOperation (no symlink), StaleHandle."""
        if node.kind != stat.S_IFLNK or node.info is None:
            raise InvalidOperation(f"{node.name!r} is not a symlink")
        info = node.info
        if node.data is None:
            node.data = await self._finder.target(info)
        if node.data is None:
            buffer = bytearray(min(info.size, TARGET_MAX_BYTES))
            sink = MemorySink(buffer)
            try:
                await self._store.read_range(
                    key_of(node), 0, len(buffer), sink, if_version=info.version
                )
            except ObjectChanged as exc:
                raise StaleHandle(f"{node.name!r} was replaced by others") from exc
            node.data = bytes(buffer[: sink.received])
            self._finder.learned_target(info, node.data)
        return node.data
