"""Flat pages unfold into what listings of each directory show, whatever the keys and the pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bucketfs.errors import ConfusedServer
from bucketfs.namespace.flatpages import Piece, Unfolding
from bucketfs.namespace.listpage import Line, PageReader
from bucketfs.storage.interface import ListPage, ObjectInfo, Version
from bucketfs.storage.key_order import key_bytes

LIMITS = st.integers(1, 4)
KEYS = st.text("ab/.-0\udcc3\udcffé\ue000", min_size=1, max_size=7)
KEY_SETS = st.sets(KEYS, max_size=25)


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, 1, Version("v"), 0)


def flat_pages(keys: set[str], root: str, limit: int, after: str = "") -> Iterator[ListPage]:
    """List without delimiter, as a cloud does."""
    below = [key for key in keys if key.startswith(root) and key_bytes(key) > key_bytes(after)]
    below.sort(key=key_bytes)
    for start in range(0, max(len(below), 1), limit):
        is_last = start + limit >= len(below)
        page = [info(key) for key in below[start : start + limit]]
        yield ListPage(page, [], None if is_last else "more")


def unfolded(unfolding: Unfolding, pages: Iterator[ListPage]) -> dict[str, list[Piece]]:
    """Return the pieces of each directory."""
    found = defaultdict(list)
    for page in pages:
        for piece in unfolding.read(page):
            found[piece.prefix].append(piece)
    return found


Shown = tuple[dict[str, Line], ObjectInfo | None]
"""The lines of a directory by name, and its marker. Lines that wait come a page late."""


def lines_of(pieces: list[Piece]) -> Shown:
    """Return what the pieces of a directory show, read as pages of its own listing."""
    reader = PageReader(pieces[0].prefix)
    lines = []
    for piece in pieces:
        page = ListPage(piece.objects, piece.prefixes, None if piece.is_last else "more")
        lines += reader.read(page, dict(zip(piece.prefixes, piece.markers, strict=True)))
    by_name = {line.name: line for line in lines}
    assert len(by_name) == len(lines)
    return by_name, reader.marker


def delimited(keys: set[str], prefix: str) -> Shown:
    """Return what one whole page with delimiter shows of a directory, and its marker."""
    objects, prefixes = [], {}
    for key in sorted(keys, key=key_bytes):
        if key.startswith(prefix):
            end = key.find("/", len(prefix))
            if end < 0:
                objects.append(info(key))
            else:
                child = key[: end + 1]
                prefixes[child] = info(child) if child in keys else None
    reader = PageReader(prefix)
    lines = reader.read(ListPage(objects, list(prefixes), None), prefixes)
    return {line.name: line for line in lines}, reader.marker


def directories(keys: set[str], root: str) -> set[str]:
    """Return the prefix of every directory at or below `root`."""
    found = {root}
    for key in keys:
        if key.startswith(root):
            found |= {key[: end + 1] for end, char in enumerate(key) if char == "/"}
    return {prefix for prefix in found if prefix.startswith(root)}


@given(KEY_SETS, st.sampled_from(["", "a/", "a/b/", "/"]), LIMITS)
@example({"a", "a-b", "a/b", "a/b-", "a/b/", "a/b/c"}, "", 1)
def test_every_directory_is_what_its_own_listing_shows(
    keys: set[str], root: str, limit: int
) -> None:
    found = unfolded(Unfolding(root), flat_pages(keys, root, limit))
    assert found.keys() == directories(keys, root)
    for prefix, pieces in found.items():
        assert lines_of(pieces) == delimited(keys, prefix)


@given(KEY_SETS, LIMITS, st.randoms(use_true_random=False), st.booleans())
def test_from_any_directory_on(keys: set[str], limit: int, chance: object, is_exact: bool) -> None:
    everything = sorted(directories(keys, ""), key=key_bytes)
    start = chance.choice(everything)  # type: ignore[attr-defined]
    # A store may begin anywhere before the place that is wanted.
    after = "" if not is_exact or not start else start[:-1] + "."
    found = unfolded(Unfolding("", start), flat_pages(keys, "", limit, after))
    wanted = {prefix for prefix in everything if key_bytes(prefix) >= key_bytes(start)}
    assert found.keys() == wanted
    for prefix, pieces in found.items():
        assert lines_of(pieces) == delimited(keys, prefix)


@given(KEY_SETS, LIMITS)
def test_pieces_come_in_order_and_end_once(keys: set[str], limit: int) -> None:
    for pieces in unfolded(Unfolding(""), flat_pages(keys, "", limit)).values():
        assert [piece.is_first for piece in pieces] == [True] + [False] * (len(pieces) - 1)
        assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        shown = [key for piece in pieces for key in (*piece.prefixes,)]
        assert all(key_bytes(one) < key_bytes(other) for one, other in pairwise(shown))


@given(KEY_SETS, KEYS, LIMITS)
def test_it_knows_what_it_has_passed(keys: set[str], place: str, limit: int) -> None:
    prefix = place.rstrip("/") + "/"
    unfolding = Unfolding("")
    for page in flat_pages(keys, "", limit):
        unfolding.read(page)
        last = page.objects[-1].key if page.objects else ""
        expected = page.next_marker is None or key_bytes(last) >= key_bytes(prefix)
        assert unfolding.is_past(prefix) == expected


@pytest.mark.parametrize(
    "shown", [["b", "a"], ["a", "a"], ["a/x", "b", "a/y"], ["\ue000", "\udcff"][::-1] * 2]
)
def test_keys_out_of_order_prove_nothing(shown: list[str]) -> None:
    with pytest.raises(ConfusedServer):
        Unfolding("").read(ListPage([info(key) for key in shown], [], None))


def test_nor_do_pages_that_go_back_or_elsewhere() -> None:
    unfolding = Unfolding("d/")
    unfolding.read(ListPage([info("d/b")], [], "more"))
    with pytest.raises(ConfusedServer):
        unfolding.read(ListPage([info("d/a")], [], None))
    with pytest.raises(ConfusedServer):
        Unfolding("d/").read(ListPage([info("e")], [], None))
