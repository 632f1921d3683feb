"""Warm-ups: what a person names is brought to the disk cache before anybody reads it.

Names are found by flat listings (a request for each thousand files, whatever the depth), and files
are fetched side by side, in stretches, with half of the requests that the mount may make.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from bucketfs.counting import causes
from bucketfs.errors import BucketfsError
from bucketfs.namespace.nodes import Node, prefix_of
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.blocks.warming import DiskRefused, Progress, Stretch, Warmer, stretches
from bucketfs.storage.interface import ObjectInfo

MOST_FAILURES_TOLD = 1000
NO_VERSION = "the server gives it no version that could be relied on"


@dataclass(slots=True)
class _File:
    """A file of which some stretches are still to come."""

    info: ObjectInfo
    left: int
    has_failed: bool = False


@dataclass(slots=True)
class _Found:
    """What there is to do, and what became of it."""

    files: int = 0
    bytes: int = 0
    is_complete: bool = False
    done_files: int = 0
    skipped_files: int = 0
    skipped_bytes: int = 0
    failed_files: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    stopped: str | None = None


class WarmUp:
    """One warm-up of what is at and below `paths` (each the names that lead there)."""

    def __init__(
        self, tree: Tree, warmer: Warmer, paths: Sequence[Sequence[str]], *, concurrency: int
    ) -> None:
        self._tree = tree
        self._warmer = warmer
        self._paths = paths
        self._width = max(1, concurrency // 2)
        self._found = _Found()
        self._progress = Progress()
        self._disk_bytes = 0
        self._scope = trio.CancelScope()

    def report(self) -> dict[str, Any]:
        """Return how far it is, and what failed so far."""
        found = self._found
        return {
            "files": found.done_files,
            "bytes": self._progress.bytes,
            "files_found": found.files,
            "bytes_found": found.bytes,
            "is_listed": found.is_complete,
            "skipped_files": found.skipped_files,
            "skipped_bytes": found.skipped_bytes,
            "failed_files": found.failed_files,
            "stopped": found.stopped,
            "limit_bytes": self._warmer.limit_bytes,
        }

    def failures(self) -> list[dict[str, str]]:
        """Return what failed, as path and reason; of very many only the first."""
        return self._found.failures

    async def run(self) -> None:
        """Fetch everything; failures are noted and the rest goes on. Cancelled, what came stays."""
        with causes.acting(causes.own("warmup")):
            send, receive = trio.open_memory_channel[tuple[_File, Stretch]](self._width)
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for _ in range(self._width):
                        nursery.start_soon(self._fetch, receive.clone())
                    receive.close()
                    async with send:
                        for path in self._paths:
                            await self._find(path, send)
                    self._found.is_complete = True

    async def _find(
        self, path: Sequence[str], send: trio.MemorySendChannel[tuple[_File, Stretch]]
    ) -> None:
        """Find what is at and below a path, and have it fetched."""
        try:
            node = await self._node(path)
            async for info in self._objects(node):
                if self._is_taken(info):
                    file = _File(info, 0)
                    parts = list(stretches(info))
                    file.left = len(parts)
                    for stretch in parts:
                        await send.send((file, stretch))
        except BucketfsError as exc:
            self._failed("/" + "/".join(path), str(exc))

    async def _node(self, path: Sequence[str]) -> Node:
        """Return the node at a path. Raises: EntryNotFound, StorageError."""
        nodes = [self._tree.root]
        try:
            for name in path:
                nodes.append(await self._tree.lookup(nodes[-1], os.fsencode(name)))
        finally:
            for node in nodes[:0:-1]:
                self._tree.forget(node.inode, 1)
        return nodes[-1]

    async def _objects(self, node: Node) -> AsyncIterator[ObjectInfo]:
        """Yield the objects at and below a node that have any bytes. Raises: StorageError."""
        if not node.is_directory:
            if node.info is not None and node.info.size:
                yield node.info
            return
        marker: str | None = None
        prefix = prefix_of(node)
        while True:
            page = await self._warmer.store.list_page(prefix, marker=marker)
            for info in page.objects:
                if info.size and not info.key.endswith("/"):
                    yield info
            marker = page.next_marker
            if marker is None:
                return

    def _is_taken(self, info: ObjectInfo) -> bool:
        """Count a file that was found; say whether it is to be fetched."""
        found = self._found
        if not self._warmer.can_keep(info):
            self._failed(_path_of(info), NO_VERSION)
            return False
        disk_bytes = self._warmer.disk_bytes(info)
        if self._disk_bytes + disk_bytes > self._warmer.room_bytes:
            # It would only drive out what has just come, and each byte may cost money.
            found.skipped_files += 1
            found.skipped_bytes += info.size
            return False
        self._disk_bytes += disk_bytes
        found.files += 1
        found.bytes += info.size
        return True

    async def _fetch(self, receive: trio.MemoryReceiveChannel[tuple[_File, Stretch]]) -> None:
        """Fetch stretches until there are no more."""
        async with receive:
            async for file, stretch in receive:
                if file.has_failed:
                    continue
                try:
                    await self._warmer.warm(stretch, self._progress)
                except DiskRefused as exc:
                    self._found.stopped = str(exc)
                    self._scope.cancel()
                except BucketfsError as exc:
                    if not file.has_failed:
                        self._failed(_path_of(file.info), str(exc))
                    file.has_failed = True
                file.left -= 1
                if not file.left and not file.has_failed:
                    self._found.done_files += 1

    def _failed(self, path: str, reason: str) -> None:
        self._found.failed_files += 1
        if len(self._found.failures) < MOST_FAILURES_TOLD:
            self._found.failures.append({"path": path, "reason": reason})


def _path_of(info: ObjectInfo) -> str:
    return "/" + os.fsencode(info.key).decode("utf-8", "replace")
