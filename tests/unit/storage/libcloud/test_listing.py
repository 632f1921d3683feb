"""Listings that go on where they were, and begin anew where that would show the past."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketfs.errors import ConfusedServer, InvalidRequest
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.libcloud import listing
from tests.contract.asking import walk
from tests.unit.storage.libcloud.boxes import folder_store

LAZY = {"is_local": False}
"""Listings of the local driver are sorted at once; of others they are taken as they come."""


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "box" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


async def test_pages_go_on_in_one_walk(tmp_path: Path) -> None:
    asked: list[str] = []
    store = folder_store(tmp_path, asked, **LAZY)
    fill(tmp_path, "a", "b", "c", "d")
    assert await walk(store, "", limit=1) == (["a", "b", "c", "d"], [])
    assert asked == ["list", "a", "b", "c", "d"]


async def test_a_walk_begins_anew_after_a_change_of_ours(tmp_path: Path) -> None:
    asked: list[str] = []
    store = folder_store(tmp_path, asked, **LAZY)
    fill(tmp_path, "d/a", "d/c", "d/d")
    page = await store.list_page("d/", limit=1)
    await store.write("d/b", BytesBody(b"x"), ObjectAttributes())
    await store.delete("d/c")
    page = await store.list_page("d/", marker=page.next_marker)
    assert [info.key for info in page.objects] == ["d/b", "d/d"]


async def test_a_change_elsewhere_does_not_matter(tmp_path: Path) -> None:
    asked: list[str] = []
    store = folder_store(tmp_path, asked, **LAZY)
    fill(tmp_path, "d/a", "d/b")
    page = await store.list_page("d/", limit=1)
    await store.write("e", BytesBody(b"x"), ObjectAttributes())
    await store.list_page("d/", marker=page.next_marker)
    assert asked.count("list") == 1


async def test_more_listings_than_are_kept_open(tmp_path: Path) -> None:
    asked: list[str] = []
    store = folder_store(tmp_path, asked, **LAZY)
    fill(tmp_path, "a", "b/1", "b/2", "c")
    pages = [await store.list_page("", "/", limit=2) for _ in range(20)]
    for page in pages:
        assert (page.objects[0].key, page.prefixes) == ("a", ["b/"])
        rest = await store.list_page("", "/", page.next_marker)
        assert ([info.key for info in rest.objects], rest.prefixes) == (["c"], [])


async def test_one_place_may_be_gone_on_with_twice(tmp_path: Path) -> None:
    store = folder_store(tmp_path, [], **LAZY)
    fill(tmp_path, "a", "b", "c")
    marker = (await store.list_page("", limit=1)).next_marker
    for _ in range(2):
        page = await store.list_page("", marker=marker)
        assert [info.key for info in page.objects] == ["b", "c"]


async def test_a_page_walks_over_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST_SCANNED", 3)
    store = folder_store(tmp_path, [], **LAZY)
    fill(tmp_path, *(f"d/{number}" for number in range(8)), "e")
    first = await store.list_page("", "/")
    second = await store.list_page("", "/", first.next_marker)
    assert (first.prefixes, second.prefixes, second.objects) == (["d/"], [], [])
    assert await walk(store, "", "/") == (["e"], ["d/"])


async def test_what_is_skipped_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST_SCANNED", 2)
    store = folder_store(tmp_path, [], **LAZY)
    fill(tmp_path, *"abcdefgh")
    marker, keys = None, []
    while True:
        page = await store.list_page("", marker=marker)
        keys += [info.key for info in page.objects]
        marker = page.next_marker
        if marker is None:
            break
        await store.write("z", BytesBody(b"x"), ObjectAttributes())
    assert keys == [*"abcdefgh", "z"]


async def test_folders_and_their_marks_are_in_the_order_of_keys(tmp_path: Path) -> None:
    store = folder_store(tmp_path, [])
    fill(tmp_path, "d/.bucketfs-directory", "d/ a", "d/z", "d!")
    assert await walk(store, "") == (["d!", "d/", "d/ a", "d/z"], [])
    assert await walk(store, "d/") == (["", " a", "z"], [])


async def test_a_foreign_marker(tmp_path: Path) -> None:
    store = folder_store(tmp_path, [])
    with pytest.raises(InvalidRequest):
        await store.list_page("", marker="a")


async def test_a_listing_out_of_order_is_not_believed(tmp_path: Path) -> None:
    store = folder_store(tmp_path, [], **LAZY)
    # The driver sorts by code points, where a byte that is no UTF-8 comes before U+E000.
    fill(tmp_path, "\udcff", "\ue000")
    with pytest.raises(ConfusedServer, match="order"):
        await store.list_page("")
