"""Over every cloud: names and keys of every kind, directories, and many of them."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from tests.mounted.clouds import exceptions
from tests.mounted.clouds.places import Place
from tests.mounted.conftest import wait_until
from tests.mounts.mounting import error_of


def test_directories_are_markers_and_may_be_implicit(place: Place, tmp_path: Path) -> None:
    place.put("implicit/inner/f", b"x")
    place.put("marked/")
    (place.path / "made").mkdir(mode=0o750)
    wait_until(lambda: sorted(os.listdir(place.path)) == ["implicit", "made", "marked"])
    assert os.listdir(place.path / "marked") == []
    (place.path / "implicit" / "inner" / "f").unlink()
    assert os.listdir(place.path / "implicit" / "inner") == []
    assert "implicit/inner/" in place.names()
    (place.path / "marked").rmdir()
    (place.path / "implicit" / "inner").rmdir()
    assert os.listdir(place.path / "implicit") == []
    assert place.names() == ["implicit/", "made/"]
    with place.remounted(tmp_path) as cold:
        assert sorted(os.listdir(cold.path)) == ["implicit", "made"]
        if not place.lacks(exceptions.DIRECTORY_METADATA):
            assert stat.S_IMODE((cold.path / "made").stat().st_mode) == 0o750


def test_a_prefix_mount_is_its_own_root(place: Place, tmp_path: Path) -> None:
    place.put("outside", b"0")
    place.put("deep/inside", b"1")
    with place.below("deep").remounted(tmp_path) as mount:
        assert os.listdir(mount.path) == ["inside"]
        (mount.path / "new").write_bytes(b"2")
    assert place.get("deep/new") == b"2"
    assert sorted(place.names()) == ["deep/inside", "deep/new", "outside"]


def test_more_files_than_a_page_of_a_listing(place: Place, tmp_path: Path) -> None:
    folder = place.path / "many"
    folder.mkdir()
    names = [f"f{n:04d}" for n in range(1100)]

    def put(own: list[str]) -> None:
        for name in own:
            place.put(f"many/{name}", name.encode())

    threads = [threading.Thread(target=put, args=(names[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(os.listdir(folder)) == 1100)
    assert sorted(os.listdir(folder)) == names
    assert (folder / "f1099").read_bytes() == b"f1099"
    with place.remounted(tmp_path) as cold:
        found = {entry.name: entry.stat().st_size for entry in os.scandir(cold.path / "many")}
    assert found == dict.fromkeys(names, 5)


def test_odd_names(place: Place, tmp_path: Path) -> None:
    refused = exceptions.REFUSED_NAMES[place.cloud.name]
    names = [name for name in exceptions.ODD_NAMES if name not in refused]
    for name in names:
        (place.path / "d" / name).mkdir(parents=True)
        (place.path / name).write_text(name)
        (place.path / "d" / name / name).write_text(name)
    listed = {name for name in place.names() if not name.startswith("d/")}
    assert listed == set(names)
    with place.remounted(tmp_path) as cold:
        assert set(os.listdir(cold.path)) == {"d", *names}
        for name in names:
            assert (cold.path / "d" / name / name).read_text() == name
            (cold.path / "d" / name).rename(cold.path / "renamed")
            (cold.path / name).rename(cold.path / "renamed" / name)
            assert place.get(f"renamed/{name}").decode() == name
            (cold.path / "renamed" / name).unlink()
            (cold.path / "renamed").rmdir()
    assert set(place.names()) == {"d/"}


def test_names_that_the_cloud_cannot_hold_are_refused(place: Place) -> None:
    (place.path / "f").write_bytes(b"ours")
    refused = exceptions.REFUSED_NAMES[place.cloud.name]
    for name in refused:
        path = place.path / name
        assert error_of(os.mkdir, path) == "EINVAL", name
        assert error_of(os.mknod, path) == "EINVAL", name
        assert error_of(os.rename, place.path / "f", path) == "EINVAL", name
        assert error_of(os.stat, path) in ("ENOENT", "EINVAL"), name
    assert os.listdir(place.path) == place.names() == ["f"]
    assert place.get("f") == b"ours"


def test_keys_that_are_no_paths_can_be_reached(place: Place, tmp_path: Path) -> None:
    unheld = exceptions.UNHELD_KEYS.get(place.cloud.name, {})
    every = exceptions.KEYS_THAT_ARE_NO_PATHS
    keys = {name: body for name, body in every.items() if name not in unheld}
    for name, body in keys.items():
        place.put(name, body)
    with place.remounted(tmp_path, "ttl=60") as cold:
        found = sorted(path.read_bytes() for path in cold.path.rglob("*") if path.is_file())
        assert found == sorted(body for name, body in keys.items() if not name.endswith("/"))
        outside = cold.path.parent / "f"
        assert not outside.exists()
        assert (cold.path / "both" / "f").read_bytes() == b"below it"
        assert (cold.path / "marked" / "f").read_bytes() == b"below it"
        for path in sorted(cold.path.rglob("*"), reverse=True):
            if path.is_file():
                path.unlink()
    assert all(name.endswith("/") for name in place.names()), "all of them could be removed"
