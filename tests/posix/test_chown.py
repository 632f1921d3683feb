"""chown(2): ids, suid and sgid bits, times, permissions."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, mode_of, outcome


@pytest.mark.parametrize("kind", FILE_TYPES)
@pytest.mark.parametrize(("uid", "gid"), [(1, 2), (65534, 65533), (2**31 - 2, 2**31 - 3), (0, 0)])
def test_ids_are_kept(top: Path, kind: str, uid: int, gid: int) -> None:
    path = make(top / "f", kind)
    os.lchown(path, uid, gid)
    found = os.lstat(path)
    assert (found.st_uid, found.st_gid) == (uid, gid)


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_minus_one_leaves_an_id(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    os.lchown(path, 123, 456)
    os.lchown(path, -1, 789)
    os.lchown(path, 321, -1)
    found = os.lstat(path)
    assert (found.st_uid, found.st_gid) == (321, 789)


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_it_moves_ctime(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    before = os.lstat(path).st_ctime_ns
    time.sleep(0.02)
    os.lchown(path, 5, 6)
    assert os.lstat(path).st_ctime_ns > before


def test_through_a_link(top: Path) -> None:
    path = make(top / "f", "regular")
    os.symlink("f", top / "link")
    os.chown(top / "link", 123, 456)
    assert (os.lstat(path).st_uid, os.lstat(top / "link").st_uid) == (123, os.getuid())
    os.lchown(top / "link", 7, 8)
    assert (os.lstat(path).st_uid, os.lstat(top / "link").st_uid) == (123, 7)


@pytest.mark.parametrize("mode", [0o6555, 0o4555, 0o2555, 0o6777])
def test_suid_and_sgid_fall_when_a_user_changes_the_group(top: Path, mode: int) -> None:
    path = make(top / "f", "regular")
    os.chown(path, 65534, 65533)
    os.chmod(path, mode)
    assert outcome(os.chown, path, -1, 65532, uid=65534, gid=65533, groups=(65532,)) == OK
    assert os.lstat(path).st_gid == 65532
    assert mode_of(path) == mode & ~0o6000


def test_a_user_may_give_only_his_groups(top: Path) -> None:
    path = make(top / "f", "regular")
    os.chown(path, 65534, 65533)
    assert outcome(os.chown, path, -1, 65531, uid=65534, gid=65533) == "EPERM"
    assert outcome(os.chown, path, 65530, -1, uid=65534, gid=65533) == "EPERM"
    assert outcome(os.chown, path, 65534, 65533, uid=65534, gid=65533) == OK
    assert outcome(os.chown, path, -1, 65533, uid=65529, gid=65533) == "EPERM"


def test_by_descriptor(top: Path) -> None:
    path = make(top / "f", "regular")
    fd = os.open(path, os.O_RDWR)
    os.fchown(fd, 11, 12)
    assert (os.fstat(fd).st_uid, os.lstat(path).st_gid) == (11, 12)
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("none", "ENOENT"), ("f/x", "ENOTDIR"), ("loop", "ELOOP"), ("n" * 256, "ENAMETOOLONG")],
)
def test_bad_paths(top: Path, path: str, expected: str) -> None:
    make(top / "f", "regular")
    os.symlink("loop", top / "loop")
    assert outcome(os.chown, top / path, 1, 1) == expected
