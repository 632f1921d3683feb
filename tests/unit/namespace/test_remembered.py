"""Attributes from one mount to the next: fewer requests, and never another answer."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketfs.namespace import remembered
from bucketfs.namespace.attributes import Attributes, Defaults, to_metadata
from bucketfs.namespace.attributes_file import FILE_NAME, AttributesFile, Told
from bucketfs.namespace.finder import AttributesPolicy, Finder, Found
from bucketfs.namespace.prover import Prover
from bucketfs.namespace.remembered import SETTLED_AFTER_S, Remembered
from bucketfs.storage.interface import Capabilities, MemorySink, ObjectInfo, Version
from bucketfs.storage.memory import DEFAULT_CAPABILITIES
from tests.unit.namespace.test_finder import LINK, OLD_NS, CountingStore

STORE = "memory://bucket"
DEFAULTS = Defaults(1, 2)
Shown = dict[str, Attributes]


@asynccontextmanager
async def finding(
    store: CountingStore,
    folder: Path,
    policy: AttributesPolicy = "auto",
    now_ns: Callable[[], int] = time.time_ns,
    ttl_s: float = 10.0,
) -> AsyncIterator[Finder]:
    """Yield a finder as a mount has one, with what it remembers in `folder`."""
    kept = Remembered(AttributesFile.open(folder, STORE), now_ns)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.write_for_ever)
        yield Finder(
            store,
            ttl_s=ttl_s,
            defaults=DEFAULTS,
            attributes_policy=policy,
            concurrency=4,
            nursery=nursery,
            wall_clock_ns=now_ns,
            remembered=kept,
        )
        nursery.cancel_scope.cancel()
    await kept.aclose()


async def long_listing(finder: Finder, prefix: str = "") -> Shown:
    """Return what `ls -lR` shows, directories without marker without their times."""
    names = [(entry.name, entry.is_directory) async for entry in finder.entries(prefix)]
    shown = {}
    for name, is_directory in names:
        found = await finder.find(prefix, name)
        assert found is not None
        shown[prefix + name] = found.attributes
        if is_directory and found.info is None:
            shown[prefix + name] = replace(found.attributes, mtime_ns=0, ctime_ns=0, atime_ns=0)
        if stat.S_ISLNK(found.attributes.mode):
            await read_link(finder, found)
    for name, is_directory in names:
        if is_directory:
            shown |= await long_listing(finder, f"{prefix}{name}/")
    return shown


async def read_link(finder: Finder, found: Found) -> None:
    """Do as `links.Links` does."""
    assert found.info is not None
    if found.data is None and await finder.target(found.info) is None:
        sink = MemorySink(bytearray(found.info.size))
        await finder._store.read_range(found.info.key, 0, found.info.size, sink)
        finder.learned_target(found.info, b"f1")


def but_lists(asked: dict[str, int]) -> set[str]:
    return {line for line in asked if not line.startswith("LIST ")}


async def fill(store: CountingStore) -> None:
    await store.put("d/", mode=str(stat.S_IFDIR | 0o711), uid="9")
    await store.put("d/e/", mode=str(stat.S_IFDIR | 0o700))
    for directory in ("", "d/", "d/e/", "plain/", "plain/deep/"):
        for number in range(4):
            mode = str(stat.S_IFREG | 0o600 | number)
            await store.put(f"{directory}f{number}", b"data", mode=mode, mtime=f"12{number}.5")
        await store.put(f"{directory}link", b"f1", **LINK)
        await store.put(f"{directory}large", bytes(200_000), foreign="x")


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.mark.parametrize("policy", ["auto", "exact"])
async def test_a_second_time_listings_say_it_all(
    store: CountingStore, tmp_path: Path, policy: AttributesPolicy
) -> None:
    await fill(store)
    async with finding(store, tmp_path, policy) as finder:
        first = await long_listing(finder)
    assert but_lists(store.take_count())
    for _ in range(2):
        async with finding(store, tmp_path, policy) as finder:
            assert await long_listing(finder) == first
        asked = store.take_count()
        assert but_lists(asked) == set()
        assert sum(asked.values()) <= 3


async def test_single_names_are_remembered_too(store: CountingStore, tmp_path: Path) -> None:
    await fill(store)
    for requests in ({"GET d/f1", "HEAD d/"}, set()):
        async with finding(store, tmp_path) as finder:
            directory, file = await finder.find("", "d"), await finder.find("d/", "f1")
        assert directory is not None
        assert file is not None
        assert (directory.attributes.uid, file.attributes.mtime_ns) == (9, 121_500_000_000)
        assert but_lists(store.take_count()) == requests


async def test_what_others_changed_is_asked_for_again(store: CountingStore, tmp_path: Path) -> None:
    await fill(store)
    async with finding(store, tmp_path) as finder:
        first = await long_listing(finder)
    store.modified_ns += 10**9
    await store.put("d/f1", b"data", mode=str(stat.S_IFREG | 0o444))
    await store.put("d/e/link", b"f2", **LINK)
    await store.put("d/", mode=str(stat.S_IFDIR | 0o755))
    await store.put("plain/", mode=str(stat.S_IFDIR | 0o701))
    await store.delete("d/e/")
    await store.delete("d/f3")
    store.take_count()
    async with finding(store, tmp_path) as finder:
        second = await long_listing(finder)
    changed = {"d/f1", "d/e/link", "d/", "plain/"}
    assert {line.partition(" ")[2] for line in but_lists(store.take_count())} == changed
    async with finding(store, tmp_path / "none") as finder:
        assert second == await long_listing(finder)
    assert stat.S_IMODE(second["d/f1"].mode) == 0o444
    assert second["d/f2"] == first["d/f2"]


@pytest.fixture(autouse=True)
def _other_folder(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()


async def test_other_defaults_hold_for_what_was_remembered(
    store: CountingStore, tmp_path: Path
) -> None:
    await store.put("f", bytes(200_000), mode=str(stat.S_IFREG | 0o600))
    for defaults in (Defaults(1, 2), Defaults(3, 4)):
        kept = Remembered(AttributesFile.open(tmp_path, STORE))
        prover = Prover(store, defaults, 1, remembered=kept)
        (info,) = (await store.list_page("")).objects
        await prover.recollect(["f"])
        proof = prover.recall(info) or await prover.ask_file("f")
        await kept.aclose()
        assert (proof.attributes.uid, proof.attributes.gid) == (defaults.uid, defaults.gid)
    assert but_lists(store.take_count()) == {"HEAD f"}


async def test_a_listing_tells_the_storage_class(store: CountingStore, tmp_path: Path) -> None:
    await store.put("f", bytes(200_000), mode=str(stat.S_IFREG | 0o600))
    async with finding(store, tmp_path) as finder:
        await finder.find("", "f")
    kept = Remembered(AttributesFile.open(tmp_path, STORE))
    prover = Prover(store, DEFAULTS, 1, remembered=kept)
    await prover.recollect(["f"])
    (info,) = (await store.list_page("")).objects
    proof = prover.recall(replace(info, storage_class="GLACIER"))
    await kept.aclose()
    assert proof is not None
    assert proof.info is not None
    assert proof.info.storage_class == "GLACIER"
    assert proof.attributes.mode == stat.S_IFREG | 0o600


@pytest.mark.parametrize("change", [{"version": Version("")}, {"modified_ns": 0}])
async def test_what_a_listing_cannot_tell_apart_is_not_remembered(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    kept = Remembered(AttributesFile.open(tmp_path, STORE))
    kept.note(Told("f", replace(ObjectInfo("f", 1, Version("v"), 1, {}), **change)))
    kept.note(Told("g", ObjectInfo("g", 1, Version("v"), 1, {})))
    await kept.aclose()
    assert remembered_in(tmp_path) == {"g": {}}


async def test_what_is_not_settled_is_not_remembered(store: CountingStore, tmp_path: Path) -> None:
    await store.put("f", bytes(200_000))
    now_ns = OLD_NS + (SETTLED_AFTER_S - 1) * 10**9
    for _ in range(2):
        async with finding(store, tmp_path, now_ns=lambda: now_ns) as finder:
            await finder.find("", "f")
        assert but_lists(store.take_count()) == {"HEAD f"}


async def test_what_this_mount_stored_is_asked_for_once_before_it_is_remembered(
    store: CountingStore, tmp_path: Path
) -> None:
    mine = Attributes(stat.S_IFREG | 0o600, 5, 5, 1, 2, 3)
    now_ns = OLD_NS + 5 * 10**9
    async with finding(store, tmp_path, now_ns=lambda: now_ns) as finder:
        await store.put("f", bytes(200_000))
        await finder.find("", "f")
        # Others may change the attributes within the same second: no listing would show it.
        info = await store.put("f", bytes(200_000), **to_metadata(mine))
        finder.stored("", "f", info, mine)
    assert remembered_in(tmp_path) == {}
    store.take_count()
    async with finding(store, tmp_path, now_ns=lambda: now_ns) as finder:
        await finder.find("", "f")
        assert but_lists(store.take_count()) == {"HEAD f"}
    assert remembered_in(tmp_path) == {"f": to_metadata(mine)}


def remembered_in(folder: Path) -> dict[str, object]:
    file = AttributesFile.open(folder, STORE)
    told = file.read(["f", "g"], lambda one: one)
    file.close()
    return {one.key: one.info and one.info.metadata for one in told}


versions = st.sampled_from([Version("v"), Version("w")])
times = st.integers(0, 3).map(lambda tenths: tenths * 500_000_000)
states = st.builds(lambda *facts: ObjectInfo("k", *facts), st.integers(0, 1), versions, times)


@given(told=states, listed=states)
async def test_no_proof_is_of_another_object_than_the_listed(
    tmp_path_factory: pytest.TempPathFactory, told: ObjectInfo, listed: ObjectInfo
) -> None:
    file = AttributesFile.open(tmp_path_factory.mktemp("cache"), STORE)
    file.write([Told("k", replace(told, metadata={"mode": "33152"}))])
    kept = Remembered(file)
    kept._has_any = True
    prover = Prover(CountingStore(), DEFAULTS, 1, remembered=kept)
    await prover.recollect(["k"])
    proof = prover.recall(listed)
    await kept.aclose()
    second = 10**9
    is_same = (told.size, told.version, told.modified_ns // second) == (
        listed.size,
        listed.version,
        listed.modified_ns // second,
    )
    assert (proof is not None) == is_same
    if proof is not None:
        assert proof.attributes.mode == 33152


segments = st.sampled_from(["a", "b", "a.", "f"])
paths = st.lists(segments, min_size=1, max_size=3).map("/".join)
object_keys = paths | paths.map(lambda path: path + "/")
modes = st.sampled_from(["33152", "33188", "41471"])
"""Two files, and a symlink; the type of a marker is that of its key."""
changes = st.lists(st.tuples(object_keys, st.none() | modes), max_size=6)


@settings(max_examples=60)
@given(
    before=st.dictionaries(object_keys, modes, max_size=12),
    between=changes,
    page_limit=st.integers(1, 30),
    has_key_markers=st.booleans(),
)
def test_a_second_mount_shows_what_one_without_memory_shows(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, str],
    between: list[tuple[str, str | None]],
    page_limit: int,
    has_key_markers: bool,
) -> None:
    folders = [tmp_path_factory.mktemp(name) for name in ("kept", "fresh")]
    has = replace(DEFAULT_CAPABILITIES, key_markers=has_key_markers)

    async def compare() -> None:
        store = CountingStore(has)
        store.page_limit = page_limit
        for key, mode in before.items():
            await store.put(key, b"f1", mode=mode)
        async with finding(store, folders[0]) as finder:
            await long_listing(finder)
        store.modified_ns += 10**9
        for key, new_mode in between:
            if new_mode is None:
                await store.delete(key)
            else:
                await store.put(key, b"f1", mode=new_mode)
        shown = []
        store.take_count()
        for folder in folders:
            async with finding(store, folder) as finder:
                shown.append(await long_listing(finder))
        assert shown[0] == shown[1]

    trio.run(compare)


async def test_policy_listing_asks_nothing_of_the_disk(
    store: CountingStore, tmp_path: Path
) -> None:
    await fill(store)
    async with finding(store, tmp_path) as finder:
        await long_listing(finder)
    async with finding(store, tmp_path, "listing") as finder:
        found = await finder.find("", "f1")
    assert found is not None
    assert stat.S_IMODE(found.attributes.mode) == 0o644


@pytest.mark.allows_warnings
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT])
async def test_trouble_with_the_file_costs_requests_only(
    store: CountingStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    await fill(store)
    async with finding(store, tmp_path) as finder:
        first = await long_listing(finder)

    def fail(*_: object) -> None:
        error = sqlite3.OperationalError("trouble")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(AttributesFile, "read", fail)
    monkeypatch.setattr(AttributesFile, "write", fail)
    async with finding(store, tmp_path) as finder:
        assert await long_listing(finder) == first
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert (tmp_path / FILE_NAME).exists() == (code == sqlite3.SQLITE_FULL)


@pytest.mark.allows_warnings
@pytest.mark.parametrize("part", range(0, 64, 3))
@pytest.mark.parametrize("how", ["cut", "scribbled"])
async def test_a_damaged_file_tells_the_truth_or_nothing(
    store: CountingStore, tmp_path: Path, part: int, how: str
) -> None:
    for number in range(400):
        await store.put(f"f{number}", bytes(200_000), mode="33152")
    async with finding(store, tmp_path) as finder:
        first = await long_listing(finder)
    path = tmp_path / FILE_NAME
    raw = bytearray(path.read_bytes())
    assert len(raw) >= 32 * 1024
    place = len(raw) * part // 64
    if how == "cut":
        del raw[place:]
    else:
        raw[place : place + 600] = b"\xff" * 600
    path.write_bytes(raw)
    kept = Remembered.open(tmp_path, STORE, DEFAULT_CAPABILITIES, 1 << 40)
    told = await kept.load([f"f{number}" for number in range(400)], lambda one: one)
    kept.note(Told("new", None))
    await kept.aclose()
    for one in told:
        assert one.info is not None
        assert one.info.metadata == {"mode": "33152"}
        assert one.key in first


@pytest.mark.allows_warnings
def test_a_folder_that_takes_no_file_is_no_reason_not_to_mount(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert not Remembered.open(tmp_path, STORE, DEFAULT_CAPABILITIES, 1 << 40).is_on


@pytest.mark.parametrize(
    ("capabilities", "disk_bytes"),
    [
        (replace(DEFAULT_CAPABILITIES, is_remote=False), 1 << 40),
        (replace(DEFAULT_CAPABILITIES, dates_metadata=False), 1 << 40),
        (DEFAULT_CAPABILITIES, 1 << 20),
    ],
)
def test_where_it_would_not_be_true_or_of_use_there_is_no_file(
    tmp_path: Path, capabilities: Capabilities, disk_bytes: int
) -> None:
    assert not Remembered.open(tmp_path, STORE, capabilities, disk_bytes).is_on
    assert not (tmp_path / FILE_NAME).exists()


async def test_notes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_PENDING", 10)
    kept = Remembered(AttributesFile.open(tmp_path, STORE))
    for number in range(100):
        kept.note(Told(f"{number}", None))
    assert len(kept._pending) == 10
    await kept.aclose()


async def test_large_directories_are_asked_for_markers_one_by_one(
    store: CountingStore, tmp_path: Path
) -> None:
    """A listing of a thousand keys that shows one marker only is dearer than a HEAD."""
    store.page_limit = 20
    for directory in range(12):
        await store.put(f"d{directory:02}/", mode=str(stat.S_IFDIR | 0o700))
        for number in range(30):
            await store.put(f"d{directory:02}/f{number}")

    async def looked_up() -> None:
        async with finding(store, tmp_path) as finder:
            names = [entry.name async for entry in finder.entries("")]
            for name in names:
                found = await finder.find("", name)
                assert found is not None
                assert stat.S_IMODE(found.attributes.mode) == 0o700

    await looked_up()
    assert len(but_lists(store.take_count())) == 12
    await looked_up()
    asked = store.take_count()
    assert sum(asked.values()) <= 14
    assert sum(count for line, count in asked.items() if line.startswith("LIST")) <= 4
