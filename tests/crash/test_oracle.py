"""The judge of the crash campaigns can say no: what it must refuse, and what it must allow."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.namespace.removal import FETCH_LIMIT_BYTES
from tests.crash.oracle import (
    Found,
    Rules,
    adopted,
    judge,
    line,
    numbers_in_log,
    problems_of,
    problems_of_log,
)
from tests.crash.report import with_rows
from tests.crash.worker import Chooser
from tests.crash.world import File, Operation, Version, World, alternatives

STRICT, LOOSE = Rules(), Rules(may_mix=True, may_leave_remains=True)
OLD, NEW = b"o" * 10_000, b"n" * 10_000


def world_of(*operations: Operation) -> World:
    world = World(directories={"w0"})
    for operation in operations:
        world.begin(operation)
        world.apply(operation)
    return world


def saved(path: str, data: bytes) -> World:
    return adopted(Found({path: Version(data)}, {"w0"}), 0)


def found(**files: bytes) -> Found:
    return Found({f"w0/{name}": Version(data) for name, data in files.items()}, {"w0"})


def refuses(worlds: list[World], seen: Found, rules: Rules = STRICT) -> bool:
    return bool(judge(worlds, seen, rules).problems)


CREATED: Operation = {"do": "create", "slot": 0, "path": "w0/a"}
WRITTEN: Operation = {"do": "write", "slot": 0, "at": 0, "seed": 1, "length": 50}
SYNCED: Operation = {"do": "fsync", "slot": 0}


def test_what_was_acknowledged_must_be_there() -> None:
    world = world_of(CREATED, WRITTEN, SYNCED)
    data = world.files["w0/a"].now.data
    assert not refuses([world], found(a=data))
    for wrong in (found(), found(a=b""), found(a=bytes(50)), found(a=data[:-1]), found(b=data)):
        assert refuses([world], wrong)
        assert refuses([world], wrong, LOOSE)


@pytest.mark.parametrize("rules", [STRICT, LOOSE])
def test_what_was_never_acknowledged_may_be_absent(rules: Rules) -> None:
    assert not refuses([world_of(CREATED, WRITTEN)], found(), rules)


def test_without_a_save_nothing_new_may_be_there() -> None:
    assert refuses([world_of(CREATED, WRITTEN)], found(a=b""))


def test_a_save_under_way_may_have_happened() -> None:
    world = world_of(CREATED, WRITTEN)
    world.begin(SYNCED)
    worlds = alternatives(world, SYNCED)
    assert not refuses(worlds, found())
    assert not refuses(worlds, found(a=world.files["w0/a"].now.data))
    assert refuses(worlds, found(a=b""))


def test_two_versions_are_not_mixed() -> None:
    world = saved("w0/a", OLD)
    world.apply({"do": "open", "slot": 0, "path": "w0/a", "appends": False})
    world.files["w0/a"].change(Version(NEW))
    mixed = found(a=OLD[:5000] + NEW[5000:])
    assert refuses([world], mixed)
    assert not refuses([world], mixed, LOOSE)
    assert refuses([world], found(a=OLD[:5000] + b"x" + NEW[5001:]), LOOSE)
    assert refuses([world], found(a=OLD[:5000]), LOOSE)
    world.apply({"do": "fsync", "slot": 0})
    assert refuses([world], mixed, LOOSE)


@pytest.mark.parametrize(
    ("rename", "before", "after"),
    [
        (
            {"do": "rename", "path": "w0/a", "new_path": "w0/b"},
            {"w0/a": NEW, "w0/b": OLD},
            {"w0/b": NEW},
        ),
        (
            {"do": "rename_directory", "path": "w0/d", "new_path": "w0/e"},
            {"w0/d/a": NEW, "w0/d/b": OLD},
            {"w0/e/a": NEW, "w0/e/b": OLD},
        ),
    ],
)
def test_a_rename_that_was_killed(
    rename: Operation, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    def seen(files: dict[str, bytes]) -> Found:
        above = {path.rpartition("/")[0] for path in files}
        return Found({path: Version(data) for path, data in files.items()}, above | {"w0"})

    worlds = alternatives(adopted(seen(before), 0), rename)
    assert not refuses(worlds, seen(before))
    assert not refuses(worlds, seen(after))
    both = seen({**before, **after})
    assert refuses(worlds, both)
    assert judge(worlds, both, LOOSE, rename).has_remains
    for half in ({}, dict([*before.items()][:1]), dict([*after.items()][:1])):
        if half != after:
            assert judge(worlds, seen(half), LOOSE, rename).problems
    wrong = {**before, **dict.fromkeys(after, b"")}
    assert judge(worlds, seen(wrong), LOOSE, rename).problems


def test_names_and_modes() -> None:
    world = saved("w0/a", OLD)
    assert refuses([world], Found({"w0/a": Version(OLD, 0o600)}, {"w0"}))
    assert not refuses([world], Found({"w0/a": Version(OLD, None)}, {"w0"}))
    assert refuses([world], Found({"w0/a": Version(OLD)}, {"w0", "w0/new"}))
    assert refuses([world], Found({"w0/a": Version(OLD)}, set()))


def test_a_new_file_over_an_old_one_leaves_one_of_both() -> None:
    world = saved("w0/b", OLD)
    for operation in (CREATED, WRITTEN, {"do": "rename", "path": "w0/a", "new_path": "w0/b"}):
        world.begin(operation)
        world.apply(operation)
    assert not refuses([world], found(b=OLD))
    assert not refuses([world], found(b=world.files["w0/b"].now.data))
    assert refuses([world], found())
    world.apply({"do": "rename", "path": "w0/b", "new_path": "w0/c"})
    assert not refuses([world], found())
    assert refuses([world], found(c=OLD))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda texts: texts[:-1],
        lambda texts: [*texts, texts[-1]],
        lambda texts: [*texts[:2], texts[3], texts[2]],
        lambda texts: [*texts[:-1], texts[-1][:-3] + b"\n"],
        lambda texts: [*texts, line(1, 9)],
    ],
    ids=["lost", "twice", "order", "torn", "a stranger's"],
)
def test_the_shared_log(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    texts = [line(0, 0), line(1, 0), line(0, 1), line(0, 2)]
    promised = [(3, 3), (1, 2)]
    assert problems_of_log(b"".join(texts), promised) == []
    assert problems_of_log(b"".join([*texts, line(1, 1)]), promised) == []
    assert numbers_in_log(b"".join(texts), 2) == [[0, 1, 2], [0]]
    assert problems_of_log(b"".join(spoil(texts)), promised)


def kept(world: World) -> dict[str, Version]:
    """Return what a store has that saves at fsync and close only."""
    first = {path: file.allowed[0] for path, file in world.files.items()}
    return {path: version for path, version in first.items() if version is not None}


@given(seed=st.integers(0, 1 << 32), length=st.integers(1, 80))
def test_a_file_system_that_keeps_its_promises_passes_and_one_lost_byte_does_not(
    seed: int, length: int
) -> None:
    """What a store shows that saves at fsync and close, and never else, is always allowed."""
    chance = random.Random(seed)
    chooser, world = Chooser(7, chance), World(directories={"w7"})
    for _ in range(length):
        operation = chooser.choose(world)
        world.begin(operation)
        shown = Found(kept(world), set(world.directories))
        assert not judge(alternatives(world, operation), shown, STRICT).problems
        world.apply(operation)
    all_kept = kept(world)
    lost = [path for path, version in all_kept.items() if version.data.strip(b"\0")]
    if lost:
        path = chance.choice(lost)
        zeros = Version(bytes(len(all_kept[path].data)), all_kept[path].mode)
        shown = Found({**all_kept, path: zeros}, set(world.directories))
        assert judge([world], shown, STRICT).problems


@pytest.mark.parametrize("size", [FETCH_LIMIT_BYTES, FETCH_LIMIT_BYTES + 1])
def test_a_large_removed_file_may_have_its_object_while_it_is_open(size: int) -> None:
    world = World()
    data = bytes([7]) * size
    world.files["w7/f"] = File(Version(data))
    world.apply({"do": "open", "slot": 0, "path": "w7/f", "appends": False})
    world.apply({"do": "unlink", "path": "w7/f"})
    left = Found({"w7/f": Version(data)})
    in_bucket = Rules(may_leave_remains=True)
    assert bool(problems_of(world, left, in_bucket)) == (size <= FETCH_LIMIT_BYTES)
    assert problems_of(world, left, Rules())
    assert problems_of(world, Found({"w7/f": Version(data[:-1] + b"x")}), in_bucket)
    world.apply({"do": "close", "slot": 0})
    assert problems_of(world, left, in_bucket)


def test_rows_of_a_run_replace_earlier_ones() -> None:
    text = "# T\n\n## Kills\n\n| s | m | n |\n|---|---|---|\n| a | x | 1 |\n| b | x | 2 |\n\nend\n"
    told = with_rows(text, "## Kills", {("b", "x"): (3,), ("c", "y"): (4,)})
    assert told == text.replace("| b | x | 2 |", "| b | x | 3 |\n| c | y | 4 |")
