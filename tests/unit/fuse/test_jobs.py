"""Jobs: renames and removals that a kill cuts in two, at every step, and the mount that comes next.

The outcome is the old tree or the new one, whole, and nothing is there twice.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bucketfs.errors import CacheDirectoryError, NoSpace, Transient
from bucketfs.fuse.jobs import RETRY_INTERVAL_S, JournalledJobs
from bucketfs.namespace import jobs, removal
from bucketfs.namespace.replaying import Outcome
from bucketfs.pagecache.journal import Journal
from bucketfs.storage.memory import DEFAULT_CAPABILITIES
from tests.unit.namespace.trees import listed

from .lives import ME, Killed, Life, MortalStore, live

KINDS = ("move", "etags", "versions")
TREE = {"": b"", "a": b"of this mount", "e/": b"", "e/f": b"deeper", "h/i": b"of others"}
UNSAVED = {"new": b"only in the journal"}

Prepare = Callable[[Life], Awaitable[None]]
Work = Callable[[Life], Awaitable[None]]

pytestmark = pytest.mark.allows_warnings


def make_store(kind: str) -> MortalStore:
    """Make a bucket: one that moves natively, one with ETags, one where copies are new versions."""
    capabilities = replace(DEFAULT_CAPABILITIES, move=kind == "move")
    return MortalStore(capabilities, has_etags=kind == "etags")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> MortalStore:
    return make_store(request.param)


@asynccontextmanager
async def one_life(store: MortalStore, folder: Path) -> AsyncIterator[Life]:
    """Mount, and die at the end."""
    async with trio.open_nursery() as nursery:
        life = await live(store, folder, nursery)
        try:
            yield life
            await life.rest()
        finally:
            life.die()
            nursery.cancel_scope.cancel()


def is_killed(failure: BaseException) -> bool:
    if isinstance(failure, BaseExceptionGroup):
        return any(is_killed(inner) for inner in failure.exceptions)
    return isinstance(failure, Killed)


async def lived(store: MortalStore, folder: Path, at: int | None, work: Work) -> bool:
    """Mount and do `work`, but die at a step; return whether it was acknowledged."""
    is_acknowledged = False
    try:
        async with one_life(store, folder) as life:
            store.death.begin(at)
            await work(life)
            is_acknowledged = True
    except (Killed, BaseExceptionGroup) as failure:
        if not is_killed(failure):
            raise
    finally:
        store.death.begin(None)
    return is_acknowledged


async def settled(store: MortalStore, folder: Path) -> dict[str, bytes]:
    """Mount once more, save everything; return what the bucket has when no job is left."""
    async with one_life(store, folder) as life:
        await life.save_all()
    left = Journal.read(folder)
    assert (left.jobs, left.files) == ((), ())
    return await store.contents()


async def make_tree(store: MortalStore, folder: Path) -> None:
    async with one_life(store, folder) as life:
        directory = await life.tree.make_directory(life.root, b"d", 0o755, ME)
        inner = await life.tree.make_directory(directory, b"e", 0o755, ME)
        await life.create(directory, b"a", TREE["a"], is_saved=True)
        await life.create(inner, b"f", TREE["e/f"], is_saved=True)
        await life.create(directory, b"new", UNSAVED["new"], is_saved=False)
    await store.put("d/h/i", TREE["h/i"])


async def rename_tree(life: Life) -> None:
    await life.tree.rename(life.root, b"d", life.root, b"x", 0)


def below(prefix: str) -> dict[str, bytes]:
    return {prefix + suffix: data for suffix, data in (TREE | UNSAVED).items()}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_directory_is_at_one_name_wherever_its_rename_is_killed(
    kind: str, tmp_path: Path
) -> None:
    outcomes = set()
    for at in range(1, 200):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        await make_tree(store, folder)
        is_acknowledged = await lived(store, folder, at, rename_tree)
        found = await settled(store, folder)
        assert found in (below("d/"), below("x/")), f"killed at step {at}"
        if is_acknowledged:
            assert found == below("x/")
            break
        outcomes.add("x/a" in found)
    else:
        pytest.fail("it never came to its end")
    assert outcomes == {False, True}
    assert at > 20


SOME_KILLS = ((8, 3), (9, 5), (14, 2), (16, 4), (18, 3), (22, 1), (23, 2), (24, 3))
ALL_KILLS = tuple((first, second) for first in range(1, 48) for second in range(1, 24, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "pairs", [SOME_KILLS, pytest.param(ALL_KILLS, marks=pytest.mark.campaign)], ids=["some", "all"]
)
async def test_a_replay_that_is_killed_is_replayed(
    kind: str, pairs: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    kills = 0
    for first, second in pairs:
        store, folder = make_store(kind), tmp_path / f"{first}-{second}"
        folder.mkdir()
        await make_tree(store, folder)
        await lived(store, folder, first, rename_tree)
        store.death.begin(second)
        try:
            async with one_life(store, folder):
                pass
        except (Killed, BaseExceptionGroup) as failure:
            kills += is_killed(failure)
        store.death.begin(None)
        assert await settled(store, folder) in (below("d/"), below("x/")), (first, second)
    assert kills > 2


@pytest.mark.parametrize("is_over_another", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_is_at_one_name_wherever_its_rename_is_killed(
    kind: str, is_over_another: bool, tmp_path: Path
) -> None:
    async def rename(life: Life) -> None:
        await life.tree.rename(life.root, b"a", life.root, b"b", 0)

    outcomes = set()
    for at in range(1, 50):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        async with one_life(store, folder) as life:
            await life.create(life.root, b"a", b"bytes of a", is_saved=True)
            if is_over_another:
                await life.create(life.root, b"b", b"of b", is_saved=True)
        is_acknowledged = await lived(store, folder, at, rename)
        found = await settled(store, folder)
        old = {"a": b"bytes of a"} | ({"b": b"of b"} if is_over_another else {})
        assert found in (old, {"b": b"bytes of a"}), f"killed at step {at}"
        if is_acknowledged:
            break
        outcomes.add("a" in found)
    assert is_acknowledged
    assert outcomes == {False, True}


@pytest.mark.parametrize("kind", KINDS)
async def test_unsaved_bytes_of_a_replaced_file_do_not_come_back(kind: str, tmp_path: Path) -> None:
    async def replace_edited(life: Life) -> None:
        node = await life.tree.lookup(life.root, b"b")
        number = await life.handles.open(node, os.O_RDWR)
        await life.handles.write(number, 0, b"EDITED")
        await life.handles.flush(number)
        await life.handles.close(number)
        await life.tree.rename(life.root, b"a", life.root, b"b", 0)

    for at in range(1, 50):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        async with one_life(store, folder) as life:
            await life.create(life.root, b"a", b"bytes of a", is_saved=True)
            await life.create(life.root, b"b", b"before", is_saved=True)
        is_acknowledged = await lived(store, folder, at, replace_edited)
        found = await settled(store, folder)
        assert found.pop("b") in (b"before", b"EDITED", b"bytes of a"), f"killed at step {at}"
        assert found in ({}, {"a": b"bytes of a"}), f"killed at step {at}"
        if is_acknowledged:
            break
    assert is_acknowledged


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_unsaved_file_that_replaces_another_moves_on_alone(
    kind: str, is_saved: bool, tmp_path: Path
) -> None:
    async def rename_twice(life: Life) -> None:
        await life.create(life.root, b"a", b"new bytes", is_saved=False)
        await life.tree.rename(life.root, b"a", life.root, b"b", 0)
        await life.tree.rename(life.root, b"b", life.root, b"c", 0)

    outcomes = set()
    for at in range(1, 30):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        async with one_life(store, folder) as life:
            await life.create(life.root, b"b", b"of b", is_saved=is_saved)
        is_acknowledged = await lived(store, folder, at, rename_twice)
        found = await settled(store, folder)
        new = b"new bytes"
        assert found in ({"b": b"of b"}, {"a": new, "b": b"of b"}, {"b": new}, {"c": new}), at
        outcomes.add(tuple(found))
        if is_acknowledged:
            assert found == {"c": new}
            break
    assert is_acknowledged
    assert outcomes == {("b",), ("a", "b"), ("c",)}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edited_file_is_whole_or_gone_wherever_its_removal_is_killed(
    kind: str, tmp_path: Path
) -> None:
    async def unlink(life: Life) -> None:
        life.tree._removal._later = lambda node: None  # as with -o writeback
        await life.tree.unlink(life.root, b"f")

    outcomes = set()
    for at in range(1, 20):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        async with one_life(store, folder) as life:
            node = await life.create(life.root, b"f", b"before", is_saved=True)
            number = await life.handles.open(node, os.O_RDWR)
            await life.handles.write(number, 3, b"ER")
            await life.handles.flush(number)
            await life.handles.close(number)
        is_acknowledged = await lived(store, folder, at, unlink)
        found = await settled(store, folder)
        assert found in ({"f": b"befERe"}, {}), f"killed at step {at}"
        outcomes.add(tuple(found))
        if is_acknowledged:
            assert found == {}
            break
    assert is_acknowledged
    assert outcomes == {("f",), ()}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_removed_file_stays_removed_though_a_handle_still_read_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "FETCH_LIMIT_BYTES", 3)

    async def unlink(life: Life) -> None:
        node = await life.tree.lookup(life.root, b"f")
        await life.handles.open(node, os.O_RDONLY)
        await life.tree.unlink(life.root, b"f")

    for at in range(1, 20):
        store, folder = make_store(kind), tmp_path / str(at)
        folder.mkdir()
        await store.put("f", b"large")
        is_acknowledged = await lived(store, folder, at, unlink)
        assert await store.contents() == {"f": b"large"}, "the handle needs it"
        found = await settled(store, folder)
        assert found in ({}, {"f": b"large"})
        if is_acknowledged:
            assert found == {}
            break
    assert is_acknowledged


async def test_a_waiting_delete_takes_only_the_version_that_was_removed(
    store: MortalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "FETCH_LIMIT_BYTES", 3)
    await store.put("f", b"large")
    async with one_life(store, tmp_path) as life:
        node = await life.tree.lookup(life.root, b"f")
        await life.handles.open(node, os.O_RDONLY)
        await life.tree.unlink(life.root, b"f")
    await store.put("f", b"of others")
    assert await settled(store, tmp_path) == {"f": b"of others"}


async def test_a_waiting_delete_that_was_done_leaves_no_job(
    store: MortalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "FETCH_LIMIT_BYTES", 3)
    await store.put("f", b"large")
    async with one_life(store, tmp_path) as life:
        node = await life.tree.lookup(life.root, b"f")
        number = await life.handles.open(node, os.O_RDONLY)
        await life.tree.unlink(life.root, b"f")
        (job,) = Journal.read(tmp_path).jobs
        assert (job.kind, job.details["key"]) == (jobs.DELETE, "f")
        await life.handles.close(number)
        assert Journal.read(tmp_path).jobs == ()
    assert await store.contents() == {}


def count(store: MortalStore, prefix: str) -> int:
    return sum(key.startswith(prefix) for key in store._objects)


IS_REACHED: dict[str, Callable[[MortalStore], bool]] = {
    jobs.COPYING: lambda store: count(store, "x/") == len(TREE) - 1,
    jobs.DELETING: lambda store: count(store, "d/") < len(TREE),
    jobs.MOVING: lambda store: count(store, "d/") < len(TREE) - 1,
}
"""All copies but the marker are there; the first was deleted; two or three were moved."""


async def killed_at(store: MortalStore, folder: Path, phase: str) -> None:
    """Kill a directory's rename in the middle of a phase."""
    await make_tree(store, folder)

    async def rename_until(life: Life) -> None:
        death = store.death

        def step() -> None:
            if death.at is None and IS_REACHED[phase](store):
                death.at = 0
            if death.at is not None:
                raise Killed

        death.step = step  # type: ignore[method-assign]
        await rename_tree(life)

    await lived(store, folder, None, rename_until)
    del store.death.step
    (job,) = Journal.read(folder).jobs
    assert job.details["phase"] == phase


@pytest.mark.parametrize("kind", ["etags", "versions"])
async def test_what_others_wrote_into_a_rename_that_is_undone_stays(
    kind: str, tmp_path: Path
) -> None:
    store = make_store(kind)
    await killed_at(store, tmp_path, jobs.COPYING)
    await store.put("x/h/i", b"replaced by others")
    await store.put("x/added", b"by others")
    await store.put("d/a", b"changed by others")
    store._remove("d/e/f")
    found = await settled(store, tmp_path)
    assert found["x/h/i"] == b"replaced by others"
    assert found["x/added"] == b"by others"
    assert (found["d/a"], found["x/a"]) == (b"changed by others", TREE["a"])
    assert found["x/e/f"] == TREE["e/f"], "the last one that has these bytes"


@pytest.mark.parametrize("kind", ["etags", "versions"])
async def test_what_others_wrote_into_a_rename_that_is_gone_on_with_stays(
    kind: str, tmp_path: Path
) -> None:
    store = make_store(kind)
    await killed_at(store, tmp_path, jobs.DELETING)
    before = await store.contents()
    (one, other) = [key for key in sorted(before) if key.startswith("d/") and before[key]][:2]
    await store.put(one, b"changed by others")
    await store.put("d/added", b"by others")
    store._remove("x/" + other[2:])
    found = await settled(store, tmp_path)
    assert found[one] == b"changed by others"
    assert found["d/added"] == b"by others"
    assert found[other] == before[other], "its copy is gone"
    assert found["x/" + one[2:]] == before[one]


async def test_a_native_move_goes_on_but_never_over_others(tmp_path: Path) -> None:
    store = make_store("move")
    await killed_at(store, tmp_path, jobs.MOVING)
    before = await store.contents()
    left = [key for key in before if key.startswith("d/") and before[key]]
    assert left
    taken = "x/" + left[0][2:]
    await store.put(taken, b"of others")
    found = await settled(store, tmp_path)
    assert found[taken] == b"of others"
    assert found[left[0]] == before[left[0]]
    assert not [key for key in found if key.startswith("d/") and key not in (left[0], "d/")]


@pytest.mark.parametrize("kind", ["etags", "versions"])
async def test_remains_of_a_rename_are_cleared_in_the_background(
    kind: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    store = make_store(kind)
    await make_tree(store, tmp_path)
    async with one_life(store, tmp_path) as life:
        await life.save_all()
        delete_many, failures = store.delete_many, 3

        async def away(keys: Iterable[str]) -> Mapping[str, Exception]:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise Transient("the server is away")
            return await delete_many(keys)

        store.__dict__["delete_many"] = away
        with pytest.raises(Transient):
            await rename_tree(life)
        assert await store.contents() == below("d/") | below("x/")
        with trio.move_on_after(RETRY_INTERVAL_S * 3.5):
            await life.jobs.retry_for_ever(life.tree.replay)
        assert await store.contents() == below("x/")
        assert [child.name for child in await listed(life.tree, life.root)] == [b"x"]
        assert life.jobs.left == ()
    assert Journal.read(tmp_path).jobs == ()


async def test_what_cannot_be_replayed_is_tried_again(
    store: MortalStore, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    journal = Journal.open(tmp_path, "memory://test")
    details = {"key": "f", "version": "v1", "modified_ns": "0"}
    await journal.put_job(jobs.DELETE, details)
    await journal.put_job("of the future", {})
    await journal.aclose()
    journal = Journal.open(tmp_path, "memory://test")
    log, tried = JournalledJobs(journal), 0

    async def replay(kind: str, details: object) -> Outcome:
        nonlocal tried
        if kind != jobs.DELETE:
            raise KeyError(kind)
        tried += 1
        if tried < 3:
            raise Transient("the server is away")
        return Outcome()

    await log.replay_left(replay)
    assert [job.kind for job in log.left] == [jobs.DELETE, "of the future"]
    with trio.move_on_after(RETRY_INTERVAL_S * 3.5):
        await log.retry_for_ever(replay)
    assert tried == 3
    assert [job.kind for job in Journal.read(tmp_path).jobs] == ["of the future"]
    await journal.aclose()


async def test_a_full_disk_does_not_keep_names_from_changing(
    store: MortalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("d/f", b"bytes")
    async with one_life(store, tmp_path) as life:
        for refusal in (NoSpace, CacheDirectoryError):

            async def refuse(*_: object, refusal: type[Exception] = refusal, **__: object) -> int:
                raise refusal("no room")

            monkeypatch.setattr(life.journal, "put_job", refuse)
            monkeypatch.setattr(life.journal, "update_job", refuse)
            await rename_tree(life)
            assert await store.contents() == {"x/": b"", "x/f": b"bytes"}
            await life.tree.rename(life.root, b"x", life.root, b"d", 0)
            store._remove("d/")


async def test_a_rename_whose_progress_cannot_be_noted_is_undone(
    store: MortalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("d/f", b"bytes")
    async with one_life(store, tmp_path) as life:

        async def refuse(*_: object) -> None:
            raise NoSpace("no room")

        monkeypatch.setattr(life.journal, "update_job", refuse)
        with pytest.raises(NoSpace):
            await rename_tree(life)
        assert await store.contents() == {"d/f": b"bytes"}
        assert life.jobs.left == ()
    assert Journal.read(tmp_path).jobs == ()
