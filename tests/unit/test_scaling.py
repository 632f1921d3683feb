"""The computed buckets of `scripts/scale` list like real ones, and its figures come out right."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.storage.s3.listing import parse_listing
from scripts.scaling import report
from scripts.scaling.keyspace import DEPTH, KeySpace, widths
from scripts.scaling.measuring import Cost
from scripts.scaling.server import Bucket, content, size
from scripts.scaling.works import Done

KEYS = KeySpace(1000)
EVERYTHING = list(KEYS)


def expected(prefix: str, delimiter: str, after: str) -> tuple[list[str], list[str]]:
    """List as a cloud does, by looking at every key."""
    objects: list[str] = []
    prefixes: dict[str, None] = {}
    for key in EVERYTHING:
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        group = key[: end + 1] if end >= 0 else key
        is_passed = after and (key <= after or group == after)
        if key.startswith(prefix) and not is_passed:
            if group == key:
                objects.append(key)
            else:
                prefixes[group] = None
    return objects, list(prefixes)


def test_keys_ascend_and_are_as_many_as_promised() -> None:
    assert len(EVERYTHING) == len(KEYS) == 2000
    assert sorted(set(EVERYTHING)) == EVERYTHING
    assert sum(key.startswith("flat/") for key in EVERYTHING) == 1000
    assert {key.count("/") for key in EVERYTHING if key.startswith("tree/")} == {DEPTH}
    assert [KEYS.find(key) for key in EVERYTHING] == list(range(2000))
    assert KEYS.find("flat/") is None


@pytest.mark.parametrize("count", [10**power for power in range(3, 8)])
def test_a_tree_has_the_wanted_files_and_depth(count: int) -> None:
    product = 1
    for width in widths(count):
        product *= width
    assert (product, len(widths(count))) == (count, DEPTH)


@pytest.mark.parametrize("count", [0, 10, 1234])
def test_other_numbers_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="power of ten"):
        widths(count)


@given(
    st.sampled_from(["", "flat/", "tree/", "tree/d1/d0/", "flat/f00", "tree", "none/"]),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "flat/f500.dat", "tree/d0/", "tree/d1/d0/d1/", "tree/d0/d1/d1/d3/"]),
    st.integers(1, 400),
)
def test_pages_are_what_looking_at_every_key_shows(
    prefix: str, delimiter: str, after: str, limit: int
) -> None:
    if after and not after.startswith(prefix):
        after = ""
    objects: list[str] = []
    prefixes: list[str] = []
    marker: str | None = after
    wanted = expected(prefix, delimiter, after)
    while marker is not None:
        page = KEYS.page(prefix, delimiter, marker, limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        assert [KEYS[number] for number, _ in page.objects] == [key for _, key in page.objects]
        objects += [key for _, key in page.objects]
        prefixes += page.prefixes
        marker = page.next_marker
    assert (objects, prefixes) == wanted


def test_the_server_speaks_s3_and_counts() -> None:
    bucket = Bucket(KEYS)
    status, _, body = bucket.answer("GET", "/b?list-type=2&prefix=flat/&max-keys=3", {})
    assert status == 200
    assert isinstance(body, bytes)
    ElementTree.fromstring(body)
    page = parse_listing(body)
    assert [info.key for info in page.objects] == EVERYTHING[:3]
    assert page.objects[1].size == size(1) == len(content(1))
    target = f"/b?list-type=2&prefix=flat/&continuation-token={page.next_marker}"
    following = bucket.answer("GET", target, {})[2]
    assert isinstance(following, bytes)
    assert parse_listing(following).objects[0].key == EVERYTHING[3]
    status, head, _ = bucket.answer("HEAD", "/b/flat/f001.dat", {})
    assert (status, head["ETag"]) == (200, f'"{page.objects[1].version}"')
    status, head, part = bucket.answer("GET", "/b/flat/f001.dat", {"range": "bytes=16-31"})
    assert (status, part) == (206, content(1)[16:32])
    assert head["Content-Range"] == f"bytes 16-31/{size(1)}"
    assert bucket.answer("HEAD", "/b/flat/none", {})[0] == 404
    assert bucket.counts == {"LIST": 2, "HEAD": 2, "GET": 1}


def cost(entries: int, seconds: float) -> Cost:
    done = Done(entries, 0.25)
    return Cost(seconds, 1.0, done, {"LIST": entries // 1000, "HEAD": 1}, 80, 70, 60)


def test_tables() -> None:
    figures = {("find", 10**5): cost(10**5, 2.0)}
    assert report.table(figures).splitlines()[-1] == (
        "| find | 100,000 | 2.0 | 50,000 | 1.0 | 0.25 | 101 | 80 | 70 | 60 |"
    )
    delays = {("find", 0.0): cost(1000, 0.1), ("find", 100.0): cost(1000, 0.5)}
    assert report.latency_table(delays).splitlines()[-1] == "| find | 2 | 0.10 |  | 0.50 | 5 |"
