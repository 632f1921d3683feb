"""Plans: carried out on a model they give the file, within every limit, at the least price."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.pagecache.planner import Grid, plan, worth_bytes
from bucketfs.pagecache.plans import Append, CopyPart, Cost, Multipart, Put, Spans, UploadPart
from bucketfs.storage.interface import Capabilities

MIB = 1 << 20
S3 = Capabilities(part_copy=True)
COS = Capabilities(append=True, part_copy=True, min_part=MIB, max_object=10_000 * (5 << 30))
BARE = Capabilities()

Ranges = list[tuple[int, int]]


@st.composite
def stores(draw: st.DrawFn) -> Capabilities:
    least = draw(st.integers(1, 200))
    return Capabilities(
        append=draw(st.booleans()),
        part_copy=draw(st.booleans()),
        min_part=least,
        max_part=draw(st.integers(least, 4000)),
        max_parts=draw(st.integers(1, 40)),
        max_copy=draw(st.integers(1, 5000)),
        max_object=draw(st.integers(1, 5000)),
        max_write=draw(st.integers(1, 5000)),
        max_append=draw(st.integers(1, 5000)),
    )


@dataclass
class File:
    """A file by one letter a byte: b what only the base has, k what is kept here too, - changed."""

    size: int
    same: Ranges
    away: Ranges
    append_at: int | None


@st.composite
def files(draw: st.DrawFn, most: int) -> File:
    size = draw(st.integers(0, most))
    same, away, at = [], [], 0
    for _ in range(draw(st.integers(0, 6))):
        start = at + draw(st.integers(0, 300))
        stop = min(start + draw(st.integers(1, 1500)), size)
        if start >= stop:
            break
        same.append((start, stop))
        kept = draw(st.integers(start, stop))
        away.append((start, kept))
        at = stop
    append_at = None
    if draw(st.booleans()):
        base = draw(st.integers(0, size))
        same, away, append_at = [(0, base)], [(0, base)], base
    return File(size, same, away, append_at)


@given(data=st.data(), capabilities=stores(), part_size=st.integers(1, 400))
def test_a_plan_makes_the_file_within_the_limits(
    data: st.DataObject, capabilities: Capabilities, part_size: int
) -> None:
    grid = Grid(capabilities, part_size)
    file = data.draw(files(grid.limit_bytes))
    can_copy = data.draw(st.booleans())
    how = plan(
        file.size,
        file.same,
        capabilities,
        grid,
        remote=file.away,
        append_at=file.append_at,
        can_copy=can_copy,
    )
    away = letters(file.away, file.size)
    if isinstance(how, Put):
        assert how.size == file.size <= capabilities.max_write
        fetched = sum(away)
        assert how.cost == Cost(file.size, 0, fetched, 1 + bool(fetched))
    elif isinstance(how, Append):
        assert capabilities.append
        assert how.position == file.append_at
        assert how.size == file.size <= capabilities.max_append
        assert how.cost == Cost(file.size - how.position, 0, 0, 1)
    else:
        same = letters(file.same, file.size)
        assert how.cost == carried_out(how, file.size, same, away, capabilities, can_copy=can_copy)
    whole = plan(file.size, [], capabilities, grid).cost
    rewrite = Cost(whole.bytes_up, 0, sum(away), whole.requests + fetches(file, capabilities, grid))
    worth = worth_bytes(grid)
    assert how.cost.price(worth) <= rewrite.price(worth)


def letters(ranges: Ranges, size: int) -> list[bool]:
    found = [False] * size
    for start, stop in ranges:
        found[start:stop] = [True] * (stop - start)
    return found


def fetches(file: File, capabilities: Capabilities, grid: Grid) -> int:
    """Return how many parts of the file need bytes of the base, if it is sent whole."""
    away = letters(file.away, file.size)
    if grid.is_one_put(file.size, capabilities.max_write):
        return int(any(away))
    spans = [grid.span(number) for number in range(1, grid.count(file.size) + 1)]
    return sum(any(away[start:stop]) for start, stop in spans)


def carried_out(
    how: Multipart,
    size: int,
    same: list[bool],
    away: list[bool],
    capabilities: Capabilities,
    *,
    can_copy: bool,
) -> Cost:
    """Check every part and that they are the whole file; return what they cost."""
    at = up = copied = down = extra = 0
    assert len(how.parts) <= capabilities.max_parts
    for number, part in enumerate(how.parts, 1):
        assert (part.number, part.start) == (number, at)
        length = part.stop - part.start
        assert 0 < length <= capabilities.max_part
        assert length >= capabilities.min_part or part is how.parts[-1]
        if isinstance(part, CopyPart):
            assert capabilities.part_copy
            assert can_copy
            assert length <= capabilities.max_copy
            assert all(same[part.start : part.stop])
            copied += length
        else:
            fetched = sum(away[part.start : part.stop])
            up, down, extra = up + length, down + fetched, extra + bool(fetched)
        at = part.stop
    assert at == size
    return Cost(up, copied, down, len(how.parts) + 2 + extra)


@given(ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))), size=st.integers(0, 50))
def test_spans_are_sets_of_offsets(ranges: Ranges, size: int) -> None:
    ranges = sorted((min(pair), max(pair)) for pair in ranges)
    spans = Spans(ranges, size)
    known = letters([(start, min(stop, size)) for start, stop in ranges if start < size], size)
    assert bool(spans) == any(known)
    for start in range(0, size, 7):
        for stop in range(start, size + 1, 5):
            assert spans.overlap(start, stop) == sum(known[start:stop])
    gaps = list(spans.gaps())
    assert letters(gaps, size) == [not is_in for is_in in known]
    assert all(one[1] < two[0] for one, two in pairwise(gaps))


@given(capabilities=stores(), part_size=st.integers(1, 100))
def test_the_grid_has_no_gaps_and_never_shrinks(capabilities: Capabilities, part_size: int) -> None:
    grid = Grid(capabilities, part_size)
    at = last = 0
    for number in range(1, capabilities.max_parts + 1):
        start, stop = grid.span(number)
        assert start == at
        assert last <= stop - start <= capabilities.max_part
        assert grid.number_at(start) == grid.number_at(stop - 1) == number
        at, last = stop, stop - start
    assert grid.limit_bytes <= max(at, capabilities.max_write)
    with pytest.raises(ValueError, match="no part"):
        grid.span(capabilities.max_parts + 1)


def test_the_usual_part_size_reaches_the_largest_object_of_s3() -> None:
    grid = Grid(S3, 8 * MIB)
    assert grid.first_bytes == 8 * MIB
    assert grid.limit_bytes == S3.max_object
    assert grid.span(1000) == (999 * 8 * MIB, 1000 * 8 * MIB)
    assert grid.count(S3.max_object) <= 10_000


def test_a_cloud_that_takes_more_does_not_make_parts_larger() -> None:
    grid = Grid(COS, 8 * MIB)
    assert grid.first_bytes == 8 * MIB
    assert grid.limit_bytes >= 5 << 40


def test_a_file_of_one_part_is_one_put() -> None:
    grid = Grid(S3, 8 * MIB)
    assert plan(0, [], S3, grid) == Put(0)
    assert plan(8 * MIB, [], S3, grid) == Put(8 * MIB)
    assert isinstance(plan(8 * MIB + 1, [], S3, grid), Multipart)


def test_a_small_change_in_a_large_file_sends_the_least_part() -> None:
    grid = Grid(S3, 8 * MIB)
    size, changed = 1000 * MIB, 500 * MIB
    same = [(0, changed), (changed + 4096, size)]
    how = plan(size, same, S3, grid)
    assert how == Multipart(
        [
            CopyPart(1, 0, changed),
            UploadPart(2, changed, changed + 5 * MIB),
            CopyPart(3, changed + 5 * MIB, size),
        ]
    )
    assert how.cost == Cost(5 * MIB, size - 5 * MIB, 5 * MIB - 4096, 6)


def test_what_is_kept_here_is_taken_along_rather_than_fetched() -> None:
    grid = Grid(S3, 8 * MIB)
    size, changed = 1024 * MIB, 500 * MIB
    same = [(0, changed), (changed + 4096, size)]
    remote = [(0, changed - 8 * MIB), (changed + 4096, size)]
    how = plan(size, same, S3, grid, remote=remote)
    assert isinstance(how, Multipart)
    assert how.parts[1] == UploadPart(2, changed + 4096 - 5 * MIB, changed + 4096)
    assert how.cost.bytes_down == 0


def test_a_small_change_in_the_largest_file_copies_in_many_requests() -> None:
    grid = Grid(S3, 8 * MIB)
    size = S3.max_object
    how = plan(size, [(0, size // 2), (size // 2 + 4096, size)], S3, grid)
    assert how.cost.bytes_up == 5 * MIB
    assert 5000 < how.cost.requests < 6000


def test_changes_all_over_a_file_are_sent_within_the_number_of_parts() -> None:
    grid = Grid(S3, 8 * MIB)
    changes = [number * 16 * MIB for number in range(6000)]
    size = 6000 * 16 * MIB
    same = [(start + 4096, start + 16 * MIB) for start in changes]
    how = plan(size, same, S3, grid)
    assert isinstance(how, Multipart)
    assert len(how.parts) <= 10_000


def test_growth_without_native_appends_copies_the_base_and_sends_the_tail() -> None:
    grid = Grid(S3, 8 * MIB)
    how = plan(100 * MIB + 65536, [(0, 100 * MIB)], S3, grid)
    tail = UploadPart(2, 100 * MIB, 100 * MIB + 65536)
    assert how == Multipart([CopyPart(1, 0, 100 * MIB), tail])
    assert how.cost == Cost(65536, 100 * MIB, 0, 4)


def test_growth_of_a_small_file_without_native_appends_is_one_put() -> None:
    grid = Grid(S3, 8 * MIB)
    assert plan(2 * MIB + 65536, [(0, 2 * MIB)], S3, grid) == Put(2 * MIB + 65536)
    assert isinstance(plan(7 * MIB + 65536, [(0, 7 * MIB)], S3, grid, remote=[]), Multipart)


def test_native_growth_sends_only_the_tail_until_the_object_is_full() -> None:
    grid = Grid(COS, 8 * MIB)
    most = COS.max_append
    how = plan(most, [(0, most - 9)], COS, grid, append_at=most - 9)
    assert (how, how.cost) == (Append(most - 9, most), Cost(9, 0, 0, 1))
    beyond = plan(most + 1, [(0, most - 9)], COS, grid, append_at=most - 9, can_copy=False)
    assert isinstance(beyond, Multipart)
    assert beyond.cost.bytes_up == most + 1
    assert beyond.cost.bytes_down == most - 9


def test_a_shorter_file_is_copied() -> None:
    grid = Grid(S3, 8 * MIB)
    assert plan(64 * MIB, [(0, 64 * MIB)], S3, grid) == Multipart([CopyPart(1, 0, 64 * MIB)])


@pytest.mark.parametrize("capabilities", [BARE, S3])
def test_what_cannot_be_copied_is_sent(capabilities: Capabilities) -> None:
    grid = Grid(capabilities, 8 * MIB)
    how = plan(64 * MIB, [(0, 63 * MIB)], capabilities, grid, can_copy=False)
    assert isinstance(how, Multipart)
    assert how.cost == Cost(64 * MIB, 0, 63 * MIB, 8 + 2 + 8)
