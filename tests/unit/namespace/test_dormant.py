"""What the kernel holds and nobody uses takes little memory, and comes back as it was."""

from __future__ import annotations

import stat
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import StaleHandle
from bucketfs.namespace import inodes as table
from bucketfs.namespace.attributes import Attributes, to_metadata
from bucketfs.namespace.dormant import pack, unpack
from bucketfs.namespace.inodes import Inodes
from bucketfs.namespace.keys import shown_segment
from bucketfs.namespace.nodes import Inode, Node, key_of, times_of, walk
from bucketfs.storage.interface import ObjectInfo, Version

DIRECTORY = stat.S_IFDIR | 0o755


def file_attributes(number: int = 1) -> Attributes:
    return Attributes(stat.S_IFREG | 0o644, 1000, 1000, number, number, number)


def info_of(key: str, number: int = 1) -> ObjectInfo:
    version = Version(f"{number:032x}")
    return ObjectInfo(key, number, version, number, None, "text/plain", "STANDARD")


@pytest.fixture
def inodes(monkeypatch: pytest.MonkeyPatch) -> Inodes:
    monkeypatch.setattr(table, "AWAKE", 2)
    return Inodes(Attributes(DIRECTORY, 0, 0, 1, 1, 1))


def add(inodes: Inodes, parent: Node, name: str, *, is_directory: bool = False) -> int:
    """Add a node that the kernel looked up once; return its number only."""
    mode = Attributes(DIRECTORY, 0, 0, 1, 1, 1) if is_directory else file_attributes()
    node = inodes.add(parent, name, mode, is_directory=is_directory)
    node.info = None if is_directory else info_of(key_of(node))
    node.lookups = 1
    return node.inode


def dormant(inodes: Inodes) -> set[int]:
    return set(inodes._dormant)


def crowd(inodes: Inodes, count: int = 20) -> None:
    """Have so many nodes made that whatever may become dormant does."""
    for number in range(count):
        add(inodes, inodes.root, f"crowd{number}")


def test_what_nobody_uses_becomes_dormant_and_wakes_as_it_was(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "f")
    inodes.node(number).fresh_until_s = 7.5
    crowd(inodes)
    assert number in dormant(inodes)
    assert len(inodes) == 22
    node = inodes.node(number)
    assert (node.inode, node.name, node.lookups, node.fresh_until_s) == (number, "f", 1, 7.5)
    assert (node.info, node.attributes) == (info_of("f"), file_attributes())
    assert node.stored_times == times_of(node.attributes)
    assert inodes.root.children.get("f") is node
    assert number not in dormant(inodes)


def test_it_wakes_by_its_name(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "f")
    crowd(inodes)
    node = inodes.root.children.get("f")
    assert node is not None
    assert node is inodes.node(number)


def test_it_goes_when_the_kernel_forgets_it(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "f")
    inodes.node(number).lookups = 2
    crowd(inodes)
    inodes.forget(Inode(number), 1)
    crowd(inodes)
    inodes.forget(Inode(number), 1)
    with pytest.raises(StaleHandle):
        inodes.node(number)
    assert inodes.root.children.get("f") is None


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("opens", 1),
        ("writers", 1),
        ("busy", 1),
        ("is_new", True),
        ("has_unsaved_attributes", True),
        ("has_explicit_times", True),
        ("has_deferred_delete", True),
        ("is_refused", True),
        ("is_stale", True),
        ("changes", 1),
        ("record", 3),
        ("data", b"target"),
        ("content", object()),
        ("sent", (object(),)),
        ("stored_times", (5, 5)),
    ],
)
def test_what_only_this_mount_knows_stays_awake(inodes: Inodes, what: str, value: object) -> None:
    number = add(inodes, inodes.root, "f")
    setattr(inodes.node(number), what, value)
    for count in range(20):
        add(inodes, inodes.root, f"crowd{count}")
        assert number not in dormant(inodes)


def test_what_somebody_holds_stays_awake(inodes: Inodes) -> None:
    held = inodes.node(add(inodes, inodes.root, "f"))
    crowd(inodes)
    assert inodes.node(held.inode) is held


def test_directories_stay_as_long_as_they_have_entries(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "d", is_directory=True)
    below = add(inodes, inodes.node(number), "f")
    crowd(inodes)
    assert below in dormant(inodes)
    assert number not in dormant(inodes)
    inodes.forget(Inode(number), 1)
    assert key_of(inodes.node(below)) == "d/f"
    inodes.forget(Inode(below), 1)
    assert inodes.root.children.get("d") is None


def test_a_renamed_directory_takes_them_along(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "d", is_directory=True)
    below = add(inodes, inodes.node(number), "f")
    crowd(inodes)
    inodes.move(inodes.node(number), inodes.root, "e")
    assert [node.inode for node in walk(inodes.node(number))] == [below]
    assert key_of(inodes.node(below)) == "e/f"


def test_a_name_that_is_taken_anew_makes_the_dormant_node_stale(inodes: Inodes) -> None:
    number = add(inodes, inodes.root, "f")
    crowd(inodes)
    other = add(inodes, inodes.root, "f")
    assert other != number
    assert inodes.node(number).is_stale
    assert inodes.root.children.get("f") is inodes.node(other)


def test_the_key_of_a_name_too_long_to_be_shown_is_kept(inodes: Inodes) -> None:
    segment = "x" * 300
    node = inodes.add(inodes.root, shown_segment(segment), file_attributes(), is_directory=False)
    node.info, node.lookups = info_of(segment), 1
    number = node.inode
    del node
    crowd(inodes)
    assert number in dormant(inodes)
    assert key_of(inodes.node(number)) == segment


TEXTS = st.text(max_size=8)
NUMBERS = st.integers(0, 2**62)


@given(
    st.builds(
        Attributes,
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(-(2**62), 2**62),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.dictionaries(TEXTS, st.binary(max_size=5), max_size=2),
        st.booleans(),
        st.dictionaries(TEXTS, TEXTS, max_size=2),
    ),
    st.none()
    | st.builds(
        ObjectInfo,
        st.sampled_from(["d/n", "other"]),
        NUMBERS,
        st.sampled_from(["00ff", "00FF", "0f", "abc-2", "", "é"]),
        NUMBERS,
        st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3) | st.just({"own": "metadata"}),
        st.none() | TEXTS,
        st.none() | TEXTS,
        st.booleans(),
    ),
    st.floats(allow_nan=False),
    st.booleans(),
)
def test_a_node_survives_packing(
    attributes: Attributes, info: ObjectInfo | None, fresh_until_s: float, is_directory: bool
) -> None:
    parent = Node(Inode(5), "d", None, attributes, is_directory=True)
    if info is not None and info.metadata == {"own": "metadata"}:
        object.__setattr__(info, "metadata", to_metadata(attributes, 10**6))
    node = Node(
        Inode(9),
        "n\udcff",
        parent,
        attributes,
        is_directory=is_directory,
        info=info,
        fresh_until_s=fresh_until_s,
    )
    node.lookups = 3
    found = unpack(pack(node, "d/n"))
    assert (found.parent, found.name, found.lookups) == (5, node.name, 3)
    assert (found.fresh_until_s, found.is_directory) == (fresh_until_s, is_directory)
    assert found.attributes == attributes
    assert found.info_of("d/n") == info


def test_a_name_that_the_kernel_holds_takes_400_bytes_and_nothing_once_it_is_forgotten() -> None:
    inodes = Inodes(Attributes(DIRECTORY, 0, 0, 1, 1, 1))
    directory = inodes.node(add(inodes, inodes.root, "directory", is_directory=True))
    count = 5 * table.AWAKE
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            _fill(inodes, directory, number)
        awake = table.AWAKE * 1250
        held = tracemalloc.get_traced_memory()[0] - before
        assert (held - awake) / (count - table.AWAKE) <= 400
        for inode in list(inodes._dormant) + [node.inode for node in directory.children.awake()]:
            inodes.forget(Inode(inode), 1)
        assert len(inodes) == 2
        # Emptied dicts keep their tables until they grow again.
        left = tracemalloc.get_traced_memory()[0] - before
        assert left / count <= 150
    finally:
        tracemalloc.stop()


def _fill(inodes: Inodes, directory: Node, number: int) -> None:
    name = f"f{number:08}.dat"
    key, size, at_ns = f"directory/{name}", 4096 + number, (1_700_000_000 + number) * 10**9
    info = ObjectInfo(key, size, Version(f"{number:032x}"), at_ns, {}, "binary/octet-stream")
    attributes = file_attributes(at_ns)
    inodes.add(directory, name, attributes, is_directory=False, info=info).lookups = 1
