"""truncate(2), ftruncate(2), sparse growth."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import OK, make, outcome


@pytest.mark.parametrize("before", [0, 1, 4095, 4096, 4097, 1_000_000])
@pytest.mark.parametrize("after", [0, 1, 4095, 4096, 4097, 999_999, 1_234_567])
@pytest.mark.parametrize("is_by_descriptor", [False, True])
def test_sizes(top: Path, before: int, after: int, is_by_descriptor: bool) -> None:
    path = top / "f"
    data = bytes(i % 251 for i in range(before))
    path.write_bytes(data)
    if is_by_descriptor:
        fd = os.open(path, os.O_RDWR)
        os.ftruncate(fd, after)
        os.close(fd)
    else:
        os.truncate(path, after)
    assert os.stat(path).st_size == after
    assert path.read_bytes() == data[:after].ljust(after, b"\0")


def test_it_moves_times_when_the_size_changes(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"x" * 10)
    before = os.stat(path)
    time.sleep(0.02)
    os.truncate(path, 5)
    after = os.stat(path)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


def test_write_permission_is_needed(top: Path) -> None:
    path = make(top / "f", "regular", 0o644)
    assert outcome(os.truncate, path, 1, uid=65534) == "EACCES"
    os.chown(path, 65534, 65534)
    assert outcome(os.truncate, path, 1, uid=65534) == OK
    os.chmod(path, 0o444)
    assert outcome(os.truncate, path, 2, uid=65534) == "EACCES"
    assert os.stat(path).st_size == 1


def test_a_descriptor_must_be_open_for_writing(top: Path) -> None:
    path = make(top / "f", "regular")
    fd = os.open(path, os.O_RDONLY)
    assert outcome(os.ftruncate, fd, 1) == "EINVAL"
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "size", "expected"),
    [
        ("none", 1, "ENOENT"),
        ("f/x", 1, "ENOTDIR"),
        ("d", 1, "EISDIR"),
        ("loop", 1, "ELOOP"),
        ("f", -1, "EINVAL"),
        ("n" * 256, 1, "ENAMETOOLONG"),
    ],
)
def test_what_is_refused(top: Path, path: str, size: int, expected: str) -> None:
    make(top / "f", "regular")
    make(top / "d", "directory", 0o755)
    os.symlink("loop", top / "loop")
    assert outcome(os.truncate, top / path, size) == expected


def test_a_hole_reads_as_zeros(top: Path) -> None:
    path = top / "f"
    with open(path, "wb") as file:
        file.write(b"start")
        file.seek(3_000_000)
        file.write(b"end")
    data = path.read_bytes()
    assert len(data) == 3_000_003
    assert data[:5] == b"start"
    assert data[-3:] == b"end"
    assert not any(data[5:-3])


def test_what_was_cut_off_does_not_come_back(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"secret" * 1000)
    with open(path, "r+b") as file:
        file.truncate(10)
        file.truncate(6000)
        assert file.read() == b"secretsecr" + bytes(5990)
    assert path.read_bytes() == b"secretsecr" + bytes(5990)
