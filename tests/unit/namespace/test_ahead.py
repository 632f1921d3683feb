"""Which look-ups are a walk, and what is to be proved ahead of it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.namespace.ahead import Walk


def test_a_walk_is_recognised_at_its_third_step_and_its_window_grows() -> None:
    walk = Walk()
    assert [walk.advance(position, 64) for position in range(3)] == [
        range(0),
        range(0),
        range(3, 11),
    ]
    assert [walk.advance(position, 64) for position in range(3, 6)] == [range(0)] * 3
    assert walk.advance(6, 64) == range(11, 39)


def test_a_long_walk_proves_every_position_once_and_stays_within_the_window() -> None:
    walk = Walk()
    proved: list[int] = []
    for position in range(1000):
        ahead = walk.advance(position, 64)
        proved += ahead
        assert not ahead or ahead.stop - position <= 65
    assert proved == list(range(3, proved[-1] + 1))
    assert proved[-1] >= 1000


def test_sixteen_threads_out_of_order_are_one_walk() -> None:
    order = list(range(400))
    chooser = random.Random(1)
    for start in range(0, 400, 8):
        part = order[start : start + 8]
        chooser.shuffle(part)
        order[start : start + 8] = part
    walk = Walk()
    proved: set[int] = set()
    asked_unproved = 0
    for position in order:
        asked_unproved += position not in proved
        proved |= set(walk.advance(position, 64))
    assert asked_unproved < 40


def test_jumps_and_repetitions_are_no_walk() -> None:
    walk = Walk()
    assert not any(walk.advance(position, 64) for position in (0, 100, 50, 300, 200, 7))
    assert not any(walk.advance(5, 64) for _ in range(10))


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(4, 64))
def test_only_what_comes_next_is_proved(positions: list[int], max_window: int) -> None:
    walk = Walk()
    for position in positions:
        ahead = walk.advance(position, max_window)
        assert not ahead or (ahead.stop - position <= max_window + 1 + 16 and ahead.start >= 0)


def test_a_walk_of_a_reader() -> None:
    walk = Walk()
    walk.advance(0, 64)
    assert not walk.reads_files
    walk.opened()
    walk.opened()
    assert walk.reads_files
    walk.advance(100, 64)
    assert not walk.reads_files


def test_fetches_in_vain_end() -> None:
    walk = Walk()
    for _ in range(4):
        assert walk.may_fetch
        walk.fetched()
    assert not walk.may_fetch
    walk.opened()
    assert walk.may_fetch
