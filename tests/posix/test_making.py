"""mkdir, mknod, mkfifo, symlink, open(O_CREAT): what a new entry is like."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, TYPE_BITS, make, mode_of, open_file, outcome


def _create(path: Path, mode: int) -> None:
    open_file(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "open": _create,
    "mknod-regular": lambda path, mode: os.mknod(path, stat.S_IFREG | mode),
    "mknod-socket": lambda path, mode: os.mknod(path, stat.S_IFSOCK | mode),
    "mknod-device": lambda path, mode: os.mknod(path, stat.S_IFCHR | mode, os.makedev(1, 3)),
}
ALL_MAKERS = [*MAKERS, "symlink"]
USER_MAKERS = [name for name in ALL_MAKERS if name != "mknod-device"]
"""What needs no CAP_MKNOD."""


def _maker(name: str) -> Callable[[Path, int], None]:
    return MAKERS.get(name, lambda path, mode: os.symlink("target", path))


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_type_is_kept(top: Path, kind: str) -> None:
    path = make(top / "f", kind)
    assert stat.S_IFMT(os.lstat(path).st_mode) == TYPE_BITS[kind]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("mode", "umask", "expected"),
    [(0o755, 0, 0o755), (0o151, 0, 0o151), (0o777, 0o077, 0o700), (0o345, 0o070, 0o305), (0, 0, 0)],
)
def test_mode_and_umask(top: Path, name: str, mode: int, umask: int, expected: int) -> None:
    assert outcome(MAKERS[name], top / "f", mode, umask=umask) == OK
    assert mode_of(top / "f") == expected


@pytest.mark.parametrize("name", USER_MAKERS)
def test_owner_and_group_are_the_callers(top: Path, name: str) -> None:
    os.chmod(top, 0o777)
    assert outcome(_maker(name), top / "f", 0o644, uid=65534, gid=65533) == OK
    found = os.lstat(top / "f")
    assert (found.st_uid, found.st_gid) == (65534, 65533)


@pytest.mark.parametrize("name", USER_MAKERS)
def test_a_sgid_directory_gives_its_group(top: Path, name: str) -> None:
    os.chown(top, -1, 65531)
    os.chmod(top, 0o2777)
    assert outcome(_maker(name), top / "f", 0o644, uid=65534, gid=65533) == OK
    found = os.lstat(top / "f")
    assert (found.st_uid, found.st_gid) == (65534, 65531)
    assert bool(found.st_mode & stat.S_ISGID) == (name == "mkdir")


@pytest.mark.parametrize("name", ALL_MAKERS)
def test_times(top: Path, name: str) -> None:
    before = os.lstat(top)
    time.sleep(0.02)
    _maker(name)(top / "f", 0o644)
    made, after = os.lstat(top / "f"), os.lstat(top)
    for value in (made.st_atime_ns, made.st_mtime_ns, made.st_ctime_ns):
        assert value > before.st_ctime_ns
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


@pytest.mark.parametrize("name", ALL_MAKERS)
@pytest.mark.parametrize("kind", FILE_TYPES)
def test_a_taken_name_is_refused(top: Path, name: str, kind: str) -> None:
    make(top / "f", kind)
    assert outcome(_maker(name), top / "f", 0o644) == "EEXIST"


@pytest.mark.parametrize("name", ALL_MAKERS)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("none/f", "ENOENT"),
        ("file/f", "ENOTDIR"),
        ("loop/f", "ELOOP"),
        ("n" * 256, "ENAMETOOLONG"),
        ("n" * 255, OK),
    ],
)
def test_bad_paths(top: Path, name: str, path: str, expected: str) -> None:
    make(top / "file", "regular")
    os.symlink("loop", top / "loop")
    assert outcome(_maker(name), top / path, 0o755) == expected


@pytest.mark.parametrize("name", USER_MAKERS)
def test_the_directory_must_be_writable(top: Path, name: str) -> None:
    (top / "d").mkdir(mode=0o755)
    assert outcome(_maker(name), top / "d" / "f", 0o644, uid=65534) == "EACCES"
    os.chown(top / "d", 65534, 65534)
    assert outcome(_maker(name), top / "d" / "f", 0o644, uid=65534) == OK
    os.chmod(top / "d", 0o555)
    assert outcome(_maker(name), top / "d" / "g", 0o644, uid=65534) == "EACCES"
    os.chmod(top / "d", 0o644)
    assert outcome(_maker(name), top / "d" / "g", 0o644, uid=65534) == "EACCES"


def test_device_numbers_are_kept(top: Path) -> None:
    for number, (major, minor) in enumerate([(1, 3), (8, 17), (259, 70000)]):
        path = top / str(number)
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        found = os.lstat(path)
        assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (major, minor)


@pytest.mark.parametrize("length", [1, 100, 1023, 4095])
def test_symlink_targets(top: Path, length: int) -> None:
    os.symlink("t" * length, top / "link")
    assert os.readlink(top / "link") == "t" * length
    assert os.lstat(top / "link").st_size == length


def test_symlink_targets_are_bytes(top: Path) -> None:
    target = b"caf\xe9 \xf0\x9f\x8c\x8d \xff\n"
    os.symlink(target, os.fsencode(top / "link"))
    assert os.readlink(os.fsencode(top / "link")) == target


def test_links_lead_somewhere(top: Path) -> None:
    (top / "d").mkdir()
    (top / "d" / "f").write_text("x")
    os.symlink("d", top / "link")
    os.symlink(str(top / "d" / "f"), top / "absolute")
    assert (top / "link" / "f").read_text() == "x"
    assert (top / "absolute").read_text() == "x"
    assert os.listdir(top / "link") == ["f"]


def test_hard_links_are_refused(top: Path, is_reference: bool) -> None:
    if is_reference:
        pytest.skip("the reference file system has hard links")
    make(top / "f", "regular")
    assert outcome(os.link, top / "f", top / "g") == "EPERM"
    assert os.listdir(top) == ["f"]
