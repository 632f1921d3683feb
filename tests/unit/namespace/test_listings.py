"""Pages read as entries, the memory of listings, and the masks of local changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.namespace import keys
from bucketfs.namespace.listings import Entry, Listings
from bucketfs.namespace.listpage import Line, PageReader
from bucketfs.namespace.masking import LocalChanges
from bucketfs.namespace.pagesource import named_once
from bucketfs.storage.interface import ListPage, ObjectInfo, Version
from bucketfs.storage.key_order import key_bytes


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, 1, Version("v"), 0)


def pages(all_keys: set[str], prefix: str, limit: int) -> Iterator[ListPage]:
    """List as a cloud does."""
    lines: set[str] = set()
    for key in all_keys:
        if key.startswith(prefix):
            end = key.find("/", len(prefix))
            lines.add(key if end < 0 else key[: end + 1])
    if prefix in all_keys:
        lines.add(prefix)
    ordered = sorted(lines, key=key_bytes)
    starts = list(range(0, max(len(ordered), 1), limit))
    for start in starts:
        page = ordered[start : start + limit]
        yield ListPage(
            [info(key) for key in page if key == prefix or not key.endswith("/")],
            [key for key in page if key != prefix and key.endswith("/")],
            None if start == starts[-1] else str(start + limit),
        )


def stammered(listed: Iterator[ListPage], how: str) -> Iterator[ListPage]:
    """Repeat every line, or every page, as a server or a proxy that is confused does."""
    for page in listed:
        if how == "lines":
            objects = [each for each in page.objects for _ in range(2)]
            yield ListPage(
                objects, [each for each in page.prefixes for _ in range(2)], page.next_marker
            )
        else:
            yield replace(page, next_marker="again")
            yield page


def read(reader: PageReader, listed: Iterator[ListPage]) -> list[Line]:
    return [line for page in listed for line in reader.read(page)]


KEYS = st.text("ab./-\udcff\ue000", min_size=1, max_size=5).filter(lambda key: key[0] != "/")


@given(
    st.sets(KEYS, max_size=12),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([None, "lines", "pages"]),
)
def test_every_line_comes_once_under_a_name_of_its_own(
    all_keys: set[str], limit: int, is_ordered: bool, how: str | None
) -> None:
    lines = read(PageReader("", is_ordered=is_ordered), pages(all_keys, "", limit))
    if how is not None:
        confused = map(named_once, stammered(pages(all_keys, "", limit), how))
        found = read(PageReader("", is_ordered=is_ordered), confused)
        assert sorted(found, key=str) == sorted(lines, key=str)
        # A name that waits for its directory comes later where the listing ends later.
        assert found == lines or how == "pages" or not is_ordered
    names = [line.name for line in lines]
    assert len(names) == len(set(names))
    directories = {key.split("/")[0] for key in all_keys if "/" in key}
    files = {key for key in all_keys if "/" not in key}
    expected = {keys.shown_segment(name) for name in directories}
    expected |= {keys.shown_file(name, is_shadowed=name in directories) for name in files}
    assert set(names) == expected
    for line in lines:
        if line.info is not None:
            assert keys.file_key("", line.name) == line.info.key


def test_a_file_waits_for_the_page_that_shows_its_directory() -> None:
    reader = PageReader("p/")
    listed = list(pages({"p/", "p/a", "p/a.txt", "p/a/b", "p/c"}, "p/", 3))
    assert [line.name for line in reader.read(listed[0])] == []
    assert reader.marker == info("p/")
    assert [line.name for line in reader.read(listed[1])] == ["␛fa", "a.txt", "a", "c"]


def test_a_copy_reads_on_by_itself() -> None:
    reader = PageReader("")
    listed = list(pages({"a", "a/b", "a.txt"}, "", 2))
    reader.read(listed[0])
    assert [line.name for line in reader.copy().read(listed[1])] == ["␛fa", "a.txt", "a"]
    assert [line.name for line in reader.read(listed[1])] == ["␛fa", "a.txt", "a"]


def entry(name: str, until_s: float = 10.0) -> Entry:
    return Entry(name, False, info(name), None, until_s)


def test_the_longest_unused_directory_is_dropped_first() -> None:
    listings = Listings(100)
    for prefix in ("a/", "b/", "c/"):
        directory = listings.get_or_make(prefix)
        directory.replace_all({str(n): entry(str(n)) for n in range(40)}, 10.0)
        assert listings.get("a/") is not None
        listings.added(40)
    assert listings.get("b/") is None
    assert listings.get("a/") is not None
    assert listings.get("c/") is not None


def test_what_a_directory_recalls() -> None:
    directory = Listings(100).get_or_make("")
    assert directory.recall("a", 0.0) == (False, None)
    directory.put(entry("a", 5.0))
    directory.absent["b"] = 5.0
    assert directory.recall("a", 4.0) == (True, entry("a", 5.0))
    assert directory.recall("a", 5.0) == (False, entry("a", 5.0))
    assert directory.recall("b", 4.0) == (True, None)
    assert directory.recall("b", 5.0) == (False, None)
    directory.replace_all({}, 9.0)
    assert directory.recall("a", 8.0) == (True, None)
    assert directory.recall("a", 9.0) == (False, None)


def test_a_rename_forgets_the_tree() -> None:
    listings = Listings(100)
    for prefix in ("a/", "a/b/", "ab/"):
        listings.get_or_make(prefix)
    listings.forget_tree("a/")
    assert [listings.get(prefix) is None for prefix in ("a/", "a/b/", "ab/")] == [True, True, False]


def test_a_change_outweighs_only_answers_that_were_asked_for_before() -> None:
    changes: LocalChanges[str] = LocalChanges()
    with changes.request() as before:
        changes.changed("p/", "n", "mine")
        with changes.request() as after:
            change = changes.since(before, "p/", "n")
            assert change is not None
            assert change.entry == "mine"
            assert changes.since(after, "p/", "n") is None
            assert changes.all_since(before, "p/") == {"n": "mine"}
            assert changes.all_since(before, "q/") == {}
        assert changes.since(before, "p/", "n") is not None
    with changes.request() as later:
        assert changes.all_since(later, "p/") == {}
        assert not changes._changes


@given(st.lists(st.integers(0, 9), max_size=80))
def test_changes_are_kept_as_long_as_an_older_request_is_under_way(steps: list[int]) -> None:
    changes: LocalChanges[int] = LocalChanges()
    under_way: dict[int, dict[str, int]] = {}
    moments = []
    for step, choice in enumerate(steps):
        if choice < 4:
            moment = changes.begin()
            moments.append(moment)
            under_way[moment] = {}
        elif choice < 8:
            changes.changed("", str(choice), step)
            for seen in under_way.values():
                seen[str(choice)] = step
        elif moments:
            moment = moments.pop(bisect_right(moments, steps[0]) - 1)
            changes.end(moment)
            del under_way[moment]
        for moment in moments:
            assert changes.all_since(moment, "") == under_way[moment]
    if not moments:
        assert not changes._changes


def test_a_shared_request_is_under_way_until_its_last_sharer_ends_it() -> None:
    changes: LocalChanges[str] = LocalChanges()
    moment = changes.begin()
    changes.share(moment, 2)
    changes.changed("p/", "n", "mine")
    for _ in range(3):
        assert changes.since(moment, "p/", "n") is not None
        changes.end(moment)
    assert changes.since(moment, "p/", "n") is None
    assert not changes._changes


def test_hidden_names_come_back_by_a_change() -> None:
    changes: LocalChanges[str] = LocalChanges()
    changes.hide("p/", "n")
    assert changes.is_hidden("p/", "n")
    assert changes.hidden_in("p/") == 1
    changes.changed("p/", "n", "new")
    assert not changes.is_hidden("p/", "n")
    changes.hide("p/q/", "n")
    changes.tree_changed("p/")
    assert not changes.is_hidden("p/q/", "n")
