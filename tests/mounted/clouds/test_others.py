"""Over every cloud: what other clients and other mounts change meanwhile is seen, or respected."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from tests.mounted.clouds import exceptions
from tests.mounted.clouds.places import Place
from tests.mounted.conftest import wait_until
from tests.mounts.mounting import error_of

MIB = 1 << 20
OWN_LOOK_S = 1.1
"""A little longer than a mount relies on its own look (exceptions.FRESH_LOOK)."""
OWN_SECOND_S = 1.1
"""What others change within the second of a mount's own write, and only in attributes, it may see
a minute later: nothing in a listing shows it (see `Prover.believe`)."""


def content(path: Path) -> bytes | None:
    """Return the bytes of a file, None where there is none.

    Nor where it was replaced since the mount looked last (ESTALE): it is opened as it was then.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return None


def test_objects_of_others_appear_and_are_seen_changed(place: Place) -> None:
    assert os.listdir(place.path) == []
    assert not (place.path / "a").exists()
    path = place.path / "a" / "b" / "c.txt"
    place.put("a/b/c.txt", b"first")
    wait_until(lambda: content(path) == b"first")
    place.put("a/b/c.txt", b"another")
    wait_until(lambda: content(path) == b"another")
    assert path.stat().st_size == 7
    place.delete("a/b/c.txt")
    wait_until(lambda: not (place.path / "a").exists())
    assert os.listdir(place.path) == []


def test_a_replaced_object_of_the_same_size_is_seen(place: Place) -> None:
    path = place.path / "f"
    path.write_bytes(b"ours")
    assert path.read_bytes() == b"ours"
    place.put("f", b"THEM")
    wait_until(lambda: content(path) == b"THEM")


def test_a_reader_of_a_replaced_object_gets_estale(place: Place) -> None:
    size = 48 * MIB
    place.put("f", b"1" * size)
    wait_until((place.path / "f").exists)
    fd = os.open(place.path / "f", os.O_RDONLY)
    try:
        assert os.pread(fd, 4096, 0) == b"1" * 4096
        place.put("f", b"2" * size)
        assert error_of(_read_all_ones, fd, size) == "ESTALE"
    finally:
        os.close(fd)
    wait_until(lambda: _begins_with_twos(place.path / "f"))
    place.delete("f")


def _read_all_ones(fd: int, size: int) -> None:
    offset = 0
    while offset < size:
        data = os.pread(fd, MIB, offset)
        assert data, "the end came early"
        assert data.count(b"1") == len(data), "bytes of two versions"
        offset += len(data)


def _begins_with_twos(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4096) == b"2" * 4096
    except OSError as exc:
        if exc.errno != errno.ESTALE:
            raise
        return False


def test_who_opens_after_an_estale_gets_the_new_object(place: Place, tmp_path: Path) -> None:
    size = 2 * MIB
    place.put("f", b"1" * size)
    with place.remounted(tmp_path, "ttl=1000") as mount:
        path = mount.path / "f"
        assert [entry.stat().st_size for entry in os.scandir(mount.path)] == [size]
        place.put("f", b"2" * size + b"more")
        assert error_of(path.read_bytes) == "ESTALE"
        assert path.read_bytes() == b"2" * size + b"more"
        assert path.stat().st_size == size + 4


@pytest.mark.parametrize(("size", "offset"), [(4096, 0), (20 * MIB, 9 * MIB)])
def test_a_lost_update_is_refused(place: Place, tmp_path: Path, size: int, offset: int) -> None:
    place.put("f", b"base" * (size // 4))
    with place.remounted(tmp_path, "part_size=5M") as mount:
        fd = os.open(mount.path / "f", os.O_RDWR)
        os.pwrite(fd, b"ours" * 1024, offset)
        place.put("f", b"theirs, and of another length")
        if place.lacks(exceptions.FRESH_LOOK):
            time.sleep(OWN_LOOK_S)
        assert error_of(os.fsync, fd) == "ESTALE"
        assert os.pread(fd, 4096, offset) == b"ours" * 1024
        assert error_of(os.close, fd) == "ESTALE"
        with open(mount.path / "f", "rb") as file:
            assert os.pread(file.fileno(), 4096, offset) == b"ours" * 1024
        mount.kill()
    assert place.get("f") == b"theirs, and of another length"


def test_two_who_create_one_name(place: Place) -> None:
    fd = os.open(place.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"ours")
    place.put("f", b"theirs")
    assert error_of(os.fsync, fd) == "ESTALE"
    assert error_of(os.close, fd) == "ESTALE"
    assert place.get("f") == b"theirs"
    (place.path / "f").unlink()


@pytest.mark.shows(exceptions.SHOWN_METADATA)
def test_a_change_of_attributes_alone_is_seen(place: Place, tmp_path: Path) -> None:
    path = place.path / "f"
    path.write_bytes(b"ours")
    with place.remounted(tmp_path) as other:
        time.sleep(OWN_SECOND_S)
        (other.path / "f").chmod(0o600)
        wait_until(lambda: path.stat().st_mode & 0o777 == 0o600)


def test_two_mounts_see_each_other(place: Place, tmp_path: Path) -> None:
    with place.remounted(tmp_path) as other:
        assert os.listdir(other.path) == []
        (place.path / "d").mkdir()
        (place.path / "d" / "f").write_bytes(b"first")
        wait_until(lambda: content(other.path / "d" / "f") == b"first")
        (other.path / "d" / "f").write_bytes(b"by the other")
        wait_until(lambda: content(place.path / "d" / "f") == b"by the other")
        (place.path / "d" / "f").rename(place.path / "d" / "g")
        wait_until(lambda: os.listdir(other.path / "d") == ["g"])
        (other.path / "d" / "g").unlink()
        (other.path / "d").rmdir()
        wait_until(lambda: not (place.path / "d").exists())
