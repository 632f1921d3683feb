"""What the finder says, what it costs in requests, and what it must never believe."""

from __future__ import annotations

import stat
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bucketfs.errors import AccessDenied, NameTooLong, Transient
from bucketfs.namespace.attributes import Attributes, Defaults
from bucketfs.namespace.finder import AttributesPolicy, Finder
from bucketfs.storage.interface import (
    BytesBody,
    Capabilities,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Sink,
    Version,
)
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore
from bucketfs.storage.throttled import LOOKS

TTL_S = 10.0
OLD_NS = 1_600_000_000 * 10**9
LINK = {"mode": str(stat.S_IFLNK | 0o777)}
MINE = Attributes(stat.S_IFREG | 0o600, 5, 5, 1, 2, 3)


LOCAL = replace(DEFAULT_CAPABILITIES, is_remote=False)
"""Of a store where two requests cost no more than one."""


class CountingStore(MemoryStore):
    """Counts requests, fails on demand, and can hold answers back."""

    def __init__(self, capabilities: Capabilities = DEFAULT_CAPABILITIES) -> None:
        super().__init__(capabilities=capabilities, now_ns=lambda: self.modified_ns)
        self.modified_ns = OLD_NS
        self.asked: Counter[str] = Counter()
        self.errors: dict[str, Exception] = {}
        self.gate: trio.Event | None = None
        self.page_limit = 1000
        self.largest_crowd = 0
        self._crowd = 0

    async def stat(self, key: str) -> ObjectInfo:
        self.count("HEAD", key)
        self._crowd += 1
        self.largest_crowd = max(self.largest_crowd, self._crowd)
        try:
            info = await super().stat(key)
            await self._hold()
        finally:
            self._crowd -= 1
        return info

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        self.count("LIST", prefix)
        limit = min(limit, self.page_limit)
        page = await super().list_page(prefix, delimiter, marker, limit)
        await self._hold()
        objects = [replace(info, metadata=None, content_type=None) for info in page.objects]
        return replace(page, objects=objects)

    async def read_range(
        self, key: str, start: int, length: int, sink: Sink, if_version: Version | None = None
    ) -> ObjectInfo:
        self.count("GET", key)
        info = await super().read_range(key, start, length, sink, if_version)
        await self._hold()
        return info

    def count(self, verb: str, key: str) -> None:
        self.asked[f"{verb} {key}"] += 1
        for failing in (key, f"{verb} {key}"):
            if failing in self.errors:
                raise self.errors[failing]

    def take_count(self) -> dict[str, int]:
        asked, self.asked = dict(self.asked), Counter()
        return asked

    async def put(self, key: str, data: bytes = b"", **metadata: str) -> ObjectInfo:
        return await self.write(key, BytesBody(data), ObjectAttributes(metadata))

    async def _hold(self) -> None:
        if self.gate is not None:
            await self.gate.wait()


class Bench:
    """Makes finders over one store."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.store = CountingStore()
        self.nursery = nursery

    def finder(
        self,
        ttl_s: float = TTL_S,
        policy: AttributesPolicy = "auto",
        now_ns: int | None = None,
        concurrency: int = 4,
    ) -> Finder:
        return Finder(
            self.store,
            ttl_s=ttl_s,
            defaults=Defaults(1, 2),
            attributes_policy=policy,
            concurrency=concurrency,
            nursery=self.nursery,
            wall_clock_ns=time.time_ns if now_ns is None else lambda: now_ns,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        yield Bench(nursery)
        nursery.cancel_scope.cancel()


async def names(finder: Finder, prefix: str = "") -> list[str]:
    return [entry.name async for entry in finder.entries(prefix)]


# -- single names


async def test_a_file_costs_one_list_and_one_get_and_then_nothing(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.store.put("d/f", b"abc", mode=str(stat.S_IFREG | 0o600))
    finder = bench.finder()
    found = await finder.find("d/", "f")
    assert found is not None
    assert (found.is_directory, found.attributes.mode) == (False, stat.S_IFREG | 0o600)
    assert found.info is not None
    assert (found.info.key, found.info.size) == ("d/f", 3)
    assert found.fresh_until_s == pytest.approx(trio.current_time() + TTL_S, abs=1)
    assert found.data == b"abc"
    assert bench.store.take_count() == {"LIST d/f": 1, "GET d/f": 1}
    assert await finder.find("d/", "f") is not None
    assert bench.store.take_count() == {}
    await trio.sleep(TTL_S)
    assert await finder.find("d/", "f") is not None
    assert bench.store.take_count() != {}


async def test_directories_with_and_without_marker(bench: Bench) -> None:
    await bench.store.put("made/", mode=str(stat.S_IFDIR | 0o711))
    await bench.store.put("implicit/f")
    finder = bench.finder()
    made, implicit = await finder.find("", "made"), await finder.find("", "implicit")
    assert made is not None
    assert implicit is not None
    assert made.is_directory
    assert made.info is not None
    assert made.attributes.mode == stat.S_IFDIR | 0o711
    assert (implicit.is_directory, implicit.info) == (True, None)
    assert implicit.attributes.mode == stat.S_IFDIR | 0o755
    assert bench.store.take_count() == {"LIST made": 1, "HEAD made/": 1, "LIST implicit": 1}
    assert await names(finder, "made/") == []
    assert await names(finder, "implicit/") == ["f"]
    assert bench.store.take_count() == {}


async def test_absence_is_believed_for_the_ttl(bench: Bench, autojump_clock: MockClock) -> None:
    finder = bench.finder()
    assert await finder.find("", "n") is None
    await bench.store.put("n")
    bench.store.take_count()
    assert await finder.find("", "n") is None
    assert bench.store.take_count() == {}
    await trio.sleep(TTL_S)
    assert await finder.find("", "n") is not None


@pytest.mark.parametrize(
    ("failing", "is_remote"), [("LIST n", True), ("HEAD n", True), ("n", False), ("n/", False)]
)
@pytest.mark.parametrize("error", [AccessDenied("no"), Transient("later")])
async def test_a_failure_is_neither_absence_nor_remembered(
    bench: Bench, failing: str, is_remote: bool, error: Exception
) -> None:
    if not is_remote:
        bench.store = CountingStore(LOCAL)
    elif failing.startswith("HEAD"):
        await bench.store.put("n", bytes(200_000))
    finder = bench.finder()
    bench.store.errors[failing] = error
    with pytest.raises(type(error)):
        await finder.find("", "n")
    bench.store.errors.clear()
    await bench.store.put("n")
    assert await finder.find("", "n") is not None


async def test_a_directory_wins_over_a_file_of_its_name(bench: Bench) -> None:
    await bench.store.put("a", b"file")
    await bench.store.put("a/b")
    for listed in (False, True):
        finder = bench.finder()
        if listed:
            assert await names(finder) == ["␛fa", "a"]
        directory, file = await finder.find("", "a"), await finder.find("", "␛fa")
        assert directory is not None
        assert directory.is_directory
        assert file is not None
        assert file.info is not None
        assert (file.is_directory, file.info.key) == (False, "a")
    assert await bench.finder().find("a/", "␛fb") is None
    assert await bench.finder().find("a/", "␛eb") is None


async def test_keys_that_no_name_can_have(bench: Bench) -> None:
    long = "x" * 300
    for key in ("p//q", "p/../r", f"p/{long}"):
        await bench.store.put(key, key.encode())
    finder = bench.finder()
    shown = await names(finder, "p/")
    assert shown[:2] == ["␛e..", "␛e"]
    found = await finder.find("p/", shown[2])
    assert found is not None
    assert found.info is not None
    assert found.info.key == f"p/{long}"
    assert await bench.finder(ttl_s=0).find("p/", shown[2]) is not None
    assert await names(finder, "p//") == ["q"]
    with pytest.raises(NameTooLong):
        await finder.find("q/", long)


async def test_the_third_lookup_lists_the_directory(bench: Bench) -> None:
    for number in range(20):
        await bench.store.put(f"d/{number:02}")
    finder = bench.finder()
    await finder.find("d/", "00")
    await finder.find("d/", "07")
    bench.store.take_count()
    assert await finder.find("d/", "absent") is None
    assert bench.store.take_count() == {"LIST d/": 1}
    for number in range(5):
        assert await finder.find("d/", f"absent{number}") is None
    assert bench.store.take_count() == {}


async def test_a_huge_directory_is_looked_up_by_name(bench: Bench) -> None:
    bench.store.page_limit = 2
    for number in range(20):
        await bench.store.put(f"d/{number:02}")
    finder = bench.finder()
    for number in (15, 16, 17, 18):
        assert await finder.find("d/", f"{number}") is not None
    asked = bench.store.take_count()
    assert asked["LIST d/"] == 2
    assert asked["HEAD d/18"] == 1


async def test_with_a_ttl_of_0_everything_is_asked_anew(bench: Bench) -> None:
    await bench.store.put("f", b"1")
    finder = bench.finder(ttl_s=0)
    for _ in range(5):
        assert await finder.find("", "f") is not None
        assert await names(finder) == ["f"]
    # A listing of now shows that the file is in the state that was proved.
    assert bench.store.take_count() == {"LIST f": 5, "HEAD f": 1, "LIST ": 5}
    await bench.store.delete("f")
    assert await finder.find("", "f") is None
    finder.stored("", "f", await bench.store.put("f"), MINE)
    await bench.store.delete("f")
    assert await finder.find("", "f") is None


# -- listings and proofs


async def test_a_listed_directory_answers_absence_and_proves_presence_by_a_small_get(
    bench: Bench,
) -> None:
    await bench.store.put("f", b"abc", mode=str(stat.S_IFREG | 0o600))
    await bench.store.put("big", bytes(200_000))
    await bench.store.put("d/x")
    finder = bench.finder()
    entries = {entry.name: entry async for entry in finder.entries("")}
    assert entries["f"].attributes is None
    assert entries["d"].is_directory
    bench.store.take_count()
    assert await finder.find("", "absent") is None
    assert bench.store.take_count() == {}
    found = await finder.find("", "f")
    assert found is not None
    assert (found.data, found.attributes.mode) == (b"abc", stat.S_IFREG | 0o600)
    big = await finder.find("", "big")
    assert big is not None
    assert big.data is None
    directory = await finder.find("", "d")
    assert directory is not None
    assert directory.is_directory
    assert bench.store.take_count() == {"GET f": 1, "HEAD big": 1, "HEAD d/": 1}
    again = await finder.find("", "f")
    assert again is not None
    assert again.data is None
    assert bench.store.take_count() == {}


async def test_attributes_stay_proved_while_listings_show_the_same_object(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.store.put("f", b"abc")
    await bench.store.put("g", b"abc")
    finder = bench.finder()
    await names(finder)
    await finder.find("", "f")
    await finder.find("", "g")
    await bench.store.put("g", b"new")
    await trio.sleep(TTL_S)
    entries = {entry.name: entry async for entry in finder.entries("")}
    assert entries["f"].attributes is not None
    assert entries["g"].attributes is None
    bench.store.take_count()
    assert await finder.find("", "f") is not None
    assert bench.store.take_count() == {}


async def test_the_proof_of_a_young_object_ends_with_the_ttl(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.store.put("f", b"abc")
    finder = bench.finder(now_ns=OLD_NS + 10**9)
    await finder.find("", "f")
    await names(finder)
    bench.store.take_count()
    assert await finder.find("", "f") is not None
    assert bench.store.take_count() == {}
    await trio.sleep(TTL_S)
    entries = [entry async for entry in finder.entries("")]
    assert entries[0].attributes is None


async def test_a_subdirectorys_own_listing_keeps_its_marker_proved(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.store.put("d/", mode=str(stat.S_IFDIR | 0o711))
    await bench.store.put("d/f")
    finder = bench.finder()
    await finder.find("", "d")
    await trio.sleep(TTL_S)
    assert await names(finder, "d/") == ["f"]
    bench.store.take_count()
    found = await finder.find("", "d")
    assert found is not None
    assert found.attributes.mode == stat.S_IFDIR | 0o711
    assert bench.store.take_count() == {}


async def test_a_404_is_believed_over_the_listing(bench: Bench) -> None:
    await bench.store.put("f", b"abc")
    finder = bench.finder()
    await names(finder)
    await bench.store.delete("f")
    assert await finder.find("", "f") is None
    assert await names(finder) == []


@pytest.mark.parametrize(
    ("policy", "hint", "proved"),
    [("auto", "1", True), ("auto", "0", False), ("exact", "0", True), ("listing", "1", False)],
)
async def test_types_are_proved_before_a_page_is_given_out(
    bench: Bench, policy: AttributesPolicy, hint: str, proved: bool
) -> None:
    await bench.store.put("d/", b"", **{"bucketfs-special": hint})
    await bench.store.put("d/link", b"target", **LINK)
    await bench.store.put("d/big", bytes(5000))
    finder = bench.finder(policy=policy)
    await finder.find("", "d")
    entries = {entry.name: entry async for entry in finder.entries("d/")}
    link = entries["link"].attributes
    assert (link is not None and stat.S_ISLNK(link.mode)) == proved
    assert (entries["big"].attributes is None) == (policy != "listing")


async def test_policy_listing_believes_the_listing(bench: Bench) -> None:
    await bench.store.put("link", b"target", **LINK)
    finder = bench.finder(policy="listing")
    unlisted = await finder.find("", "link")
    await names(finder)
    bench.store.take_count()
    listed = await finder.find("", "link")
    assert unlisted is not None
    assert listed is not None
    assert unlisted.attributes == listed.attributes
    assert stat.S_ISREG(listed.attributes.mode)
    assert bench.store.take_count() == {}


async def test_a_proof_that_fails_leaves_the_entry_unproved(bench: Bench) -> None:
    await bench.store.put("a", b"x", **LINK)
    await bench.store.put("b", b"x", **LINK)
    bench.store.errors["a"] = AccessDenied("no")
    entries = {e.name: e async for e in bench.finder(policy="exact").entries("")}
    assert entries["a"].attributes is None
    assert entries["b"].attributes is not None


async def test_a_failing_listing_raises_and_is_not_remembered(bench: Bench) -> None:
    await bench.store.put("f")
    finder = bench.finder()
    bench.store.errors[""] = Transient("later")
    with pytest.raises(Transient):
        await names(finder)
    bench.store.errors.clear()
    assert await names(finder) == ["f"]


async def test_is_empty(bench: Bench) -> None:
    finder = bench.finder()
    await bench.store.put("d/")
    assert await finder.is_empty("d/")
    for name in ("a", "b", "c"):
        await bench.store.put(f"d/{name}")
    assert not await finder.is_empty("d/")
    for name in ("a", "b"):
        finder.removed("d/", name, is_deferred=True)
    assert not await finder.is_empty("d/")
    finder.removed("d/", "c", is_deferred=True)
    assert await finder.is_empty("d/")
    assert await finder.find("d/", "a") is None
    assert await names(finder, "d/") == []
    finder.stored("d/", "a", await bench.store.put("d/a"), MINE)
    assert not await finder.is_empty("d/")
    assert await finder.find("d/", "a") is not None


# -- local changes


async def test_local_changes_need_no_requests(bench: Bench) -> None:
    finder = bench.finder()
    await names(finder)
    finder.stored("", "f", await bench.store.put("f"), MINE)
    finder.made_directory("", "d", await bench.store.put("d/"), MINE, is_new=True)
    bench.store.take_count()
    found = await finder.find("", "f")
    assert found is not None
    assert found.attributes == MINE
    assert await finder.find("", "d") is not None
    assert await finder.find("d/", "absent") is None
    assert sorted(await names(finder)) == ["d", "f"]
    finder.removed("", "f")
    assert await finder.find("", "f") is None
    assert bench.store.take_count() == {}


async def test_what_this_mount_stored_stays_proved_when_the_listing_is_renewed(
    bench: Bench, autojump_clock: MockClock
) -> None:
    finder = bench.finder(now_ns=OLD_NS)
    await names(finder)
    finder.stored("", "f", await bench.store.put("f"), MINE)
    await trio.sleep(TTL_S)
    entries = [entry async for entry in finder.entries("")]
    assert entries[0].attributes == MINE
    bench.store.modified_ns += 10**9
    await bench.store.put("f")
    await trio.sleep(TTL_S)
    entries = [entry async for entry in finder.entries("")]
    assert entries[0].attributes is None


async def test_what_is_given_out_may_be_changed_by_its_taker(bench: Bench) -> None:
    await bench.store.put("f")
    finder = bench.finder()
    first = await finder.find("", "f")
    assert first is not None
    first.attributes.xattrs["user.a"] = b"1"
    first.attributes.mode = 0
    second = await finder.find("", "f")
    assert second is not None
    assert second.attributes != first.attributes


async def test_an_older_answer_does_not_undo_a_change(bench: Bench) -> None:
    store = bench.store
    for name in ("kept", "removed"):
        await store.put(name)
    finder = bench.finder()
    store.gate = trio.Event()
    results: dict[str, object] = {}

    async def find(name: str) -> None:
        results[name] = await finder.find("", name)

    async def listing() -> None:
        results["names"] = sorted(await names(finder))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find, "new")
        nursery.start_soon(find, "removed")
        nursery.start_soon(listing)
        await wait_all_tasks_blocked()
        # The answers are made; they have not arrived.
        finder.stored("", "new", await store.put("new"), MINE)
        await store.delete("removed")
        finder.removed("", "removed")
        store.gate.set()
    assert results["new"] is not None
    assert results["removed"] is None
    assert results["names"] == ["kept", "new"]
    assert sorted(await names(finder)) == ["kept", "new"]


async def test_a_renamed_tree_leaves_no_proofs_of_what_was_there(bench: Bench) -> None:
    info = await bench.store.put("old/f", mode=str(stat.S_IFREG | 0o640))
    finder = bench.finder()
    finder.stored("old/", "f", info, MINE)
    finder.renamed_tree("old/", "new/")
    finder.renamed_tree("new/", "old/")
    # An object that a listing cannot tell from the former one: as large, as old, the same ETag.
    assert await names(finder, "old/") == ["f"]
    found = await finder.find("old/", "f")
    assert found is not None
    assert found.attributes.mode == stat.S_IFREG | 0o640


async def test_a_renamed_tree_voids_answers_under_way(bench: Bench) -> None:
    store = bench.store
    await store.put("old/f", b"1")
    finder = bench.finder()
    assert await finder.find("", "old") is not None
    assert await names(finder, "old/") == ["f"]
    store.gate = trio.Event()
    results = []

    async def find() -> None:
        results.append(await finder.find("new/", "f"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        await wait_all_tasks_blocked()
        await store.put("new/f", b"1")
        await store.delete("old/f")
        finder.renamed_tree("old/", "new/")
        store.gate.set()
    assert results[0] is not None
    assert await finder.find("old/", "f") is None
    assert await finder.find("", "old") is None
    new = await finder.find("", "new")
    assert new is not None
    assert new.is_directory


# -- sharing and walking ahead


async def test_identical_questions_are_asked_once_and_survive_a_cancelled_waiter(
    bench: Bench,
) -> None:
    store = bench.store
    await store.put("f")
    finder = bench.finder()
    store.gate = trio.Event()
    found = []

    async def find() -> None:
        found.append(await finder.find("", "f"))

    with trio.CancelScope() as first:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(find)
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as others:
                for _ in range(5):
                    others.start_soon(find)
                await wait_all_tasks_blocked()
                assert store.take_count() == {"LIST f": 1}
                store.gate.set()
            first.cancel()
    assert len(found) == 6
    assert all(found)


async def test_cancelling_the_one_who_asked_leaves_the_others_their_answer(bench: Bench) -> None:
    store = bench.store
    await store.put("f")
    finder = bench.finder()
    store.gate = trio.Event()
    found = []

    async def find(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await finder.find("", "f"))

    asker, waiter = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(find, asker)
        await wait_all_tasks_blocked()
        nursery.start_soon(find, waiter)
        await wait_all_tasks_blocked()
        asker.cancel()
        await wait_all_tasks_blocked()
        store.gate.set()
    assert len(found) == 1
    assert store.take_count() == {"LIST f": 1, "HEAD f": 1}


async def test_one_listing_serves_all_its_readers_even_if_the_first_gives_up(bench: Bench) -> None:
    store = bench.store
    store.page_limit = 3
    for number in range(10):
        await store.put(f"{number}")
    finder = bench.finder()
    store.gate = trio.Event()
    read: list[list[str]] = []

    async def reader(scope: trio.CancelScope) -> None:
        with scope:
            read.append(await names(finder))

    first = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, first)
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(reader, trio.CancelScope())
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        store.gate.set()
    assert read == [[f"{number}" for number in range(10)]] * 3
    assert store.take_count()["LIST "] == 4
    assert not finder._changes._under_way


async def test_a_listing_that_is_given_up_leaves_nothing(bench: Bench) -> None:
    bench.store.page_limit = 2
    for number in range(10):
        await bench.store.put(f"{number}")
    finder = bench.finder()
    entries = finder.entries("")
    assert (await anext(entries)).name == "0"
    await entries.aclose()  # type: ignore[attr-defined]
    assert not finder._changes._under_way
    assert not finder._streams
    assert await names(finder) == [f"{number}" for number in range(10)]


async def test_a_huge_directory_is_streamed_and_not_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bucketfs.namespace.liststream.MAX_KEPT", 4)
    bench.store.page_limit = 2
    for number in range(10):
        await bench.store.put(f"{number}")
    finder = bench.finder()
    for _ in range(2):
        assert await names(finder) == [f"{number}" for number in range(10)]
        assert bench.store.take_count() == {"LIST ": 5}


async def test_a_walk_is_proved_ahead_in_parallel(bench: Bench) -> None:
    for number in range(200):
        await bench.store.put(f"{number:03}", b"x", mode=str(stat.S_IFREG | 0o600))
    finder = bench.finder(concurrency=8)
    listed = await names(finder)
    for name in listed:
        found = await finder.find("", name)
        assert found is not None
        assert found.attributes.mode == stat.S_IFREG | 0o600
    asked = bench.store.take_count()
    assert all(count == 1 for count in asked.values())
    assert 8 <= bench.store.largest_crowd <= 8 * LOOKS


async def test_a_walk_through_a_large_directory_outlasts_its_listing(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.store.page_limit = 100
    for number in range(400):
        await bench.store.put(f"{number:03}")
    finder = bench.finder()
    for number, name in enumerate(await names(finder)):
        if number % 150 == 149:
            await trio.sleep(TTL_S)
        assert await finder.find("", name) is not None
    asked = bench.store.take_count()
    assert asked["LIST "] == 3 * 4, "listed anew each time that it was too old"
    # At first each time some are looked up by name, before the directory is listed.
    assert sum(asked.values()) < 3 * 4 + 400 + 3 * 5


async def test_a_walk_is_proved_ahead_while_the_directory_is_still_being_listed(
    bench: Bench,
) -> None:
    bench.store.page_limit = 200
    for number in range(1000):
        await bench.store.put(f"{number:04}", b"x")
    finder = bench.finder(concurrency=8)
    async for entry in finder.entries(""):  # as ls -l does it: each is looked up when it is read
        assert await finder.find("", entry.name) is not None
    asked = bench.store.take_count()
    assert asked["LIST "] == 5
    assert sum(asked.values()) <= 5 + 1000
    assert bench.store.largest_crowd >= 8


async def test_a_walk_of_a_reader_fetches_small_files(bench: Bench) -> None:
    for number in range(50):
        await bench.store.put(f"{number:03}", b"data")
    finder = bench.finder()
    data = []
    for name in await names(finder):
        found = await finder.find("", name)
        assert found is not None
        data.append(found.data)
        finder.opened("", name)
    assert data.count(b"data") >= 40
    asked = bench.store.take_count()
    assert sum(asked.values()) == 51


async def test_an_error_ahead_reaches_the_one_who_asks(bench: Bench) -> None:
    for number in range(20):
        await bench.store.put(f"{number:03}", b"x")
    bench.store.errors["005"] = Transient("later")
    finder = bench.finder()
    listed = await names(finder)
    for name in listed:
        if name == "005":
            with pytest.raises(Transient):
                await finder.find("", name)
            bench.store.errors.clear()
        assert await finder.find("", name) is not None


async def test_answers_from_memory_are_fast(bench: Bench) -> None:
    """A factor of ten of room: this finds a wrong order of growth, not a slow machine."""
    for number in range(1000):
        await bench.store.put(f"{number:04}")
    finder = bench.finder(policy="exact")
    listed = await names(finder)
    begun = time.perf_counter()
    await names(finder)
    assert time.perf_counter() - begun < 0.03
    begun = time.perf_counter()
    for name in listed:
        await finder.find("", name)
    assert time.perf_counter() - begun < 0.3
