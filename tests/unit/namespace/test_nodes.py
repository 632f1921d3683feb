"""The table of inodes: numbers, lookup counts, and what is dropped when."""

from __future__ import annotations

import stat

import pytest

from bucketfs.errors import StaleHandle
from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.inodes import Inodes
from bucketfs.namespace.nodes import Node, key_of, prefix_of


def attributes(mode: int) -> Attributes:
    return Attributes(mode, 0, 0, 1, 1, 1)


@pytest.fixture
def inodes() -> Inodes:
    return Inodes(attributes(stat.S_IFDIR | 0o755))


def add(inodes: Inodes, parent: Node, name: str, *, is_directory: bool = False) -> Node:
    kind = stat.S_IFDIR if is_directory else stat.S_IFREG
    return inodes.add(parent, name, attributes(kind | 0o644), is_directory=is_directory)


def test_a_key_follows_the_names_above_it(inodes: Inodes) -> None:
    directory = add(inodes, inodes.root, "d", is_directory=True)
    inner = add(inodes, directory, "e", is_directory=True)
    file = add(inodes, inner, "f")
    assert (prefix_of(inodes.root), prefix_of(inner), key_of(file)) == ("", "d/e/", "d/e/f")
    inodes.move(directory, inodes.root, "x")
    assert (key_of(inner), key_of(file)) == ("x/e/", "x/e/f")


def test_a_node_goes_with_its_last_lookup(inodes: Inodes) -> None:
    node = add(inodes, inodes.root, "f")
    node.lookups = 2
    inodes.forget(node.inode, 1)
    assert inodes.node(node.inode) is node
    inodes.forget(node.inode, 1)
    with pytest.raises(StaleHandle):
        inodes.node(node.inode)
    assert inodes.root.children == {}


@pytest.mark.parametrize("hold", ["opens", "writers", "busy"])
def test_a_node_in_use_outlives_its_lookups(inodes: Inodes, hold: str) -> None:
    node = add(inodes, inodes.root, "f")
    setattr(node, hold, 1)
    inodes.forget(node.inode, 1)
    assert inodes.node(node.inode) is node


def test_an_unsaved_file_outlives_its_lookups(inodes: Inodes) -> None:
    node = add(inodes, inodes.root, "f")
    node.is_new = True
    inodes.forget(node.inode, 1)
    assert inodes.root.children["f"] is node


def test_a_directory_lives_as_long_as_its_children(inodes: Inodes) -> None:
    directory = add(inodes, inodes.root, "d", is_directory=True)
    file = add(inodes, directory, "f")
    file.lookups = directory.lookups = 1
    inodes.forget(directory.inode, 1)
    assert inodes.node(directory.inode) is directory
    inodes.forget(file.inode, 1)
    assert len(inodes) == 1, "the directory was kept for its child only"


def test_numbers_are_never_used_again(inodes: Inodes) -> None:
    first = add(inodes, inodes.root, "f")
    inodes.forget(first.inode, 0)
    second = add(inodes, inodes.root, "f")
    assert second.inode > first.inode


def test_a_node_added_under_a_name_makes_the_former_one_stale(inodes: Inodes) -> None:
    former = add(inodes, inodes.root, "f")
    former.lookups = 1
    latter = add(inodes, inodes.root, "f")
    assert former.is_stale
    assert not latter.is_stale
    inodes.forget(former.inode, 1)
    assert inodes.root.children["f"] is latter, "forgetting the old one leaves the new one alone"


def test_the_root_cannot_be_forgotten(inodes: Inodes) -> None:
    inodes.forget(inodes.root.inode, 5)
    assert inodes.node(inodes.root.inode) is inodes.root
