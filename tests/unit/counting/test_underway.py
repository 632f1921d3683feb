"""Calls of the store that are under way: whose they are, and which attempt it is."""

from __future__ import annotations

import trio

from bucketfs.counting import causes
from bucketfs.counting.underway import Underway, about, pausing


async def test_a_call_stands_there_as_long_as_it_lasts() -> None:
    underway, cause = Underway(), causes.Cause(17)
    with causes.acting(cause), underway.calling("stat", "a"):
        (call,) = underway
        assert (call.operation, call.key, call.cause, call.attempt) == ("stat", "a", cause, 1)
        assert call.again_s is None
        with pausing(60):
            assert call.again_s is not None
            assert call.again_s > call.began_s + 59
        assert (call.attempt, call.again_s) == (2, None)
    assert len(underway) == 0


async def test_a_call_that_fails_or_is_cancelled_leaves_nothing() -> None:
    underway = Underway()
    with trio.CancelScope() as scope, underway.calling("list_page", ""):
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert len(underway) == 0
    with pausing(1):
        pass  # nobody calls: a pause of somebody else


async def test_who_waits_for_what() -> None:
    underway = Underway()
    mine, other = causes.Cause(1), causes.Cause(2)
    with (
        causes.acting(mine),
        underway.calling("stat", "a"),
        causes.acting(other),
        underway.calling("read_range", "b"),
        underway.calling("list_page", ""),
    ):
        names = {
            key: [call.operation for call in about(underway, cause, key)]
            for key, cause in (("x", mine), ("b", mine), ("a", causes.Cause(3)))
        }
        assert names == {"x": ["stat"], "b": ["stat", "read_range"], "a": ["stat"]}
        assert [call.operation for call in about(underway, causes.Cause(3), "")] == ["list_page"]
        assert about(underway, causes.Cause(3), None) == []
