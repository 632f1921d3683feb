"""open(2): flags, permissions, and what it refuses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .calls import FILE_TYPES, OK, make, mode_of, open_file, outcome


@pytest.mark.parametrize("mode", range(8))
@pytest.mark.parametrize("who", ["owner", "group", "other"])
@pytest.mark.parametrize(("flags", "needed"), [(os.O_RDONLY, 4), (os.O_WRONLY, 2), (os.O_RDWR, 6)])
def test_permissions(top: Path, mode: int, who: str, flags: int, needed: int) -> None:
    path = make(top / "f", "regular")
    os.chown(path, 65534, 65533)
    shift = {"owner": 6, "group": 3, "other": 0}[who]
    os.chmod(path, mode << shift)
    uid, gid = {"owner": (65534, 1), "group": (2, 65533), "other": (2, 1)}[who]
    expected = OK if mode & needed == needed else "EACCES"
    assert outcome(open_file, path, flags, uid=uid, gid=gid) == expected


def test_truncation_needs_write_permission(top: Path) -> None:
    path = make(top / "f", "regular", 0o444)
    os.chown(path, 65534, 65534)
    path.write_bytes(b"kept")
    assert outcome(open_file, path, os.O_RDONLY | os.O_TRUNC, uid=65534) == "EACCES"
    assert path.read_bytes() == b"kept"


def test_o_trunc_empties_and_moves_times(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"x" * 1000)
    before = os.stat(path)
    time.sleep(0.02)
    open_file(path, os.O_WRONLY | os.O_TRUNC)
    after = os.stat(path)
    assert after.st_size == 0
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


def test_o_creat_of_an_existing_file_changes_nothing(top: Path) -> None:
    path = make(top / "f", "regular", 0o604)
    before, directory = os.stat(path), os.stat(top)
    time.sleep(0.02)
    open_file(path, os.O_CREAT | os.O_WRONLY, 0o777)
    assert mode_of(path) == 0o604
    assert os.stat(path).st_ctime_ns == before.st_ctime_ns
    assert os.stat(top).st_mtime_ns == directory.st_mtime_ns


def test_a_new_file_without_permissions_is_open_all_the_same(top: Path) -> None:
    os.chmod(top, 0o777)

    def create_and_write() -> None:
        fd = os.open(top / "f", os.O_CREAT | os.O_RDWR, 0)
        os.write(fd, b"data")
        os.close(fd)

    assert outcome(create_and_write, uid=65534) == OK
    assert (top / "f").read_bytes() == b"data"
    assert mode_of(top / "f") == 0


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_o_excl(top: Path, kind: str) -> None:
    make(top / "f", kind)
    assert outcome(open_file, top / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY) == "EEXIST"


@pytest.mark.parametrize(
    ("path", "flags", "expected"),
    [
        ("d", os.O_WRONLY, "EISDIR"),
        ("d", os.O_RDWR, "EISDIR"),
        ("d", os.O_CREAT | os.O_WRONLY, "EISDIR"),
        ("d", os.O_RDONLY, OK),
        ("f", os.O_RDONLY | os.O_DIRECTORY, "ENOTDIR"),
        ("link", os.O_RDONLY | os.O_NOFOLLOW, "ELOOP"),
        ("dangling", os.O_RDONLY, "ENOENT"),
        ("dangling", os.O_CREAT | os.O_WRONLY, OK),
        ("loop", os.O_RDONLY, "ELOOP"),
        ("f/x", os.O_RDONLY, "ENOTDIR"),
        ("f/x", os.O_CREAT | os.O_WRONLY, "ENOTDIR"),
        ("none", os.O_RDONLY, "ENOENT"),
        ("none/f", os.O_CREAT | os.O_WRONLY, "ENOENT"),
        ("n" * 256, os.O_CREAT | os.O_WRONLY, "ENAMETOOLONG"),
        ("fifo", os.O_WRONLY | os.O_NONBLOCK, "ENXIO"),
        ("fifo", os.O_RDONLY | os.O_NONBLOCK, OK),
        ("socket", os.O_RDONLY, "ENXIO"),
    ],
)
def test_what_is_refused(top: Path, path: str, flags: int, expected: str) -> None:
    make(top / "f", "regular")
    make(top / "d", "directory", 0o755)
    make(top / "fifo", "fifo")
    make(top / "socket", "socket")
    os.symlink("f", top / "link")
    os.symlink("created", top / "dangling")
    os.symlink("loop", top / "loop")
    assert outcome(open_file, top / path, flags) == expected


def test_append_writes_at_the_end_whatever_the_position(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"start")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    other = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"-one")
    os.write(other, b"-two")
    os.write(fd, b"-three")
    os.close(fd)
    os.close(other)
    assert path.read_bytes() == b"start-one-two-three"


def test_fifos_carry_data(top: Path) -> None:
    make(top / "fifo", "fifo")
    reader = os.open(top / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(top / "fifo", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 10) == b"through"
    os.close(reader)
    os.close(writer)


def test_device_nodes_work_or_are_refused_by_nodev(top: Path) -> None:
    os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    assert outcome(open_file, top / "null", os.O_RDWR) in (OK, "EACCES")
