"""Bounded parallel work."""

from __future__ import annotations

import pytest
import trio

from bucketfs.namespace.parallel import for_each


async def test_all_items_are_done_within_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    running, most, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        done.append(item)

    await for_each(range(10), work, limit=3)
    assert sorted(done) == list(range(10))
    assert most == 3


async def test_the_first_failure_is_raised_plain_and_ends_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        await trio.sleep(item)
        if item == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        await for_each(range(1, 10), work, limit=2)
    assert begun == [1, 2, 3]
