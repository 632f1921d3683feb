"""What is known of one file: its object, where its bytes are, what is not in the bucket yet.

`bucketfs info` shows it, and the extended attributes `user.bucketfs.*` tell it one by one. It is
told from memory; only what no answer has said so far (the type of the content) is asked for, once.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, cast

from cachetools import LRUCache

from bucketfs.errors import AttributeNotFound, ObjectNotFound
from bucketfs.fuse.pending import DELETING, OPEN, UPLOADING, Pending, PendingFile, path_of
from bucketfs.namespace.nodes import Node, key_of
from bucketfs.namespace.xattrs import TOLD
from bucketfs.pagecache.blocks.source import BlockCache
from bucketfs.pagecache.content import Content
from bucketfs.storage.headers import has_etag
from bucketfs.storage.interface import ObjectInfo, ObjectStore, Version
from bucketfs.storage.location import parse_url

CLEAN, DIRTY, KEPT = "clean", "dirty", "kept"
"""States beside `uploading` and `deleting`: in the bucket as it is here; only in this process;
in the journal, so that it survives this process."""

ASKED = frozenset({"content_type", "storage_class", "metadata", "appendable", "info"})
"""What only a HEAD may tell: a listing says nothing of it, or less."""

MOST_REMEMBERED = 1024
_PARTS = re.compile(r"-(\d{1,5})$")
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Describer:
    """Describes files of the mount of `url` (without secrets). In trio's thread only."""

    def __init__(
        self, store: ObjectStore, pending: Pending, blocks: BlockCache | None, url: str
    ) -> None:
        self._store = store
        self._pending = pending
        self._blocks = blocks
        self._url = url.rstrip("/")
        self._prefix = parse_url(url).prefix
        self._looked_at: LRUCache[tuple[str, Version], ObjectInfo] = LRUCache(MOST_REMEMBERED)

    async def description(self, node: Node) -> dict[str, Any]:
        """Return all that is known, by name; None: not known, or there is no such thing.

        Raises: StorageError where what is not known cannot be asked for.
        """
        return await self._described(node, await self._looked(node))

    async def attribute(self, node: Node, name: bytes) -> bytes:
        """Return the value of `user.bucketfs.*`; `info` is all of it, as JSON.

        Raises: AttributeNotFound (no such name, or not known), StorageError.
        """
        short = name.removeprefix(TOLD).decode("utf-8", "replace")
        info = await self._looked(node) if short in ASKED else node.info
        found = await self._described(node, info)
        value = found if short == "info" else found.get(short)
        if value is None:
            raise AttributeNotFound(f"nothing is known by the name {name!r}")
        is_plain = isinstance(value, str | int) and not isinstance(value, bool)
        text = str(value) if is_plain else json.dumps(value)
        return os.fsencode(text)

    async def _looked(self, node: Node) -> ObjectInfo | None:
        """Return what the store says of the object, with all that a listing leaves out."""
        info = node.info
        if info is None or info.metadata is not None:
            return info
        place = (info.key, info.version)
        found = self._looked_at.get(place)
        if found is None:
            try:
                found = await self._store.stat(info.key)
            except ObjectNotFound:
                return info
            if found.version != info.version:
                return info
            self._looked_at[place] = found
        return found

    async def _described(self, node: Node, info: ObjectInfo | None) -> dict[str, Any]:
        key = self._prefix + key_of(node)
        version = info.version if info is not None else None
        pending = self._pending.file(node)
        return {
            "path": path_of(node),
            "key": os.fsencode(key).decode("utf-8", "replace"),
            "url": f"{self._url}/{key_of(node)}".encode("utf-8", "replace").decode(),
            "type": _TYPES.get(node.kind, "unknown"),
            "size": node.size,
            "version": version,
            "etag": version if version and has_etag(version) else None,
            "parts": _parts_of(version),
            "state": _state_of(node, pending),
            **_efforts(pending),
            **_bytes_of(node),
            "cached_bytes": await self._cached_bytes(info),
            "storage_class": info.storage_class if info is not None else None,
            "content_type": info.content_type if info is not None else None,
            "modified": info.modified_ns / 1e9 if info is not None else None,
            "appendable": info.is_appendable if info is not None else None,
            "metadata": _metadata(info),
            "attributes": _attributes_of(node),
        }

    async def _cached_bytes(self, info: ObjectInfo | None) -> int | None:
        if self._blocks is None or info is None:
            return None
        return await self._blocks.held_bytes(info)


def _parts_of(version: Version | None) -> int | None:
    """Return of how many parts an object was made, which S3's kind of ETags tells."""
    match = _PARTS.search(version or "")
    return int(match[1]) if match else None


def _state_of(node: Node, pending: PendingFile | None) -> str:
    if pending is None:
        return CLEAN
    if pending.state == UPLOADING and not node.is_directory and pending.size:
        content = cast("Content | None", node.content)
        sent = content.figures()["sent_bytes"] if content is not None else 0
        return f"{UPLOADING} {min(100, 100 * sent // pending.size)}%"
    if pending.state in (UPLOADING, DELETING):
        return pending.state
    # What is written now may not be in the journal yet, although an earlier state of it is.
    state = KEPT if pending.is_kept and pending.state != OPEN else DIRTY
    return state if pending.last_error is None else f"{state}: {pending.last_error}"


def _efforts(pending: PendingFile | None) -> dict[str, object]:
    return {
        "unsaved_bytes": 0 if pending is None else pending.unsaved_bytes,
        "attempts": 0 if pending is None else pending.attempts,
        "last_error": None if pending is None else pending.last_error,
    }


def _bytes_of(node: Node) -> dict[str, int]:
    content = cast("Content | None", node.content)
    if content is not None:
        return content.figures()
    held = len(node.data) if node.data is not None else 0
    return {"memory_bytes": held, "spilled_bytes": 0, "sent_bytes": 0}


def _metadata(info: ObjectInfo | None) -> Mapping[str, str] | None:
    return dict(info.metadata) if info is not None and info.metadata is not None else None


def _attributes_of(node: Node) -> dict[str, object]:
    attributes = node.attributes
    return {
        "mode": f"{stat.S_IMODE(attributes.mode):04o}",
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime": attributes.mtime_ns / 1e9,
        "xattrs": sorted(attributes.xattrs),
    }
