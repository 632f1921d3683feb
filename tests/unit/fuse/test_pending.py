"""What is pending: since when, how often it was tried, why it failed, in which state it is."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import pytest

from bucketfs.errors import Transient
from bucketfs.fuse.pending import Pending, PendingFile
from bucketfs.namespace.nodes import Node
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.records import FileRecord
from bucketfs.storage.interface import ObjectAttributes

from .fakes import FakeContent, FakeTree

SECOND_NS = 10**9


class Clock:
    """Nanoseconds that a test sets."""

    now_ns = 100 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def pending(tree: FakeTree, clock: Clock) -> Pending:
    return Pending(cast("Tree", tree), clock)


def unsaved(tree: FakeTree, inode: int, name: str) -> Node:
    node = tree.add(inode, name)
    node.content = FakeContent(None, b"abc")  # type: ignore[assignment]
    return node


def _fail(pending: Pending, node: Node, reason: str) -> None:
    """Let an attempt to save a file fail."""
    with suppress(Transient), pending.saving(node):
        assert pending.files()[0].state == "uploading"
        raise Transient(reason)


def test_a_file_waits_from_its_first_close_on(
    tree: FakeTree, pending: Pending, clock: Clock
) -> None:
    node = unsaved(tree, 2, "f")
    node.writers = 1
    assert pending.files() == [PendingFile("/f", 3, 3, None, 0, None, "open", False)]
    node.writers, node.record = 0, 7
    pending.closed(node)
    clock.now_ns += 5 * SECOND_NS
    pending.closed(node)
    assert pending.files() == [PendingFile("/f", 3, 3, 5.0, 0, None, "waiting", True)]


def test_attempts_are_counted_until_one_succeeds(tree: FakeTree, pending: Pending) -> None:
    node = unsaved(tree, 2, "f")
    for reason in ("first", "second"):
        _fail(pending, node, reason)
    (file,) = pending.files()
    assert (file.attempts, file.last_error, file.state) == (2, "second", "waiting")
    assert pending.last_error(node) == "second"
    node.is_refused = True
    assert pending.files()[0].state == "refused"
    with pending.saving(node):
        node.content.is_dirty = False  # type: ignore[union-attr, misc]
    assert (pending.files(), pending.last_error(node)) == ([], None)


def test_a_file_of_an_earlier_mount_keeps_its_history(
    tree: FakeTree, pending: Pending, clock: Clock
) -> None:
    node = unsaved(tree, 2, "f")
    record = FileRecord(
        number=1,
        key="f",
        size=3,
        ranges=(),
        spill=None,
        data=None,
        base=None,
        expected=None,
        attributes=ObjectAttributes({}),
        kept_ns=clock.now_ns - 60 * SECOND_NS,
        attempts=4,
        last_error="503",
    )
    pending.restored(node, record)
    pending.closed(node)
    (file,) = pending.files()
    assert (file.age_s, file.attempts, file.last_error) == (60.0, 4, "503")


def test_what_was_removed_unsaved_is_forgotten(tree: FakeTree, pending: Pending) -> None:
    node = unsaved(tree, 2, "f")
    pending.closed(node)
    _fail(pending, node, "away")
    node.is_removed = True
    assert (pending.files(), pending.last_error(node)) == ([], None)
    node.has_deferred_delete = True
    assert node.waits_for_delete
