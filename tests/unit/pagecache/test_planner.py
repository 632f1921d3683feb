"""Plans: carried out on a model they give the file, within every limit of the store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.pagecache.planner import CopyPart, Grid, Multipart, Put, UploadPart, plan
from bucketfs.storage.interface import Capabilities

MIB = 1 << 20
S3 = Capabilities(part_copy=True)
COS = Capabilities(part_copy=True, min_part=MIB, max_object=10_000 * (5 << 30))


@st.composite
def stores(draw: st.DrawFn) -> Capabilities:
    least = draw(st.integers(1, 20))
    return Capabilities(
        part_copy=draw(st.booleans()),
        min_part=least,
        max_part=draw(st.integers(least, 400)),
        max_parts=draw(st.integers(1, 40)),
        max_object=draw(st.integers(1, 5000)),
        max_write=draw(st.integers(1, 5000)),
    )


@given(
    capabilities=stores(),
    part_size=st.integers(1, 100),
    share=st.floats(0, 1),
    unchanged=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 900)), max_size=6),
)
def test_a_plan_makes_the_file_within_the_limits(
    capabilities: Capabilities, part_size: int, share: float, unchanged: list[tuple[int, int]]
) -> None:
    grid = Grid(capabilities, part_size)
    size = int(grid.limit_bytes * share)
    ranges, at = [], 0
    for skip, length in unchanged:
        start = at + skip % 200
        stop = min(start + length, size)
        if start < stop:
            ranges.append((start, stop))
        at = max(at, stop)
    kept = {offset for low, high in ranges for offset in range(low, high)}
    how = plan(size, ranges, capabilities, grid)
    if isinstance(how, Put):
        assert how.size == size <= capabilities.max_write
        return
    at = 0
    sent = 0
    for number, part in enumerate(how.parts, 1):
        assert part.number == number <= capabilities.max_parts
        assert part.start == at < part.stop
        length = part.stop - part.start
        assert length <= capabilities.max_part
        assert length >= capabilities.min_part or part is how.parts[-1]
        if isinstance(part, CopyPart):
            assert capabilities.part_copy
            assert set(range(part.start, part.stop)) <= kept
        else:
            sent += length
        at = part.stop
    assert at == size
    assert sent <= size


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


def test_a_touched_part_is_sent_and_the_rest_copied() -> None:
    grid = Grid(S3, 8 * MIB)
    size = 1024 * MIB
    changed = 500 * MIB
    how = plan(size, [(0, changed), (changed + 4096, size)], S3, grid)
    assert how == Multipart(
        [
            CopyPart(1, 0, 496 * MIB),
            UploadPart(2, 496 * MIB, 504 * MIB),
            CopyPart(3, 504 * MIB, 1016 * MIB),
            CopyPart(4, 1016 * MIB, 1024 * MIB),
        ]
    )
