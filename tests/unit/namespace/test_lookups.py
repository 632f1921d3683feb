"""What a look-up costs where nothing is known, and what its one listing tells beside it."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from bucketfs.namespace import keys, sweeps
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.lookups import NARROW, WIDE
from bucketfs.storage.interface import ListPage
from bucketfs.storage.memory import DEFAULT_CAPABILITIES
from tests.unit.namespace.test_finder import LOCAL, TTL_S, Bench, CountingStore, bench, names

__all__ = ["bench"]


async def test_what_is_not_there_costs_one_request(bench: Bench) -> None:
    for near in ("n-1", "n.txt", "na", "m"):
        await bench.store.put(near)
    finder = bench.finder()
    assert await finder.find("", "n") is None
    assert await finder.find("", "n") is None
    assert bench.store.take_count() == {"LIST n": 1}


async def test_a_directory_costs_one_request_and_is_listed_by_it(bench: Bench) -> None:
    await bench.store.put("d/f", b"abc")
    await bench.store.put("d/e/g", b"abc")
    finder = bench.finder()
    found = await finder.find("", "d")
    assert found is not None
    assert found.is_directory
    assert await names(finder, "d/") == ["e", "f"]
    assert await names(finder, "d/e/") == ["g"]
    assert await finder.find("d/", "absent") is None
    assert bench.store.take_count() == {"LIST d": 1}
    file = await finder.find("d/e/", "g")
    assert file is not None
    assert file.data == b"abc"
    assert bench.store.take_count() == {"GET d/e/g": 1}


async def test_a_path_into_a_small_tree_costs_one_listing(bench: Bench) -> None:
    await bench.store.put("a/b/c/file", b"abc")
    finder = bench.finder()
    for prefix, name in (("", "a"), ("a/", "b"), ("a/b/", "c"), ("a/b/c/", "file")):
        assert await finder.find(prefix, name) is not None
    assert bench.store.take_count() == {"LIST a": 1, "GET a/b/c/file": 1}


async def test_a_marker_tells_the_attributes_of_its_directory(bench: Bench) -> None:
    await bench.store.put("d/", mode=str(stat.S_IFDIR | 0o711))
    await bench.store.put("d/f")
    found = await bench.finder().find("", "d")
    assert found is not None
    assert found.attributes.mode == stat.S_IFDIR | 0o711
    assert bench.store.take_count() == {"LIST d": 1, "HEAD d/": 1}


async def test_a_large_file_is_not_fetched(bench: Bench) -> None:
    await bench.store.put("f", bytes(200_000))
    found = await bench.finder().find("", "f")
    assert found is not None
    assert found.data is None
    assert bench.store.take_count() == {"LIST f": 1, "HEAD f": 1}


async def test_policy_listing_needs_no_more(bench: Bench) -> None:
    await bench.store.put("f", b"abc")
    assert await bench.finder(policy="listing").find("", "f") is not None
    assert bench.store.take_count() == {"LIST f": 1}


@pytest.mark.parametrize("between", [0, NARROW, WIDE])
@pytest.mark.parametrize("has_directory", [True, False])
async def test_names_between_a_file_and_its_directory(
    bench: Bench, between: int, has_directory: bool
) -> None:
    await bench.store.put("n", b"file")
    for number in range(between):
        await bench.store.put(f"n-{number:04}")
    if has_directory:
        await bench.store.put("n/f")
    found = await bench.finder().find("", "n")
    assert found is not None
    assert found.is_directory == has_directory
    asked = bench.store.take_count()
    assert asked.get("LIST n/", 0) == (between >= WIDE)


async def test_one_file_of_a_huge_directory_costs_one_round_trip(bench: Bench) -> None:
    bench.store.page_limit = 2
    for number in range(20):
        await bench.store.put(f"d/{number:02}")
    finder = bench.finder()
    for number in (10, 11, 12):
        await finder.find("d/", f"{number}")
    bench.store.take_count()
    assert await finder.find("d/", "15") is not None
    assert bench.store.take_count() == {"HEAD d/15": 1, "LIST d/15/": 1}


async def test_where_requests_are_cheap_a_name_is_asked_for_alone(bench: Bench) -> None:
    bench.store = CountingStore(LOCAL)
    await bench.store.put("d/f")
    await bench.finder().find("", "d")
    assert bench.store.take_count() == {"HEAD d": 1, "LIST d/": 1}


async def test_a_file_that_goes_between_listing_and_proof_is_not_there(bench: Bench) -> None:
    await bench.store.put("f", bytes(200_000))

    class Vanishing(CountingStore):
        async def list_page(
            self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
        ) -> ListPage:
            page = await super().list_page(prefix, delimiter, marker, limit)
            await self.delete("f")
            return page

    bench.store.__class__ = Vanishing
    assert await bench.finder().find("", "f") is None


async def test_what_a_lookup_brought_along_is_not_believed_beyond_the_ttl(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.store.put("d/f")
    finder = bench.finder()
    await finder.find("", "d")
    await bench.store.put("d/g")
    assert await names(finder, "d/") == ["f"]
    await trio.sleep(TTL_S)
    assert await names(finder, "d/") == ["f", "g"]


async def test_a_large_directory_goes_on_where_the_lookup_ended(bench: Bench) -> None:
    bench.store.page_limit = 10
    for number in range(100):
        await bench.store.put(f"d/{number:02}")
    finder = bench.finder()
    await finder.find("", "d")
    assert await names(finder, "d/") == [f"{number:02}" for number in range(100)]
    assert bench.store.take_count() == {"LIST d": 1, "LIST d/": 9}


async def test_lookups_that_bring_too_much_in_vain_ask_for_less(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "_MANY", 10)
    limits = []

    class Limits(CountingStore):
        async def list_page(
            self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
        ) -> ListPage:
            limits.append(limit)
            return await super().list_page(prefix, delimiter, marker, limit)

    bench.store.__class__ = Limits
    for number in range(20):
        for name in range(30):
            await bench.store.put(f"p{number:02}/d/{name}")
    finder = bench.finder()
    for number in range(10):
        assert await finder.find(f"p{number:02}/", "d") is not None
    assert limits == [WIDE] * 4 + [NARROW] * 6
    assert len(await names(finder, "p09/d/")) == 30
    limits.clear()
    assert await finder.find("p11/", "d") is not None
    assert limits == [WIDE]


KEYS = st.from_regex(r"[ab.-]{1,2}(/[ab.-]{1,2}){0,2}/?", fullmatch=True)


@settings(max_examples=150, deadline=None)
@given(st.sets(KEYS, max_size=15), st.integers(1, 4))
def test_both_ways_say_the_same_of_every_name(all_keys: set[str], page_limit: int) -> None:
    trio.run(_compare, all_keys, page_limit)


async def _compare(all_keys: set[str], page_limit: int) -> None:
    answers = []
    async with trio.open_nursery() as nursery:
        for has in (LOCAL, DEFAULT_CAPABILITIES, replace(DEFAULT_CAPABILITIES, key_markers=False)):
            bench = Bench(nursery)
            bench.store = CountingStore(has)
            bench.store.page_limit = page_limit
            for key in sorted(all_keys):
                await bench.store.put(key)
            answers.append(await _everything(bench.finder()))
        nursery.cancel_scope.cancel()
    assert answers[1] == answers[2] == answers[0]


async def _everything(finder: Finder) -> dict[tuple[str, str], tuple[bool, str | None] | None]:
    """Return what is found under every name of a few directories."""
    answers = {}
    for prefix in ("", "a/", "b/", "a/b/"):
        for name in ("a", "b", "ab", "a-", "a.b", "-", ".", "b.", "␛fa", "␛e."):
            if name == ".":
                continue
            found = await finder.find(prefix, name)
            key = found.info.key if found is not None and found.info is not None else None
            answers[prefix, name] = None if found is None else (found.is_directory, key)
    assert keys.split_key("a/b/") == ("a/", "b")
    return answers
