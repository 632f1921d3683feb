"""unlink(2), rmdir(2): removal, its errors, its times, and files that are still open."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, outcome, remove


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_a_removed_entry_is_gone_and_moves_the_directorys_times(top: Path, kind: str) -> None:
    path = make(top / "f", kind, 0o755)
    before = os.stat(top)
    time.sleep(0.02)
    remove(path)
    after = os.stat(top)
    assert outcome(os.lstat, path) == "ENOENT"
    assert os.listdir(top) == []
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_wrong_call_is_refused(top: Path, kind: str) -> None:
    path = make(top / "f", kind, 0o755)
    if kind == "directory":
        assert outcome(os.unlink, path) == "EISDIR"
    else:
        assert outcome(os.rmdir, path) == "ENOTDIR"
    assert os.listdir(top) == ["f"]


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_a_directory_with_an_entry_stays(top: Path, kind: str) -> None:
    (top / "d").mkdir()
    make(top / "d" / "f", kind, 0o755)
    before = os.stat(top)
    assert outcome(os.rmdir, top / "d") == "ENOTEMPTY"
    assert os.stat(top).st_mtime_ns == before.st_mtime_ns
    remove(top / "d" / "f")
    assert outcome(os.rmdir, top / "d") == OK


def test_dot_and_dotdot(top: Path) -> None:
    (top / "d" / "e").mkdir(parents=True)
    assert outcome(os.rmdir, f"{top}/d/e/.") == "EINVAL"
    assert outcome(os.rmdir, f"{top}/d/e/..") == "ENOTEMPTY"


@pytest.mark.parametrize("call", [os.unlink, os.rmdir])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("none", "ENOENT"),
        ("none/f", "ENOENT"),
        ("f/x", "ENOTDIR"),
        ("loop/x", "ELOOP"),
        ("n" * 256, "ENAMETOOLONG"),
    ],
)
def test_bad_paths(top: Path, call: object, path: str, expected: str) -> None:
    make(top / "f", "regular")
    os.symlink("loop", top / "loop")
    assert outcome(call, top / path) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_directory_must_be_writable(top: Path, kind: str) -> None:
    (top / "d").mkdir()
    make(top / "d" / "f", kind, 0o755)
    call = os.rmdir if kind == "directory" else os.unlink
    assert outcome(call, top / "d" / "f", uid=65534) == "EACCES"
    os.chown(top / "d", 65534, 65534)
    os.chmod(top / "d", 0o555)
    assert outcome(call, top / "d" / "f", uid=65534) == "EACCES"
    os.chmod(top / "d", 0o755)
    assert outcome(call, top / "d" / "f", uid=65534) == OK


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_sticky_bit(top: Path, kind: str) -> None:
    (top / "d").mkdir()
    os.chmod(top / "d", 0o1777)
    os.chown(top / "d", 65530, 65530)
    path = make(top / "d" / "f", kind, 0o777)
    os.lchown(path, 65533, 65533)
    call = os.rmdir if kind == "directory" else os.unlink
    assert outcome(call, path, uid=65534) == "EPERM"
    assert outcome(call, path, uid=65533) == OK
    os.lchown(make(path, kind, 0o777), 65533, 65533)
    assert outcome(call, path, uid=65530) == OK


def test_an_open_file_goes_on_when_its_name_is_gone(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"before")
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    assert os.fstat(fd).st_nlink == 0
    assert os.read(fd, 100) == b"before"
    os.write(fd, b" and after")
    assert os.pread(fd, 100, 0) == b"before and after"
    os.ftruncate(fd, 3)
    assert os.fstat(fd).st_size == 3
    os.close(fd)
    assert os.listdir(top) == []


def test_a_new_file_under_the_name_of_an_open_removed_one(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"old" * 1000)
    fd = os.open(path, os.O_RDONLY)
    path.unlink()
    path.write_bytes(b"new")
    assert os.pread(fd, 10_000, 0) == b"old" * 1000
    assert path.read_bytes() == b"new"
    os.close(fd)
    assert path.read_bytes() == b"new"
    assert os.listdir(top) == ["f"]


def test_a_removed_open_directory(top: Path) -> None:
    (top / "d").mkdir()
    fd = os.open(top / "d", os.O_RDONLY | os.O_DIRECTORY)
    (top / "d").rmdir()
    assert outcome(os.open, "x", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd) in ("ENOENT", "ESTALE")
    os.close(fd)
