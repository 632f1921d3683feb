"""Over every cloud: what another client finds of a file that was written through the mount."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.mounted.clouds import exceptions
from tests.mounted.clouds.places import Place
from tests.mounted.conftest import wait_until


def test_a_file_is_one_object(place: Place) -> None:
    (place.path / "d").mkdir()
    path = place.path / "d" / "page.html"
    path.write_text("<p>")
    (place.path / "empty").touch()
    assert place.names() == ["d/", "d/page.html", "empty"]
    assert place.get("d/page.html") == b"<p>"
    assert place.head("d/page.html").size == 3
    assert place.head("d/").size == place.head("empty").size == 0
    with open(path, "a") as file:
        file.write("more")
    path.rename(place.path / "页 1.html")
    assert place.names() == ["d/", "empty", "页 1.html"]
    assert place.get("页 1.html") == b"<p>more"
    (place.path / "页 1.html").unlink()
    (place.path / "d").rmdir()
    (place.path / "empty").unlink()
    assert place.names() == []


@pytest.mark.shows(exceptions.METADATA)
def test_attributes_stand_beside_the_object(place: Place) -> None:
    path = place.path / "page.html"
    path.write_text("<p>")
    path.chmod(0o640)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    metadata = place.head("page.html").metadata
    assert int(metadata["mode"]) == 0o100640
    assert metadata["mtime"] == "1600000000.987654321"
    assert metadata["atime"] == "1500000000.123456789"
    assert (metadata["uid"], metadata["gid"]) == (str(os.getuid()), str(os.getgid()))


@pytest.mark.shows(exceptions.METADATA)
@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("a.json", "application/json"),
        ("A.PNG", "image/png"),
        ("no extension", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_extension(place: Place, name: str, content_type: str) -> None:
    (place.path / name).write_bytes(b"x")
    assert place.head(name).content_type == content_type
    (place.path / "other.css").write_bytes(b"x")
    (place.path / "other.css").rename(place.path / "other.html")
    assert place.head("other.html").content_type == "text/html"


@pytest.mark.shows(exceptions.METADATA)
def test_a_rename_keeps_bytes_attributes_and_what_others_noted(place: Place) -> None:
    noted = {"project": "apollo", "mode": str(0o100604)}
    place.put("theirs.txt", b"bytes", noted, "text/x-special")
    wait_until((place.path / "theirs.txt").exists)
    assert (place.path / "theirs.txt").read_bytes() == b"bytes"
    (place.path / "theirs.txt").rename(place.path / "moved.txt")
    assert place.names() == ["moved.txt"]
    assert stat.S_IMODE((place.path / "moved.txt").stat().st_mode) == 0o604
    (place.path / "moved.txt").chmod(0o600)
    with open(place.path / "moved.txt", "ab") as file:
        file.write(b" and more")
    found = place.head("moved.txt")
    assert found.metadata["project"] == "apollo"
    assert int(found.metadata["mode"]) & 0o777 == 0o600
    assert found.content_type == "text/x-special"
    assert place.get("moved.txt") == b"bytes and more"


@pytest.mark.shows(exceptions.CACHE_CONTROL)
def test_cache_control_of_others_is_kept(place: Place) -> None:
    check_is_kept(place, {"Cache-Control": "max-age=60"})


@pytest.mark.shows(exceptions.CONTENT_ENCODING)
def test_content_encoding_of_others_is_kept(place: Place) -> None:
    check_is_kept(place, {"Content-Encoding": "gzip"})


def check_is_kept(place: Place, headers: Mapping[str, str]) -> None:
    """Fail unless `headers` stand beside an object after a rename, a chmod and an edit."""
    place.put("theirs.txt", b"bytes", headers=headers)
    wait_until((place.path / "theirs.txt").exists)
    (place.path / "theirs.txt").rename(place.path / "moved.txt")
    assert place.head("moved.txt").headers == headers
    (place.path / "moved.txt").chmod(0o600)
    assert place.head("moved.txt").headers == headers
    with open(place.path / "moved.txt", "ab") as file:
        file.write(b" and more")
    assert place.head("moved.txt").headers == headers
    assert place.get("moved.txt") == b"bytes and more"


@pytest.mark.shows(exceptions.METADATA)
def test_attributes_survive_a_remount(place: Place, tmp_path: Path) -> None:
    for name in ("clean", "dirty"):
        path = place.path / name
        with open(path, "wb") as file:
            file.write(b"bytes")
            if name == "clean":
                file.flush()
                os.fsync(file.fileno())
            os.chown(path, 1234, 2345)
            path.chmod(0o4711)
            os.setxattr(path, "user.note", b"\0\xff any bytes")
            os.utime(path, ns=(1_400_000_000_000_000_001, 1_300_000_000_000_000_002))
    os.symlink("clean", place.path / "link")
    os.symlink("a/very/" + "long/" * 100 + "target", place.path / "dangling")
    os.mkfifo(place.path / "fifo", 0o604)
    os.mknod(place.path / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    before = attributes_of(place.path)
    with place.remounted(tmp_path) as cold:
        assert attributes_of(cold.path) == before
        assert os.readlink(cold.path / "link") == "clean"
        assert (cold.path / "link").read_bytes() == b"bytes"


@pytest.mark.shows(exceptions.DIRECTORY_METADATA)
def test_attributes_of_a_directory_survive_a_remount(place: Place, tmp_path: Path) -> None:
    (place.path / "folder").mkdir()
    (place.path / "folder").chmod(0o2751)
    os.setxattr(place.path / "folder", "user.note", b"on a directory")
    before = attributes_of(place.path)
    with place.remounted(tmp_path) as cold:
        assert attributes_of(cold.path) == before


def attributes_of(top: Path) -> dict[str, object]:
    """Return what is to survive of each entry: type, mode, owner, size, times, xattrs, target."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        is_link = path.is_symlink()
        noted = [] if is_link else [(n, os.getxattr(path, n)) for n in os.listxattr(path)]
        target = os.readlink(path) if is_link else None
        times = None if path.is_dir() else (state.st_mtime_ns, state.st_rdev)
        owner = (state.st_mode, state.st_uid, state.st_gid)
        found[path.relative_to(top).as_posix()] = (*owner, times, noted, target, state.st_size)
    return found
