"""What is not in the bucket yet, file by file: since when, how often it was tried, why it failed.

The numbers are for people (`bucketfs pending`); nothing is decided by them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from bucketfs.namespace.nodes import Inode, Node, is_below, key_of
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.content import Content
from bucketfs.pagecache.records import FileRecord

OPEN, WAITING, UPLOADING, REFUSED, DELETING = "open", "waiting", "uploading", "refused", "deleting"
"""The states of a pending file: open for writing, closed and waiting its turn, being sent, met by a
conflict (others changed the object; only a person can tell which is right), removed here only."""


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file that is not in the bucket as it is here; `age_s`: since its close, None: it is open.

    `unsaved_bytes`: those that only this machine has. `is_kept`: they are in the journal, so that
    they survive this process.
    """

    path: str
    size: int
    unsaved_bytes: int
    age_s: float | None
    attempts: int
    last_error: str | None
    state: str
    is_kept: bool


@dataclass(slots=True)
class _Efforts:
    """What was done for one file since it was in the bucket."""

    since_ns: int | None = None
    attempts: int = 0
    last_error: str | None = None
    running: int = 0


class Pending:
    """Notes the efforts to save each file, and tells what is pending. In trio's thread only."""

    def __init__(self, tree: Tree, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._tree = tree
        self._clock_ns = clock_ns
        self._efforts: dict[Inode, _Efforts] = {}

    def restored(self, node: Node, record: FileRecord) -> None:
        """Note a file that an earlier mount had left."""
        self._efforts[node.inode] = _Efforts(record.kept_ns, record.attempts, record.last_error)

    def closed(self, node: Node) -> None:
        """Note that a file was closed; the first close since it was in the bucket counts."""
        efforts = self._efforts.setdefault(node.inode, _Efforts())
        if efforts.since_ns is None:
            efforts.since_ns = self._clock_ns()

    @contextmanager
    def saving(self, node: Node) -> Iterator[None]:
        """Note an attempt to save a file, which the block makes."""
        efforts = self._efforts.setdefault(node.inode, _Efforts())
        efforts.running += 1
        try:
            yield
        except Exception as exc:
            efforts.attempts += 1
            efforts.last_error = str(exc)
            raise
        finally:
            efforts.running -= 1
            if not (node.is_dirty or node.waits_for_delete or efforts.running):
                self._efforts.pop(node.inode, None)

    def nodes(self, below: Node | None = None) -> list[Node]:
        """Return what is unsaved; `below`: only that node and what it holds."""
        unsaved = self._tree.unsaved()
        return unsaved if below is None else [node for node in unsaved if is_below(node, below)]

    def files(self) -> list[PendingFile]:
        """Return all that is pending, by path."""
        nodes = self.nodes()
        left = {node.inode for node in nodes}
        # What was removed before it was ever saved ends here.
        for inode in [inode for inode in self._efforts if inode not in left]:
            if not self._efforts[inode].running:
                del self._efforts[inode]
        return sorted(map(self._described, nodes), key=lambda file: file.path)

    def failed(self) -> int:
        """Return how many files could not be saved when it was last tried."""
        return sum(self.last_error(node) is not None for node in self.nodes())

    def last_error(self, node: Node) -> str | None:
        """Return why the last attempt to save a file failed; None: none did."""
        efforts = self._efforts.get(node.inode)
        return None if efforts is None else efforts.last_error

    def at(self, names: Sequence[str]) -> Node | None:
        """Return the node that a path leads to; None: nothing is known there, so nothing unsaved.

        No request is made: what is unsaved is known.
        """
        node: Node | None = self._tree.root
        for name in names:
            node = node.children.get(name) if node is not None else None
        return node

    def file(self, node: Node) -> PendingFile | None:
        """Return what is pending of a file; None: it is in the bucket as it is here."""
        return self._described(node) if node.is_dirty or node.waits_for_delete else None

    def _described(self, node: Node) -> PendingFile:
        efforts = self._efforts.get(node.inode) or _Efforts()
        since_ns = efforts.since_ns or (node.attributes.ctime_ns if node.is_directory else None)
        return PendingFile(
            path=path_of(node),
            size=node.size,
            unsaved_bytes=unsaved_bytes(node),
            age_s=None if since_ns is None else max(0.0, (self._clock_ns() - since_ns) / 1e9),
            attempts=efforts.attempts,
            last_error=efforts.last_error,
            state=_state_of(node, efforts),
            is_kept=node.record is not None,
        )


def unsaved_bytes(node: Node) -> int:
    """Return how many bytes of a file only this machine has."""
    content = cast("Content | None", node.content)
    return 0 if content is None or node.is_removed else content.dirty_bytes


def path_of(node: Node) -> str:
    """Return a node's path below the mount point, fit for a terminal."""
    return "/" + os.fsencode(key_of(node)).decode("utf-8", "replace")


def _state_of(node: Node, efforts: _Efforts) -> str:
    if node.waits_for_delete:
        return DELETING
    if efforts.running:
        return UPLOADING
    if node.is_refused:
        return REFUSED
    return OPEN if node.writers else WAITING
