"""chmod(2): who may, which bits stay, and what it does to ctime."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, mode_of, outcome

CHANGEABLE = [kind for kind in FILE_TYPES if kind != "symlink"]


@pytest.mark.parametrize("kind", CHANGEABLE)
@pytest.mark.parametrize(
    "mode", [0o000, 0o111, 0o644, 0o751, 0o777, 0o1777, 0o2755, 0o4755, 0o7777]
)
def test_every_mode_is_kept(top: Path, kind: str, mode: int) -> None:
    path = make(top / "f", kind)
    os.chmod(path, mode)
    assert mode_of(path) == mode


@pytest.mark.parametrize("kind", CHANGEABLE)
def test_through_a_link_it_changes_the_target(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    os.symlink("f", top / "link")
    os.chmod(top / "link", 0o640)
    assert mode_of(path) == 0o640


@pytest.mark.parametrize("kind", CHANGEABLE)
def test_it_moves_ctime_and_not_mtime(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    before = os.lstat(path)
    time.sleep(0.02)
    os.chmod(path, 0o600)
    after = os.lstat(path)
    assert after.st_ctime_ns > before.st_ctime_ns
    assert after.st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("kind", CHANGEABLE)
def test_a_refused_chmod_changes_nothing(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    os.chown(path, 65534, 65534)
    before = os.lstat(path)
    time.sleep(0.02)
    assert outcome(os.chmod, path, 0o777, uid=65533) == "EPERM"
    after = os.lstat(path)
    assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)


@pytest.mark.parametrize("kind", CHANGEABLE)
def test_the_owner_may(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    os.chown(path, 65534, 65534)
    assert outcome(os.chmod, path, 0o711, uid=65534) == OK
    assert mode_of(path) == 0o711


def test_search_permission_of_the_path_is_needed(top: Path) -> None:
    (top / "d").mkdir()
    path = make(top / "d" / "f", "regular")
    os.chown(path, 65534, 65534)
    os.chmod(top / "d", 0o644)
    assert outcome(os.chmod, path, 0o600, uid=65534) == "EACCES"
    os.chmod(top / "d", 0o755)
    assert outcome(os.chmod, path, 0o600, uid=65534) == OK


def test_sgid_falls_when_the_owner_is_not_in_the_group(top: Path) -> None:
    path = make(top / "f", "regular")
    os.chown(path, 65534, 65533)
    assert outcome(os.chmod, path, 0o2755, uid=65534, gid=65534) == OK
    assert mode_of(path) == 0o755
    assert outcome(os.chmod, path, 0o2755, uid=65534, gid=65533) == OK
    assert mode_of(path) == 0o2755


@pytest.mark.parametrize("mode", [0o6755, 0o4755, 0o2755])
def test_writing_by_another_clears_suid_and_sgid(top: Path, mode: int) -> None:
    path = make(top / "f", "regular")
    os.chmod(path, mode | 0o022)

    def write() -> None:
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)

    assert outcome(write, uid=65534) == OK
    assert mode_of(path) & 0o6000 == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [("none", "ENOENT"), ("f/x", "ENOTDIR"), ("loop", "ELOOP"), ("n" * 256, "ENAMETOOLONG")],
)
def test_bad_paths(top: Path, path: str, expected: str) -> None:
    make(top / "f", "regular")
    os.symlink("loop", top / "loop")
    assert outcome(os.chmod, top / path, 0o644) == expected


def test_by_descriptor(top: Path) -> None:
    path = make(top / "f", "regular")
    fd = os.open(path, os.O_RDONLY)
    os.fchmod(fd, 0o612)
    assert os.fstat(fd).st_mode & 0o7777 == 0o612
    os.close(fd)
    assert mode_of(path) == 0o612
