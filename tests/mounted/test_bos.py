"""A mounted BOS bucket beside Baidu's SDK: what is special of BOS (the rest is in `clouds`)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.serving import RunningEmulator
from tests.faults.proxy import faulty
from tests.mounted.clouds.bos_client import sdk
from tests.mounted.conftest import wait_until
from tests.mounts.mounting import Mount, error_of, mounted

MIB = 1 << 20


@dataclass(frozen=True)
class Mounted:
    """A mounted bucket, and the SDK's client beside it."""

    server: RunningEmulator
    bucket: str
    mount: Mount
    client: Any

    @property
    def path(self) -> Path:
        """Return where it is mounted."""
        return self.mount.path

    def keys(self) -> list[str]:
        """Return every key of the bucket."""
        return [item.key for item in self.client.list_all_objects(self.bucket)]

    def bytes_of(self, key: str) -> bytes:
        """Return an object's bytes."""
        data: bytes = self.client.get_object_as_string(self.bucket, key)
        return data

    def metadata_of(self, key: str) -> Any:
        """Return what HEAD says of an object."""
        return self.client.get_object_meta_data(self.bucket, key).metadata


def _text(path: Path) -> str | None:
    """Return a file's text, None where it grew since the mount looked last (ESTALE)."""
    try:
        return path.read_text()
    except OSError as exc:
        if exc.errno != errno.ESTALE:
            raise
        return None


@pytest.fixture
def beside(bos: RunningEmulator, tmp_path: Path) -> Iterator[Mounted]:
    """A fresh bucket, mounted with a `ttl` of one second."""
    bucket = bos.make_bucket()
    options = (f"endpoint={bos.endpoint}", "ttl=1")
    with mounted(f"bos://{bucket}", tmp_path, *options, environment=bos.environment) as mount:
        yield Mounted(bos, bucket, mount, sdk(bos))


def test_what_the_sdk_appends_is_read_here(beside: Mounted) -> None:
    beside.client.append_object_from_string(beside.bucket, "d/log", "one\n", offset=0)
    wait_until((beside.path / "d" / "log").exists)
    assert (beside.path / "d" / "log").read_text() == "one\n"
    beside.client.append_object_from_string(beside.bucket, "d/log", "two\n", offset=4)
    wait_until(lambda: _text(beside.path / "d" / "log") == "one\ntwo\n")


def test_an_appendable_object_is_a_file_like_others(beside: Mounted) -> None:
    beside.client.append_object_from_string(beside.bucket, "log", "one\n", offset=0)
    log = beside.path / "log"
    wait_until(log.exists)
    log.chmod(0o600)
    assert beside.metadata_of("log").bce_object_type == "Normal"
    log.rename(beside.path / "moved")
    with open(beside.path / "moved", "a") as file:
        file.write("two\n")
    assert stat.S_IMODE((beside.path / "moved").stat().st_mode) == 0o600
    assert beside.keys() == ["moved"]
    assert beside.bytes_of("moved") == b"one\ntwo\n"


def test_native_symlinks_are_symlinks(beside: Mounted) -> None:
    beside.client.put_object_from_string(beside.bucket, "d/target", "bytes")
    beside.client.put_object_symlink(beside.bucket, "d/target", "e/link")
    link = beside.path / "e" / "link"
    wait_until(lambda: os.path.lexists(link))
    assert os.readlink(link) == "../d/target"
    assert link.read_text() == "bytes"
    (beside.path / "d").rename(beside.path / "f")
    (beside.path / "e").rename(beside.path / "g")
    moved = beside.path / "g" / "moved"
    (beside.path / "g" / "link").rename(moved)
    assert os.readlink(moved) == "../d/target"
    assert not moved.exists()
    found = beside.client.get_object_symlink(beside.bucket, "g/moved").metadata
    assert found.bce_symlink_target == "d/target"
    moved.unlink()
    keys = beside.keys()
    assert [key for key in keys if not key.endswith("/")] == ["f/target"]


def test_a_bucket_may_be_named_by_the_host(beside: Mounted, tmp_path: Path) -> None:
    (beside.path / "d").mkdir()
    (beside.path / "d" / "f").write_bytes(b"bytes")
    options = (f"endpoint={beside.server.endpoint}", "addressing=virtual")
    environment, url = beside.server.environment, f"bos://{beside.bucket}/d"
    beside.server.knobs.seen.clear()
    with mounted(url, tmp_path, *options, environment=environment, name="virtual") as mount:
        assert (mount.path / "f").read_bytes() == b"bytes"
        (mount.path / "f").rename(mount.path / "g")
    assert all(ask.host.startswith(f"{beside.bucket}.") for ask in beside.server.knobs.seen)
    keys = beside.keys()
    assert [key for key in keys if not key.endswith("/")] == ["d/g"]


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "lost"])
def test_faults_on_the_way_lose_nothing(bos: RunningEmulator, tmp_path: Path, fault: str) -> None:
    data = os.urandom(12 * MIB)
    with faulty(bos.endpoint) as proxy:
        url, options = f"bos://{bos.make_bucket()}", f"endpoint={proxy.url},ttl=0"
        with mounted(url, tmp_path, options, environment=bos.environment) as mount:
            for number, method in enumerate(("PUT", "POST", "GET", "DELETE")):
                path = mount.path / f"f{number}"
                proxy.fail_next(1, fault, method)
                path.write_bytes(data)
                path.rename(mount.path / "renamed")
                proxy.fail_next(1, fault, method)
                assert (mount.path / "renamed").read_bytes() == data
                (mount.path / "renamed").unlink()
            assert os.listdir(mount.path) == []


def test_names_that_bos_cannot_hold_are_refused(beside: Mounted) -> None:
    assert error_of((beside.path / "photo@2x.png").touch) == "EINVAL"
    assert error_of((beside.path / ("x" * 256)).touch) == "ENAMETOOLONG"
    deep = beside.path.joinpath(*["d" * 200] * 4)
    deep.mkdir(parents=True)
    assert error_of((deep / ("x" * 250)).touch) == "ENAMETOOLONG"
    assert error_of(os.mkdir, os.fsencode(beside.path) + b"/\xff") == "EINVAL"
    assert "@" in beside.mount.log_text()
    keys = beside.keys()
    assert [key for key in keys if not key.startswith("d" * 200)] == []
