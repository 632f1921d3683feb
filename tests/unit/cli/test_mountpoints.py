"""Finding mounts: from a path on one, through links, without touching what may hang."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bucketfs.cli.mountpoints import check_alive, mount_of, mounted_at, names_on
from bucketfs.control import ControlClient
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the kernel's table calls a mount of ours, beside one of another kind."""
    path = tmp_path / "mnt"
    (path / "d").mkdir(parents=True)
    (path / "d" / "f").touch()
    table = tmp_path / "mountinfo"
    table.write_text(
        f"40 22 0:51 / {path} rw - fuse.bucketfs s3://b rw\n"
        f"41 22 0:52 / {tmp_path / 'other'} rw - fuse.sshfs host:/x rw\n"
    )
    monkeypatch.setattr(mounttable, "MOUNTINFO", table)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return path


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("mnt", []),
        ("mnt/d/f", ["d", "f"]),
        ("other/../mnt/d", ["d"]),
        ("link", ["d"]),
        ("link/f", ["d", "f"]),
        ("absolute/f", ["d", "f"]),
        ("mnt/d/..", ["d", ".."]),
    ],
)
def test_the_mount_of_a_path(place: Path, path: str, names: list[str]) -> None:
    (place.parent / "link").symlink_to("mnt/d")
    (place.parent / "absolute").symlink_to(place / "d")
    assert mount_of(place.parent / path) == (place, names)


def test_a_relative_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "d")
    assert mount_of(Path("f")) == (place, ["d", "f"])


@pytest.mark.parametrize("path", ["", "other", "loop", "mnt2/x"])
def test_a_path_on_no_mount(place: Path, path: str) -> None:
    (place.parent / "loop").symlink_to("loop")
    with pytest.raises(ConfigurationError, match="is not on a mount of bucketfs"):
        mount_of(place.parent / path)
    with pytest.raises(ConfigurationError):
        mounted_at(place.parent / "other")


def test_names_on_a_mount_are_those_without_links(place: Path) -> None:
    (place / "inside").symlink_to("d/f")
    (place / "outside").symlink_to("/")
    assert names_on(place, place / "inside") == ["d", "f"]
    assert names_on(place, place / "d" / "..") == []
    with pytest.raises(ConfigurationError, match="No such file"):
        names_on(place, place / "none")
    with pytest.raises(ConfigurationError, match="not on"):
        names_on(place, place / "outside")


def test_a_mount_whose_process_is_gone(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="is gone; what it had not saved is in its cache"):
        check_alive(ControlClient(place), place)
    note = next(iter((place.parent / "bucketfs").glob("*")), None)
    assert note is None, os.fspath(place)
