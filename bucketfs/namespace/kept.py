"""Kept files and directories: unsaved, but in this machine's journal for the next mount.

The namespace does not know the journal. It says here what becomes of a kept file's name and
attributes, and goes on only when that is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bucketfs.namespace.nodes import Node


class KeptFiles(Protocol):
    """Hears of changes to files that may be kept; nodes without `record` cost nothing.

    All raise: NoSpace, CacheDirectoryError (the journal cannot be written).
    """

    async def keep(self, node: Node) -> None:
        """Have a node in the journal as it is, so that the bucket need not have it yet."""

    async def moved(self, nodes: Sequence[Node], replaced: Node | None = None) -> None:
        """Note that nodes have other keys now, and that the name of `replaced` was taken away."""

    async def changed(self, node: Node) -> None:
        """Note that a node has other attributes now."""

    async def sending(self, node: Node) -> None:
        """Note that a save of a node is about to be sent with the last of `node.sent`."""

    async def saved(self, node: Node) -> None:
        """Note that a save of a node has put everything that it had into the bucket."""

    async def removed(self, node: Node) -> None:
        """Note that a node's name is gone, and that nobody wants its bytes any more."""


class NothingKept:
    """The `KeptFiles` of a tree without a journal."""

    async def keep(self, node: Node) -> None:
        """Do nothing."""

    async def moved(self, nodes: Sequence[Node], replaced: Node | None = None) -> None:
        """Do nothing."""

    async def changed(self, node: Node) -> None:
        """Do nothing."""

    async def sending(self, node: Node) -> None:
        """Do nothing."""

    async def saved(self, node: Node) -> None:
        """Do nothing."""

    async def removed(self, node: Node) -> None:
        """Do nothing."""
