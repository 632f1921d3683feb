"""What every ObjectStore lists, and in which order."""

from __future__ import annotations

import pytest

from bucketfs.storage.interface import KeyMarker, ObjectStore
from tests.contract.asking import put, put_many, walk

NAMES = ["B", "a", "a!", "a-b/c", "a.txt", "a0", "b/c", "b/d", "b/d.txt", "b0", "é", "日本"]


async def test_nothing_there(store: ObjectStore, root: str) -> None:
    assert await walk(store, root) == ([], [])
    assert await walk(store, root, "/") == ([], [])
    assert await walk(store, f"{root}deep/below/") == ([], [])


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
async def test_keys_come_in_the_order_of_their_bytes(
    store: ObjectStore, root: str, limit: int
) -> None:
    await put_many(store, [root + name for name in reversed(NAMES)])
    expected = sorted(NAMES, key=str.encode)
    assert await walk(store, root, limit=limit) == (expected, [])


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_a_delimiter_joins_what_is_below(store: ObjectStore, root: str, limit: int) -> None:
    await put_many(store, [root + name for name in NAMES])
    keys, prefixes = await walk(store, root, "/", limit)
    assert keys == [name for name in NAMES if "/" not in name]
    assert prefixes == ["a-b/", "b/"]


@pytest.mark.parametrize("limit", [1, 1000])
async def test_the_marker_of_what_is_listed_comes_first(
    store: ObjectStore, root: str, limit: int
) -> None:
    await put_many(store, [root + name for name in ("d/", "d/b/", "d/e/f")], b"")
    assert await walk(store, f"{root}d/", "/", limit) == ([""], ["b/", "e/"])
    assert await walk(store, f"{root}d/", "", limit) == (["", "b/", "e/f"], [])
    assert await walk(store, root, "/", limit) == ([], ["d/"])


async def test_a_prefix_need_not_end_with_a_slash(store: ObjectStore, root: str) -> None:
    await put_many(store, [root + name for name in ("d/ab", "d/abc/x", "d/b", "dab")])
    assert await walk(store, f"{root}d/ab") == (["", "c/x"], [])
    assert await walk(store, f"{root}d/ab", "/") == ([""], ["c/"])
    assert await walk(store, f"{root}d", "/") == (["ab"], ["/"])


@pytest.mark.parametrize("after", ["", "a", "a!", "a#", "a-b/", "a-b/c", "a.~", "b/c", "b/zz", "é"])
async def test_a_listing_begins_after_any_key(store: ObjectStore, root: str, after: str) -> None:
    if not store.capabilities.key_markers:
        pytest.skip("markers are the store's own words")
    await put_many(store, [root + name for name in NAMES])
    expected = [name for name in sorted(NAMES, key=str.encode) if name.encode() > after.encode()]
    page = await store.list_page(root, "", KeyMarker(root + after))
    assert [info.key.removeprefix(root) for info in page.objects] == expected
    page = await store.list_page(root, "/", KeyMarker(root + after))
    assert [info.key.removeprefix(root) for info in page.objects] == [
        name for name in expected if "/" not in name
    ]
    shown = {prefix.removeprefix(root) for prefix in page.prefixes}
    # One that the marker begins with may be left out.
    assert shown | {"a-b/", "b/"} == {"a-b/", "b/"}
    assert {name[: name.find("/") + 1] for name in expected if "/" in name} - shown <= {
        after[: after.find("/") + 1]
    }


async def test_a_listing_says_sizes_and_versions(store: ObjectStore, root: str) -> None:
    written = await put(store, f"{root}a", b"12345")
    (found,) = (await store.list_page(root)).objects
    stat = await store.stat(f"{root}a")
    assert (found.size, found.version) == (5, written.version)
    assert abs(found.modified_ns - stat.modified_ns) <= 1e9


async def test_a_file_beside_a_directory_whose_name_begins_alike(
    store: ObjectStore, root: str
) -> None:
    await put_many(store, [root + name for name in ("a/b", "a.b", "a0", "a-/b")])
    for limit in (1, 2, 1000):
        assert (await walk(store, root, "", limit))[0] == ["a-/b", "a.b", "a/b", "a0"]


async def test_a_thousand_and_one(store: ObjectStore, root: str) -> None:
    names = [f"{number:04}" for number in range(1001)]
    await put_many(store, [root + name for name in names], b"")
    first = await store.list_page(root, "/")
    assert len(first.objects) == 1000
    assert await walk(store, root, "/") == (names, [])
    assert await store.delete_many([root + name for name in names]) == {}
    assert await walk(store, root) == ([], [])


async def test_what_was_changed_is_listed_at_once(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"1")
    assert (await walk(store, root))[0] == ["a"]
    await put(store, f"{root}b", b"1")
    await store.delete(f"{root}a")
    assert (await walk(store, root))[0] == ["b"]


async def test_a_batch_takes_markers_along_whatever_was_deleted_before(
    store: ObjectStore, root: str
) -> None:
    # What is not there teaches nobody how this server treats what is.
    assert await store.delete_many([f"{root}none/f", f"{root}none/"]) == {}
    for folder in ("one/", "two/"):
        keys = [root + folder, f"{root}{folder}f"]
        await put_many(store, keys, b"")
        assert await store.delete_many(reversed(keys)) == {}
    page = await store.list_page(root, "/")
    assert (list(page.prefixes), list(page.objects)) == ([], [])
