"""What close(2) and fsync(2) of a written file stand for before they return 0.

By default both mean that the bucket has everything. With write-back a close means that this
machine's journal has it, and the upload follows; fsync always means the bucket.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Protocol

from bucketfs.errors import BucketfsError, CacheDirectoryError, NoSpace
from bucketfs.namespace.nodes import Node, walk
from bucketfs.namespace.parallel import for_each
from bucketfs.namespace.tree import Tree

SAVES_AT_ONCE = 16
"""Files of a directory that are saved at once; the store has limits of its own for requests."""

log = logging.getLogger(__name__)


class Keeping(Protocol):
    """Where unsaved files survive this process; `keeping.Keeper` is one."""

    async def keep(self, node: Node) -> None:
        """Have everything of a file in the journal."""

    def restored(self, node: Node) -> None:
        """Note that a node is as its record has it."""

    async def failed(self, node: Node, failure: BucketfsError) -> None:
        """Keep a file that could not be saved."""


class Noting(Protocol):
    """Where the efforts to save a file are noted for people; `pending.Pending` is one."""

    def closed(self, node: Node) -> None:
        """Note that a file was closed."""

    def saving(self, node: Node) -> AbstractContextManager[None]:
        """Note an attempt to save a file, which the block makes."""


class NothingNoted:
    """A `Noting` for those who ask nothing."""

    def closed(self, node: Node) -> None:
        """Do nothing."""

    def saving(self, node: Node) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()


class Later(Protocol):
    """What saves files in the background; `writeback.WriteBack` is one."""

    def add(self, node: Node) -> None:
        """Save a node soon."""


class Durability:
    """Makes files durable as the mount promises. `later` None: a close waits for the bucket.

    `is_ending`: the mount ends and nobody waits any more, so that a close only keeps the file.
    """

    def __init__(
        self,
        tree: Tree,
        keeper: Keeping,
        later: Later | None = None,
        noted: Noting | None = None,
    ) -> None:
        self._tree = tree
        self.keeper = keeper
        self._later = later
        self._noted = noted or NothingNoted()
        self.is_ending = False

    async def save(self, node: Node) -> None:
        """Have everything of a node in the bucket. Raises: as `Tree.save`; then it is kept here."""
        try:
            with self._noted.saving(node):
                await self._tree.save(node)
        except BucketfsError as exc:
            await self.keeper.failed(node, exc)
            raise

    async def end_removed(self, nodes: Sequence[Node]) -> None:
        """Have the objects of removed files out of the bucket. Raises: as `Tree.end_removed`."""
        with ExitStack() as stack:
            for node in nodes:
                stack.enter_context(self._noted.saving(node))
            await self._tree.end_removed(nodes)

    async def save_below(self, directory: Node) -> None:
        """Have a directory and everything below it in the bucket. Raises: as `save`."""
        unsaved = [node for node in (directory, *walk(directory)) if node.is_dirty]
        await for_each(unsaved, self.save, limit=SAVES_AT_ONCE)

    async def close(self, node: Node) -> None:
        """Make a file that is being closed as durable as its mount promises.

        Raises: as `save`. A journal that cannot be written is no error as long as the bucket can.
        """
        self._noted.closed(node)
        if not self.is_ending and (self._later is None or node.is_refused):
            await self.save(node)
            return
        try:
            await self.keeper.keep(node)
        except (NoSpace, CacheDirectoryError) as exc:
            log.warning("the journal cannot keep %r, so its close waits: %s", node.name, exc)
            await self.save(node)
            return
        if self._later is not None:
            self._later.add(node)

    async def keep(self, node: Node) -> bool:
        """Have what is unsaved in the journal; tell whether the next mount knows of it.

        A removal that waits is there since it was made.
        Raises: NoSpace, CacheDirectoryError.
        """
        if node.waits_for_delete:
            return True
        if not node.is_dirty:
            return False
        await self.keeper.keep(node)
        return True

    def closed(self, node: Node) -> None:
        """Note that a handle is gone: what was still open for writing may be saved now."""
        if self._later is not None and node.is_dirty:
            self._later.add(node)
