"""rename(2) and renameat2(2): every pair of types, identity, times, permissions."""

from __future__ import annotations

import ctypes
import os
import stat
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, outcome

NOREPLACE, EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(source: Path, target: Path, flags: int) -> None:
    """Call renameat2(2). Raises: OSError."""
    if _libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_it_is_the_same_file_under_a_new_name(top: Path, kind: str) -> None:
    path = make(top / "f", kind, 0o640 if kind != "directory" else 0o750)
    os.lchown(path, 12, 34)
    before = os.lstat(path)
    os.rename(path, top / "g")
    after = os.lstat(top / "g")
    assert os.listdir(top) == ["g"]
    for name in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
        assert getattr(before, name) == getattr(after, name), name


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_both_directories_times_move(top: Path, kind: str) -> None:
    (top / "a").mkdir()
    (top / "b").mkdir()
    make(top / "a" / "f", kind, 0o755)
    before = {name: os.stat(top / name) for name in "ab"}
    time.sleep(0.02)
    os.rename(top / "a" / "f", top / "b" / "f")
    for name in "ab":
        after = os.stat(top / name)
        assert after.st_mtime_ns > before[name].st_mtime_ns
        assert after.st_ctime_ns > before[name].st_ctime_ns


@pytest.mark.parametrize("source", FILE_TYPES)
@pytest.mark.parametrize("target", FILE_TYPES)
def test_over_an_existing_entry(top: Path, source: str, target: str) -> None:
    make(top / "s", source, 0o755)
    make(top / "t", target, 0o755)
    inode = os.lstat(top / "s").st_ino
    if source == "directory" and target != "directory":
        expected = "ENOTDIR"
    elif source != "directory" and target == "directory":
        expected = "EISDIR"
    else:
        expected = OK
    assert outcome(os.rename, top / "s", top / "t") == expected
    if expected == OK:
        assert os.listdir(top) == ["t"]
        assert os.lstat(top / "t").st_ino == inode
    else:
        assert sorted(os.listdir(top)) == ["s", "t"]


def test_over_a_directory_with_entries(top: Path) -> None:
    (top / "s").mkdir()
    (top / "t" / "x").mkdir(parents=True)
    assert outcome(os.rename, top / "s", top / "t") in ("ENOTEMPTY", "EEXIST")
    (top / "t" / "x").rmdir()
    assert outcome(os.rename, top / "s", top / "t") == OK


def test_onto_itself(top: Path) -> None:
    (top / "f").write_text("kept")
    (top / "d").mkdir()
    assert outcome(os.rename, top / "f", top / "f") == OK
    assert outcome(os.rename, top / "d", top / "d") == OK
    assert (top / "f").read_text() == "kept"


def test_into_its_own_subtree(top: Path) -> None:
    (top / "d" / "e").mkdir(parents=True)
    assert outcome(os.rename, top / "d", top / "d" / "f") == "EINVAL"
    assert outcome(os.rename, top / "d", top / "d" / "e" / "f") == "EINVAL"
    assert outcome(os.rename, top / "d" / "e", top / "d") in ("ENOTEMPTY", "EEXIST")


def test_noreplace(top: Path) -> None:
    (top / "s").write_text("source")
    (top / "t").write_text("target")
    assert outcome(renameat2, top / "s", top / "t", NOREPLACE) == "EEXIST"
    assert (top / "t").read_text() == "target"
    assert outcome(renameat2, top / "s", top / "u", NOREPLACE) == OK
    assert (top / "u").read_text() == "source"


def test_exchange_is_refused(top: Path, is_reference: bool) -> None:
    if is_reference:
        pytest.skip("the reference file system exchanges")
    (top / "s").write_text("source")
    (top / "t").write_text("target")
    assert outcome(renameat2, top / "s", top / "t", EXCHANGE) == "EINVAL"
    assert (top / "s").read_text() == "source"


def test_a_whole_tree(top: Path) -> None:
    for number in range(30):
        folder = top / "tree" / f"d{number % 3}" / f"e{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_text(str(number))
    os.chmod(top / "tree" / "d1", 0o751)
    os.symlink("d1/e1", top / "tree" / "link")
    before = {
        str(p.relative_to(top / "tree")): (
            os.lstat(p).st_mode,
            os.lstat(p).st_mtime_ns,
            os.lstat(p).st_ino,
        )
        for p in (top / "tree").rglob("*")
    }
    os.rename(top / "tree", top / "moved")
    after = {
        str(p.relative_to(top / "moved")): (
            os.lstat(p).st_mode,
            os.lstat(p).st_mtime_ns,
            os.lstat(p).st_ino,
        )
        for p in (top / "moved").rglob("*")
    }
    assert before == after
    assert not (top / "tree").exists()
    for path in (top / "moved").rglob("f*"):
        assert path.read_text() == path.name[1:]


def test_an_open_file_follows(top: Path) -> None:
    fd = os.open(top / "f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"one")
    os.rename(top / "f", top / "g")
    os.write(fd, b" two")
    os.fsync(fd)
    assert (top / "g").read_bytes() == b"one two"
    os.write(fd, b" three")
    os.close(fd)
    assert (top / "g").read_bytes() == b"one two three"
    assert os.listdir(top) == ["g"]


def test_an_open_file_follows_its_directory(top: Path) -> None:
    (top / "a").mkdir()
    fd = os.open(top / "a" / "f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"one")
    os.rename(top / "a", top / "b")
    os.write(fd, b" two")
    os.close(fd)
    assert (top / "b" / "f").read_bytes() == b"one two"


def test_a_replaced_open_file_keeps_its_bytes(top: Path) -> None:
    (top / "t").write_bytes(b"old" * 5000)
    (top / "s").write_bytes(b"new")
    fd = os.open(top / "t", os.O_RDONLY)
    os.rename(top / "s", top / "t")
    assert os.pread(fd, 20_000, 0) == b"old" * 5000
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    assert (top / "t").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("none", "x", "ENOENT"),
        ("f", "none/x", "ENOENT"),
        ("f/x", "x", "ENOTDIR"),
        ("f", "g/x", "ENOTDIR"),
        ("loop/x", "x", "ELOOP"),
        ("f", "loop/x", "ELOOP"),
        ("n" * 256, "x", "ENAMETOOLONG"),
        ("f", "n" * 256, "ENAMETOOLONG"),
        ("d/.", "x", "EBUSY"),
        ("d/..", "x", "EBUSY"),
    ],
)
def test_bad_paths(top: Path, source: str, target: str, expected: str) -> None:
    make(top / "f", "regular")
    make(top / "g", "regular")
    make(top / "d", "directory", 0o755)
    os.symlink("loop", top / "loop")
    assert outcome(os.rename, f"{top}/{source}", f"{top}/{target}") == expected


def test_permissions(top: Path) -> None:
    for name in ("a", "b"):
        (top / name).mkdir()
        os.chown(top / name, 65534, 65534)
    make(top / "a" / "f", "regular")
    assert outcome(os.rename, top / "a" / "f", top / "b" / "f", uid=65534) == OK
    os.chmod(top / "b", 0o555)
    assert outcome(os.rename, top / "b" / "f", top / "a" / "f", uid=65534) == "EACCES"
    os.chmod(top / "b", 0o755)
    os.chmod(top / "a", 0o555)
    assert outcome(os.rename, top / "b" / "f", top / "a" / "f", uid=65534) == "EACCES"


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_sticky_bit(top: Path, kind: str) -> None:
    for name in ("a", "b"):
        (top / name).mkdir()
        os.chmod(top / name, 0o777)
    os.chmod(top / "a", 0o1777)
    path = make(top / "a" / "f", kind, 0o777)
    os.lchown(path, 65533, 65533)
    assert outcome(os.rename, path, top / "b" / "f", uid=65534) == "EPERM"
    assert outcome(os.rename, path, top / "b" / "f", uid=65533) == OK
    os.chmod(top / "b", 0o1777)
    other = make(top / "a" / "g", kind, 0o777)
    os.lchown(other, 65534, 65534)
    assert outcome(os.rename, other, top / "b" / "f", uid=65534) == "EPERM"


def test_names_become_free(top: Path) -> None:
    (top / "f").write_text("1")
    os.rename(top / "f", top / "g")
    (top / "f").write_text("2")
    os.rename(top / "g", top / "h")
    os.rename(top / "f", top / "g")
    assert {p.name: p.read_text() for p in top.iterdir()} == {"h": "1", "g": "2"}
    assert stat.S_ISREG(os.stat(top / "g").st_mode)
