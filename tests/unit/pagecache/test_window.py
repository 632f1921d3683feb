"""The policy of reading ahead: what is fetched is bounded by what was read."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.pagecache.window import (
    BACKWARD_SEEK,
    FAST_STREAM,
    FIRST_WINDOW,
    FORWARD_SEEK,
    HOLD_SEGMENTS,
    KIB,
    MIB,
    PAGE,
    Run,
    StreamCount,
    is_nearly_received,
    page_ceil,
    page_floor,
    segment_end,
)

GIB = 1024 * MIB
CEILING = 128 * MIB


def run_of(start: int, length: int, reads: int) -> Run:
    """Return a run after `reads` adjacent reads from `start`."""
    run = Run(start)
    for number in range(reads):
        run.advance(start + number * length, start + (number + 1) * length)
    return run


@given(st.integers(0, 1 << 45))
def test_pages_enclose_the_offset(offset: int) -> None:
    assert page_floor(offset) <= offset <= page_ceil(offset)
    assert page_floor(offset) % PAGE == page_ceil(offset) % PAGE == 0
    assert page_ceil(offset) - page_floor(offset) <= PAGE


def test_first_request_at_the_start_covers_what_linux_reads_ahead() -> None:
    run = run_of(0, 128 * KIB, 1)
    assert segment_end(run, 0, 128 * KIB, GIB, CEILING) == FIRST_WINDOW


def test_a_single_read_inside_the_object_fetches_its_pages_only() -> None:
    run = run_of(GIB // 2 + 100, 5000, 1)
    start = page_floor(GIB // 2 + 100)
    assert segment_end(run, start, GIB // 2 + 5100, GIB, CEILING) == start + 2 * PAGE


def test_a_run_doubles_its_requests_up_to_one_long_stream() -> None:
    windows = [run_of(0, MIB, reads).window(CEILING) for reads in (1, 2, 4, 8, 64, 512)]
    assert windows == [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 128 * MIB, 128 * MIB]


def test_the_rest_of_the_object_comes_along() -> None:
    run = run_of(0, MIB, 4)
    assert segment_end(run, 4 * MIB, 4 * MIB, 14 * MIB, CEILING) == 14 * MIB
    assert segment_end(run, 4 * MIB, 4 * MIB, 40 * MIB, CEILING) == 12 * MIB


@given(
    start=st.integers(0, GIB - 1),
    lengths=st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=40),
    ceiling=st.integers(PAGE, CEILING),
)
def test_a_request_covers_what_is_asked_and_no_more_than_twice_what_was_read(
    start: int, lengths: list[int], ceiling: int
) -> None:
    run, position = Run(start), start
    for length in lengths:
        begin, position = position, position + length
        run.advance(begin, position)
        size = 4 * GIB
        end = segment_end(run, page_floor(begin), position, size, ceiling)
        assert position <= end <= size
        allowance = max(2 * run.run_bytes, FIRST_WINDOW if start == 0 else 0)
        assert end - page_floor(begin) <= max(allowance, length) + 2 * PAGE


@given(st.permutations(range(4)), st.integers(0, 20))
def test_reordered_requests_of_the_kernel_stay_in_the_run(order: list[int], before: int) -> None:
    length = 128 * KIB
    run = run_of(7 * MIB, length, 1 + before)
    base = run.position
    for number in order:
        assert run.reaches(base + number * length, length)
        run.advance(base + number * length, base + (number + 1) * length)
    assert run.position == base + 4 * length


def test_an_established_run_tolerates_seeks_up_to_their_limits() -> None:
    run = run_of(0, MIB, 64)
    assert run.reaches(run.position + FORWARD_SEEK, MIB)
    assert not run.reaches(run.position + FORWARD_SEEK + 1, MIB)
    assert run.reaches(run.position - BACKWARD_SEEK - MIB, MIB)
    assert not run.reaches(run.position - BACKWARD_SEEK - MIB - 1, MIB)


def test_random_small_reads_never_become_a_run() -> None:
    chooser = random.Random(5)
    run, joined = Run(0), 0
    for _ in range(500):
        start = chooser.randrange(0, GIB, PAGE)
        joined += run.reaches(start, PAGE)
        run = Run(start)
        run.advance(start, start + PAGE)
    assert joined < 5


def test_striding_ends_a_run() -> None:
    run = run_of(0, MIB, 64)
    for _ in range(100):
        start = run.position + MIB
        if not run.reaches(start, PAGE):
            break
        run.advance(start, start + PAGE)
    assert not run.reaches(run.position + MIB, PAGE)


def test_the_next_request_goes_out_before_the_last_byte() -> None:
    assert is_nearly_received(64 * MIB, 4 * MIB)
    assert not is_nearly_received(64 * MIB, 4 * MIB + 1)
    assert is_nearly_received(2 * MIB, 512 * KIB)
    assert not is_nearly_received(2 * MIB, MIB)


def test_a_fast_stream_stays_alone() -> None:
    count = StreamCount(8)
    for _ in range(10):
        count.observe(FAST_STREAM + 1, count.streams, has_stalled=True)
    assert count.streams == 1


def test_slow_streams_are_doubled_while_they_add_up() -> None:
    count = StreamCount(8)
    seen = []
    for _ in range(12):
        count.observe(20e6, count.streams, has_stalled=True)
        seen.append(count.streams)
    assert seen[:3] == [2, 4, 8]
    assert max(seen) == 8


def test_streams_that_share_one_wire_are_given_up() -> None:
    count = StreamCount(8)
    seen = []
    for _ in range(HOLD_SEGMENTS):
        count.observe(100e6 / count.streams, count.streams, has_stalled=True)
        seen.append(count.streams)
    assert seen[0] == 2
    assert set(seen[1:]) == {1}


def test_nothing_is_tried_while_the_reader_never_waits() -> None:
    count = StreamCount(8)
    count.observe(1e6, 1, has_stalled=False)
    assert count.streams == 1


@given(st.lists(st.tuples(st.floats(0, 1e9), st.booleans()), max_size=200), st.integers(1, 9))
def test_the_number_of_streams_stays_within_its_limit(
    seen: list[tuple[float, bool]], limit: int
) -> None:
    count = StreamCount(limit)
    for rate, has_stalled in seen:
        count.observe(rate, count.streams, has_stalled)
        assert 1 <= count.streams <= limit
