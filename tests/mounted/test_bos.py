"""A mounted BOS bucket beside Baidu's SDK: what one writes the other reads."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.bce_client_configuration import BceClientConfiguration
from baidubce.services.bos.bos_client import BosClient

from tests.emulators.bos.cloud import ACCESS_KEY, SECRET_KEY
from tests.emulators.serving import RunningEmulator
from tests.faults.proxy import faulty
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


@pytest.fixture
def beside(bos: RunningEmulator, tmp_path: Path) -> Iterator[Mounted]:
    """A fresh bucket, mounted with a `ttl` of one second."""
    bucket = bos.make_bucket()
    client = BosClient(
        BceClientConfiguration(
            credentials=BceCredentials(ACCESS_KEY, SECRET_KEY), endpoint=bos.endpoint
        )
    )
    options = (f"endpoint={bos.endpoint}", "ttl=1")
    with mounted(f"bos://{bucket}", tmp_path, *options, environment=bos.environment) as mount:
        yield Mounted(bos, bucket, mount, client)


def test_what_is_written_here_the_sdk_reads(beside: Mounted) -> None:
    folder = beside.path / "目录"
    folder.mkdir()
    small = folder / "a b.txt"
    small.write_text("small")
    small.chmod(0o640)
    large = os.urandom(20 * MIB)
    (folder / "large").write_bytes(large)
    with open(small, "a") as file:
        file.write(" and more")
    small.rename(folder / "renamed.txt")
    assert beside.keys() == ["目录/", "目录/large", "目录/renamed.txt"]
    assert beside.bytes_of("目录/renamed.txt") == b"small and more"
    assert beside.bytes_of("目录/large") == large
    found = beside.metadata_of("目录/renamed.txt")
    assert int(found.bce_meta_mode) == stat.S_IFREG | 0o640
    assert found.content_type == "text/plain"


def test_what_the_sdk_writes_is_read_here(beside: Mounted) -> None:
    data = os.urandom(9 * MIB)
    beside.client.put_object_from_string(beside.bucket, "d/theirs", data)
    beside.client.append_object_from_string(beside.bucket, "d/log", "one\n", offset=0)
    wait_until((beside.path / "d" / "log").exists)
    assert (beside.path / "d" / "theirs").read_bytes() == data
    assert (beside.path / "d" / "log").read_text() == "one\n"
    beside.client.append_object_from_string(beside.bucket, "d/log", "two\n", offset=4)
    wait_until(lambda: (beside.path / "d" / "log").read_text() == "one\ntwo\n")


def test_an_appendable_object_is_a_file_like_others(beside: Mounted) -> None:
    beside.client.append_object_from_string(beside.bucket, "log", "one\n", offset=0)
    log = beside.path / "log"
    wait_until(log.exists)
    log.chmod(0o600)
    assert beside.metadata_of("log").bce_object_type == "Appendable"
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


def test_edits_send_what_changed(beside: Mounted) -> None:
    data = bytearray(os.urandom(24 * MIB))
    path = beside.path / "f"
    path.write_bytes(data)
    beside.server.knobs.seen.clear()
    with open(path, "r+b") as file:
        file.seek(12 * MIB)
        file.write(b"changed")
    data[12 * MIB : 12 * MIB + 7] = b"changed"
    assert beside.bytes_of("f") == data
    sent = sum(len(ask.body) for ask in beside.server.knobs.seen if ask.method == "PUT")
    assert sent < 16 * MIB


def test_a_cold_mount_finds_all(beside: Mounted, tmp_path: Path) -> None:
    (beside.path / "d").mkdir()
    (beside.path / "d" / "f").write_bytes(b"x" * MIB)
    (beside.path / "d" / "f").chmod(0o600)
    (beside.path / "d" / "l").symlink_to("f")
    os.setxattr(beside.path / "d" / "f", "user.name", b"value \xff")
    assert beside.mount.unmount() == 0
    options = (f"endpoint={beside.server.endpoint}", "addressing=virtual")
    environment = beside.server.environment
    url = f"bos://{beside.bucket}/d"
    with mounted(url, tmp_path, *options, environment=environment, name="cold") as cold:
        listed = subprocess.run(["ls", "-l", cold.path], capture_output=True, text=True, check=True)
        assert "l -> f" in listed.stdout
        assert stat.S_IMODE((cold.path / "f").stat().st_mode) == 0o600
        assert (cold.path / "l").read_bytes() == b"x" * MIB
        assert os.getxattr(cold.path / "f", "user.name") == b"value \xff"


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
