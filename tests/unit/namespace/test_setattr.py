"""Changes of attributes as Linux makes them."""

from __future__ import annotations

import stat

import pytest

from bucketfs.namespace.attributes import Attributes
from bucketfs.namespace.nodes import Caller, Changes
from bucketfs.namespace.setattr import changed, without_set_ids

OWNER = Caller(1000, 1000, groups=frozenset((20,)))
ROOT = Caller(0, 0, groups=frozenset())


def attributes(mode: int, gid: int = 1000) -> Attributes:
    return Attributes(mode, 1000, gid, 1, 2, 3)


def test_chmod_keeps_the_type_and_changes_nothing_else() -> None:
    after = changed(attributes(stat.S_IFREG | 0o644), Changes(mode=0o4755), OWNER)
    assert after == attributes(stat.S_IFREG | 0o4755)


@pytest.mark.parametrize(
    ("gid", "caller", "kept"),
    [
        (1000, OWNER, True),
        (20, OWNER, True),
        (30, OWNER, False),
        (30, ROOT, True),
        (30, Caller(1000, 1000), True),
    ],
)
def test_chmod_gives_the_group_bit_to_members_only(gid: int, caller: Caller, kept: bool) -> None:
    after = changed(attributes(stat.S_IFREG | 0o644, gid), Changes(mode=0o2755), caller)
    assert bool(after.mode & stat.S_ISGID) is kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stat.S_IFREG | 0o6755, stat.S_IFREG | 0o0755),
        (stat.S_IFREG | 0o6745, stat.S_IFREG | 0o2745),
        (stat.S_IFREG | 0o1755, stat.S_IFREG | 0o1755),
        (stat.S_IFDIR | 0o6755, stat.S_IFDIR | 0o6755),
    ],
)
def test_chown_clears_set_ids_of_all_but_directories(before: int, after: int) -> None:
    owned = changed(attributes(before), Changes(uid=5, gid=6), ROOT)
    assert (owned.mode, owned.uid, owned.gid) == (after, 5, 6)


def test_times_are_set_one_by_one() -> None:
    after = changed(attributes(stat.S_IFREG), Changes(mtime_ns=77), OWNER)
    assert (after.mtime_ns, after.atime_ns) == (77, 3)


def test_a_write_leaves_the_mark_of_mandatory_locking() -> None:
    assert without_set_ids(0o6744) == 0o2744
    assert without_set_ids(0o6754) == 0o0754
