"""utimensat(2) and which call moves which time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, outcome

PAST = (1_000_000_001_123_456_789, 987_654_321_987_654_321)


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_nanoseconds_are_kept(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    os.utime(path, ns=PAST, follow_symlinks=False)
    found = os.lstat(path)
    assert (found.st_atime_ns, found.st_mtime_ns) == PAST


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_it_moves_ctime(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    before = os.lstat(path).st_ctime_ns
    time.sleep(0.02)
    os.utime(path, ns=PAST, follow_symlinks=False)
    assert os.lstat(path).st_ctime_ns > before


@pytest.mark.parametrize(
    "ns", [(0, 0), (-1_000_000_000, -2_500_000_000), (2**33 * 10**9, 2**33 * 10**9 + 1)]
)
def test_far_times(top: Path, ns: tuple[int, int], is_reference: bool) -> None:
    path = make(top / "f", "regular")
    os.utime(path, ns=ns)
    found = os.stat(path)
    assert (found.st_atime_ns, found.st_mtime_ns) == ns


def test_now(top: Path) -> None:
    path = make(top / "f", "regular")
    os.utime(path, ns=PAST)
    before = time.time_ns()
    os.utime(path)
    found = os.stat(path)
    assert abs(found.st_mtime_ns - before) < 2_000_000_000
    assert abs(found.st_atime_ns - before) < 2_000_000_000


def test_who_may_set_times(top: Path) -> None:
    path = make(top / "f", "regular", 0o644)
    os.chown(path, 65534, 65534)
    assert outcome(os.utime, path, ns=PAST, uid=65533) == "EPERM"
    assert outcome(os.utime, path, uid=65533) == "EACCES"
    assert outcome(os.utime, path, ns=PAST, uid=65534) == OK
    os.chmod(path, 0o666)
    assert outcome(os.utime, path, uid=65533) == OK
    assert outcome(os.utime, path, ns=PAST, uid=65533) == "EPERM"


def test_times_set_while_open_survive_the_close(top: Path) -> None:
    fd = os.open(top / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"data")
    os.utime(fd, ns=PAST)
    os.close(fd)
    found = os.stat(top / "f")
    assert found.st_mtime_ns == PAST[1]


def test_writing_moves_mtime_and_ctime(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"x")
    os.utime(path, ns=PAST)
    before = os.stat(path)
    time.sleep(0.02)
    with open(path, "r+b") as file:
        file.write(b"y")
    after = os.stat(path)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


def test_reading_moves_neither_mtime_nor_ctime(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"x")
    before = os.stat(path)
    time.sleep(0.02)
    assert path.read_bytes() == b"x"
    after = os.stat(path)
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
