"""Draining: what is not in the bucket yet gets there, later or at the end.

A file that could not be saved when it was closed keeps its bytes here and is tried again while the
mount lives, and once more when it ends.
"""

from __future__ import annotations

import logging
import os

import trio

from bucketfs.errors import BucketfsError
from bucketfs.fuse.boundary import unwrapped
from bucketfs.fuse.durability import Durability
from bucketfs.namespace.nodes import Node, key_of
from bucketfs.namespace.tree import Tree

log = logging.getLogger(__name__)

RETRY_INTERVAL_S = 10.0


class Drainer:
    """Saves what the tree says is unsaved, some files at a time."""

    def __init__(self, tree: Tree, durability: Durability, *, concurrency: int) -> None:
        self._tree = tree
        self._durability = durability
        self._limiter = trio.CapacityLimiter(max(1, concurrency))

    def left(self) -> tuple[int, int]:
        """Return how many files are not in the bucket yet (or not out of it), and their bytes."""
        nodes = self._tree.unsaved()
        return len(nodes), sum(node.size for node in nodes if not node.is_removed)

    async def save_all(self) -> list[str]:
        """Save everything that is unsaved now; return a line for each file where that failed."""
        failed: list[str] = []
        async with trio.open_nursery() as nursery:
            for node in self._tree.unsaved():
                nursery.start_soon(self._save, node, failed)
        return sorted(failed)

    async def _save(self, node: Node, failed: list[str]) -> None:
        async with self._limiter:
            try:
                await self._durability.save(node)
            except Exception as exc:
                # Whatever it is: the other files must still be saved.
                cause = unwrapped(exc)
                if not isinstance(cause, BucketfsError):
                    log.error("saving %s met a bug", path_of(node), exc_info=cause)
                failed.append(f"{path_of(node)}: {cause}")

    async def retry_for_ever(self) -> None:
        """Try closed files again that could not be saved, now and then, until cancelled."""
        while True:
            await trio.sleep(RETRY_INTERVAL_S)
            for node in self._tree.unsaved():
                if node.opens or node.busy or node.is_refused:
                    continue  # its close will save it, or only a person can
                failed: list[str] = []
                await self._save(node, failed)
                for line in failed:
                    log.warning("still not saved: %s", line)


def path_of(node: Node) -> str:
    """Return a node's path below the mount point, fit for a terminal."""
    return "/" + os.fsencode(key_of(node)).decode("utf-8", "replace")
