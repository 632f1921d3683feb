"""Names at scale, small: requests grow as keys/1000, memory does not grow with the names shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.scaling.keyspace import KeySpace, widths
from scripts.scaling.measuring import Server, measure, mounted, served
from scripts.scaling.works import WORKS, find_tree, list_long, list_names

pytestmark = pytest.mark.mounted

KEYS = 10_000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A bucket of 10,000 files in one directory and as many in a tree of depth 6."""
    with served(KEYS) as server:
        yield server


def directories(count: int) -> int:
    """Return how many directories the tree of `count` files has, its top included."""
    total = at_level = 1
    for width in widths(count)[:-1]:
        at_level *= width
        total += at_level
    return total


@pytest.mark.parametrize("count", [1000, KEYS])
def test_requests_grow_with_the_keys_and_not_with_the_directories(
    count: int, server: Server
) -> None:
    keys, pages = KeySpace(count), count // 1000
    with served(count) as counted, mounted(counted) as mount:
        flat = measure(counted, mount, keys, list_names)
        tree = measure(counted, mount, keys, find_tree)
    assert flat.done.entries == count
    assert flat.asked <= pages + 1
    assert tree.done.entries == count + directories(count)
    # The pages; two that may be in vain; directories larger than a sweep runs ahead; first looks.
    assert tree.asked <= pages + 2 + 10 + 2


def test_a_million_names_would_not_fill_the_memory(server: Server) -> None:
    with mounted(server) as mount:
        before_mib = mount.memory_mib()
        cost = measure(server, mount, KeySpace(KEYS), list_names)
    assert cost.done.entries == KEYS
    grown_bytes = (cost.peak_mib - before_mib) * 2**20
    # Listings of up to 50,000 names are kept, some 600 bytes for each; the rest is a few pages.
    assert grown_bytes <= KEYS * 600 + (12 << 20)


def test_everything_else_is_right(server: Server) -> None:
    keys = KeySpace(KEYS)
    with mounted(server, "attributes=listing") as mount:
        for name in ("find flat", "du -s tree"):
            assert measure(server, mount, keys, WORKS[name]).done.entries in (KEYS, KEYS + 1)
    with mounted(server) as mount:
        stats = measure(server, mount, keys, WORKS["stat 1000"])
    # Each file is looked at; names cost a listing until their directory is listed, or known huge.
    assert stats.requests["HEAD"] + stats.requests["GET"] <= 1000 + 500
    assert stats.asked <= 3 * 1000


def test_ls_l_costs_a_look_for_each_file(server: Server) -> None:
    with served(1000) as small, mounted(small) as mount:
        cost = measure(small, mount, KeySpace(1000), list_long)
    assert cost.done.entries == 1000
    assert cost.requests["LIST"] <= 2
    assert cost.asked <= 1000 + 4
