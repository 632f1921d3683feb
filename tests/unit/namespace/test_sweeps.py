"""Walks are served from flat listings: few requests, and never another answer than the store's."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bucketfs.errors import AccessDenied, StorageError, Transient
from bucketfs.namespace import keys, sweep
from bucketfs.namespace.attributes import Attributes, Defaults
from bucketfs.namespace.finder import Finder
from bucketfs.storage.interface import BytesBody, ListPage, ObjectAttributes, ObjectInfo
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore

TTL_S = 10.0
OLD_NS = 1_600_000_000 * 10**9
MINE = Attributes(stat.S_IFREG | 0o600, 5, 5, 1, 2, 3)


class ListedStore(MemoryStore):
    """Counts flat and delimited listings, and fails where it is told to."""

    def __init__(self, page_limit: int = 10, **capabilities: object) -> None:
        has = replace(DEFAULT_CAPABILITIES, **capabilities)  # type: ignore[arg-type]
        super().__init__(capabilities=has, now_ns=lambda: OLD_NS)
        self.page_limit = page_limit
        self.asked: Counter[str] = Counter()
        self.fail: Callable[[str, str], StorageError | None] = lambda prefix, delimiter: None
        self.gate: trio.Event | None = None

    async def stat(self, key: str) -> ObjectInfo:
        self.asked["HEAD"] += 1
        return await super().stat(key)

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        self.asked["LIST" if delimiter else "FLAT"] += 1
        error = self.fail(prefix, delimiter)
        if error is not None:
            raise error
        page = await super().list_page(prefix, delimiter, marker, min(limit, self.page_limit))
        if self.gate is not None:
            await self.gate.wait()
        return page

    async def put(self, key: str, data: bytes = b"", **metadata: str) -> ObjectInfo:
        return await self.write(key, BytesBody(data), ObjectAttributes(metadata))

    async def put_all(self, many: Iterable[str]) -> None:
        for key in many:
            await self.put(key)

    async def names(self, prefix: str) -> list[str]:
        """Return what a directory has, by one whole listing past all counters."""
        page = await MemoryStore.list_page(self, prefix, "/", None, 10**6)
        shadowed = {below[:-1] for below in page.prefixes}
        names = [keys.shown_segment(below[len(prefix) : -1]) for below in page.prefixes]
        for info in page.objects:
            if info.key != prefix:
                is_shadowed = info.key in shadowed
                names.append(keys.shown_file(info.key[len(prefix) :], is_shadowed=is_shadowed))
        return sorted(names)

    def take_count(self) -> dict[str, int]:
        asked, self.asked = dict(self.asked), Counter()
        return asked


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


def finder_of(store: ListedStore, nursery: trio.Nursery, ttl_s: float = TTL_S) -> Finder:
    return Finder(store, ttl_s=ttl_s, defaults=Defaults(1, 2), concurrency=4, nursery=nursery)


async def opened(finder: Finder, prefix: str) -> dict[str, bool]:
    """Read a directory; return name -> is it a directory."""
    shown = [(entry.name, entry.is_directory) async for entry in finder.entries(prefix)]
    assert len(dict(shown)) == len(shown), prefix
    return dict(shown)


async def walk(
    finder: Finder,
    prefix: str = "",
    *,
    skip: Callable[[str], bool] = lambda prefix: False,
    looks_up: bool = False,
) -> dict[str, list[str]]:
    """Read a tree as find(1) does: a directory, then those in it in their order."""
    shown = await opened(finder, prefix)
    found = {prefix: sorted(shown)}
    for name, is_directory in shown.items():
        below = keys.directory_prefix(prefix, name) if is_directory else ""
        if below and not skip(below):
            if looks_up:
                assert await finder.find(prefix, name) is not None
            found |= await walk(finder, below, skip=skip, looks_up=looks_up)
    return found


async def expected(store: ListedStore, prefixes: Iterable[str]) -> dict[str, list[str]]:
    return {prefix: await store.names(prefix) for prefix in prefixes}


def tree(widths: tuple[int, ...], files: int) -> list[str]:
    """Return the keys of a tree: so many directories at each level, so many files in the last."""
    paths = [""]
    for width in widths:
        paths = [f"{path}d{number}/" for path in paths for number in range(width)]
    return [f"{path}f{number}" for path in paths for number in range(files)]


# -- requests


@pytest.mark.parametrize("looks_up", [False, True])
async def test_a_walk_costs_its_keys_and_not_its_directories(
    nursery: trio.Nursery, looks_up: bool
) -> None:
    store = ListedStore(page_limit=100)
    await store.put_all(tree((4, 5, 10), 5))  # 1000 files in 225 directories
    found = await walk(finder_of(store, nursery), looks_up=looks_up)
    assert found == await expected(store, found)
    assert len(found) == 1 + 4 + 20 + 200
    asked = store.take_count()
    assert asked["FLAT"] <= 12
    # The top, and one for each directory whose tree is larger than the sweep runs ahead.
    assert asked["LIST"] <= 2 + 4
    # Those that were looked up before the walk was known to be one.
    assert asked.get("HEAD", 0) <= 4


async def test_files_between_directories_are_told_in_their_places(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=7)
    await store.put_all(tree((3, 4), 6) + [f"d{n}/e" for n in range(3)] + ["d0-x", "d0", "d1/d2"])
    found = await walk(finder_of(store, nursery))
    assert found == await expected(store, found)
    assert found[""][:2] == ["d0", "d0-x"]
    assert store.asked["FLAT"] > 0


@pytest.mark.parametrize("has_key_markers", [True, False])
async def test_a_skipped_tree_costs_little(nursery: trio.Nursery, has_key_markers: bool) -> None:
    store = ListedStore(page_limit=10, key_markers=has_key_markers)
    small = [f"p{n:02}/{d}/f" for n in range(30) for d in "abc"]
    huge = [f"p{n:02}/.git/{m:04}/x" for n in range(30) for m in range(200)]
    await store.put_all(small + huge)
    found = await walk(finder_of(store, nursery), skip=lambda prefix: prefix.endswith(".git/"))
    assert found == await expected(store, found)
    asked = store.take_count()
    # Without sweeps it were one for each directory.
    assert len(found) == 121
    assert sum(asked.values()) <= 121 * 5 / 4


async def test_reading_one_level_only_costs_two_pages_at_most(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=10)
    await store.put_all(f"p{n:02}/{m:03}/x" for n in range(5) for m in range(100))
    finder = finder_of(store, nursery)
    for prefix in ("", *(f"p{n:02}/" for n in range(5))):
        assert len(await opened(finder, prefix)) == (5 if not prefix else 100)
    asked = store.take_count()
    assert asked["FLAT"] == 2
    assert asked["LIST"] <= 1 + 5 * 10


async def test_a_walk_that_stops_costs_no_more(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=20)
    await store.put_all(tree((40,), 100))
    finder = finder_of(store, nursery)
    for prefix in ("", "d0/", "d1/", "d10/"):
        await opened(finder, prefix)
    await wait_all_tasks_blocked()
    spent = store.take_count()
    await wait_all_tasks_blocked()
    assert store.take_count() == {}
    assert spent["FLAT"] <= 2 + 3 * 5 + 2


async def test_the_walker_is_never_far_behind(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MAX_UNREAD", 50)
    monkeypatch.setattr(sweep, "AHEAD", 30)
    store = ListedStore(page_limit=10)
    await store.put_all(tree((5, 6, 7), 3))
    finder = finder_of(store, nursery)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            held = sum(sweep.unread for sweep in finder._sweeps._sweeps)
            most = max(most, held)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as watching:
        watching.start_soon(watch)
        found = await walk(finder)
        watching.cancel_scope.cancel()
    assert found == await expected(store, found)
    assert 0 < most <= 50 + 2 * 10 * 2


@pytest.mark.parametrize(
    "store",
    [ListedStore(is_remote=False), ListedStore(listing_is_ordered=False)],
    ids=["local", "unordered"],
)
async def test_no_sweep_where_it_would_not_pay(nursery: trio.Nursery, store: ListedStore) -> None:
    await store.put_all(tree((3, 3), 2))
    found = await walk(finder_of(store, nursery))
    assert found == await expected(store, found)
    assert store.take_count() == {"LIST": 13}


async def test_with_a_ttl_of_0_nothing_is_known_ahead(nursery: trio.Nursery) -> None:
    store = ListedStore()
    await store.put_all(tree((3, 3), 2))
    assert len(await walk(finder_of(store, nursery, ttl_s=0))) == 13
    assert store.take_count() == {"LIST": 13}


async def test_directories_without_marker_are_proved_by_the_sweep(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=1000)
    await store.put_all([*tree((50,), 3), "d7/"])
    await store.put("d8/", mode=str(stat.S_IFDIR | 0o711))
    finder = finder_of(store, nursery)
    await opened(finder, "")
    await opened(finder, "d0/")
    store.take_count()
    for number in range(1, 50):
        found = await finder.find("", f"d{number}")
        assert found is not None
        assert found.is_directory
        assert (found.info is not None) == (number in (7, 8))
        assert found.attributes.mode == stat.S_IFDIR | (0o711 if number == 8 else 0o755)
    assert store.take_count() == {"HEAD": 2}


# -- what must not be believed


async def begun(store: ListedStore, nursery: trio.Nursery) -> Finder:
    """Return a finder in the middle of a walk: `d0/` is read, `d1/` and what follows is swept."""
    finder = finder_of(store, nursery)
    await opened(finder, "")
    await opened(finder, "d0/")
    assert finder._sweeps.has("d1/")
    store.take_count()
    return finder


async def test_what_this_mount_did_meanwhile_outweighs_a_sweep(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=1000)
    await store.put_all(tree((3,), 3))
    finder = await begun(store, nursery)
    finder.removed("d1/", "f0")
    finder.removed("d1/", "f1", is_deferred=True)
    finder.stored("d1/", "new", await store.put("d1/new"), MINE)
    finder.made_directory("d1/", "sub", None, MINE, is_new=True)
    assert await opened(finder, "d1/") == {"f2": False, "new": False, "sub": True}
    assert await finder.find("d1/", "f0") is None
    assert await finder.find("d1/", "f1") is None
    assert store.take_count() == {}


async def test_a_renamed_tree_takes_no_sweep_along(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=1000)
    await store.put_all(tree((4,), 3))
    finder = await begun(store, nursery)
    for name in ("f0", "f1", "f2"):
        await store.move(f"d2/{name}", f"d1/sub/{name}")
    finder.renamed_tree("d2/", "d1/sub/")
    assert await opened(finder, "d2/") == {}
    assert sorted(await opened(finder, "d1/")) == ["f0", "f1", "f2", "sub"]
    assert sorted(await opened(finder, "d1/sub/")) == ["f0", "f1", "f2"]


async def test_a_reader_goes_on_when_a_rename_ends_the_sweep(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=4)
    await store.put_all([*tree((3,), 3), *(f"d3/f{number}" for number in range(20)), "e/x"])
    finder = finder_of(store, nursery)
    for prefix in ("", "d0/", "d1/", "d2/"):
        await opened(finder, prefix)
    entries = finder.entries("d3/")
    shown = [(await anext(entries)).name]
    finder.renamed_tree("e/", "g/")
    shown += [entry.name async for entry in entries]
    assert shown == sorted(f"f{number}" for number in range(20))


async def test_nothing_older_than_the_ttl(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    store = ListedStore(page_limit=1000)
    await store.put_all(tree((4,), 3))
    finder = await begun(store, nursery)
    await store.put("d1/other")
    await store.delete("d2/f0")
    assert "other" not in await opened(finder, "d1/")
    await trio.sleep(TTL_S)
    assert sorted(await opened(finder, "d2/")) == ["f1", "f2"]
    await trio.sleep(TTL_S)
    assert "other" in await opened(finder, "d1/")
    finder._sweeps.drop_stale()


async def test_a_walk_slower_than_the_ttl_sees_the_present(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = ListedStore(page_limit=10)
    await store.put_all(tree((6,), 30))
    finder = finder_of(store, nursery)
    await opened(finder, "")
    for number in range(6):
        await store.put(f"d{number}/seen")
        shown = []
        async for entry in finder.entries(f"d{number}/"):
            shown.append(entry.name)
            await trio.sleep(TTL_S / 20)
        assert sorted(shown) == await store.names(f"d{number}/")
        await trio.sleep(TTL_S)


async def test_a_refused_flat_listing_is_nobodys_error(nursery: trio.Nursery) -> None:
    store = ListedStore()
    await store.put_all(tree((3, 3), 2))
    store.fail = lambda prefix, delimiter: None if delimiter else AccessDenied("no")
    found = await walk(finder_of(store, nursery))
    assert found == await expected(store, found)
    assert store.take_count() == {"FLAT": 1, "LIST": 13}


async def test_a_failure_in_the_middle_is_that_directorys(nursery: trio.Nursery) -> None:
    store = ListedStore(page_limit=10)
    await store.put_all(tree((10,), 8))
    finder = finder_of(store, nursery)
    for prefix in ("", "d0/", "d1/"):
        assert sorted(await opened(finder, prefix)) == await store.names(prefix)
    store.fail = lambda prefix, delimiter: Transient("away")
    failed = []
    for number in range(2, 10):
        try:
            shown = sorted(await opened(finder, f"d{number}/"))
        except Transient:
            failed.append(number)
        else:
            assert shown == await store.names(f"d{number}/")
    assert len(failed) >= 5
    store.fail = lambda prefix, delimiter: None
    for number in failed:
        assert sorted(await opened(finder, f"d{number}/")) == await store.names(f"d{number}/")


async def test_a_store_that_lists_out_of_order_is_not_swept(nursery: trio.Nursery) -> None:
    class Disorderly(ListedStore):
        async def list_page(
            self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
        ) -> ListPage:
            page = await super().list_page(prefix, delimiter, marker, limit)
            return page if delimiter else replace(page, objects=list(page.objects)[::-1])

    store = Disorderly()
    await store.put_all(tree((3, 3), 2))
    found = await walk(finder_of(store, nursery))
    assert found == await expected(store, found)


async def test_nothing_is_kept_for_a_walk_that_is_over(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = ListedStore(page_limit=10)
    await store.put_all(tree((3, 5), 4))
    finder = finder_of(store, nursery)
    for prefix in ("", "d0/", "d0/d0/", "d0/d1/", "d0/d2/"):
        await opened(finder, prefix)
    entries = finder.entries("d0/d3/")
    await anext(entries)
    await entries.aclose()  # type: ignore[attr-defined]
    await wait_all_tasks_blocked()
    assert finder._changes._under_way
    await trio.sleep(TTL_S)
    finder.stored("", "f", await store.put("f"), MINE)
    assert not finder._changes._under_way
    assert not finder._sweeps._sweeps


# -- any walk over any keys

KEYS = st.text("ab/.-é", min_size=1, max_size=7).filter(lambda key: "//" not in key)


@settings(max_examples=150, deadline=None)
@given(
    st.sets(KEYS, max_size=40),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from(["depth", "breadth", "random", "many"]),
    st.integers(0, 2**32),
)
def test_any_walk_over_any_keys_shows_the_store(
    all_keys: set[str], page_limit: int, has_key_markers: bool, order: str, seed: int
) -> None:
    trio.run(_walk_and_compare, all_keys, page_limit, has_key_markers, order, seed)


async def _walk_and_compare(
    all_keys: set[str], page_limit: int, has_key_markers: bool, order: str, seed: int
) -> None:
    store = ListedStore(page_limit=page_limit, key_markers=has_key_markers)
    await store.put_all(all_keys)
    chance = Random(seed)
    async with trio.open_nursery() as nursery:
        finder = finder_of(store, nursery)
        left = [""]
        while left:
            place = {"depth": -1, "breadth": 0}.get(order, chance.randrange(len(left)))
            batch = [left.pop(place)]
            if order == "many":
                batch += [left.pop() for _ in range(min(3, len(left)))]
            shown: dict[str, dict[str, bool]] = {}

            async def read(prefix: str, shown: dict[str, dict[str, bool]] = shown) -> None:
                shown[prefix] = await opened(finder, prefix)

            async with trio.open_nursery() as readers:
                for prefix in batch:
                    readers.start_soon(read, prefix)
            for prefix, names in shown.items():
                assert sorted(names) == await store.names(prefix)
                below = [name for name, is_directory in names.items() if is_directory]
                if order == "depth":
                    below.reverse()
                left += [keys.directory_prefix(prefix, name) for name in below]
                for name in names:
                    found = await finder.find(prefix, name)
                    assert found is not None
                    assert found.is_directory == names[name]
        nursery.cancel_scope.cancel()
