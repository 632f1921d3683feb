"""A mounted COS bucket beside Tencent's SDK: what is special of COS (the rest is in `clouds`)."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.cos.refusals import refused
from tests.emulators.cos_client import sdk
from tests.emulators.serving import RunningEmulator
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

    def all_keys(self) -> list[str]:
        """Return every key of the bucket."""
        page = self.client.list_objects(Bucket=self.bucket)
        return [item["Key"] for item in page.get("Contents", ())]

    def bytes_of(self, key: str) -> bytes:
        """Return an object's bytes."""
        answer = self.client.get_object(Bucket=self.bucket, Key=key)
        data: bytes = answer["Body"].get_raw_stream().read()
        return data

    def head(self, key: str) -> Any:
        """Return what HEAD says of an object."""
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def append(self, key: str, position: int, data: bytes) -> None:
        """Append to an object beside the mount."""
        self.client.append_object(Bucket=self.bucket, Key=key, Position=position, Data=data)


def _text(path: Path) -> str | None:
    """Return a file's text, None where it grew since the mount looked last (ESTALE)."""
    try:
        return path.read_text()
    except OSError as exc:
        if exc.errno != errno.ESTALE:
            raise
        return None


@pytest.fixture
def beside(cos: RunningEmulator, tmp_path: Path) -> Iterator[Mounted]:
    """A fresh bucket, mounted with a `ttl` of one second."""
    bucket = cos.make_bucket()
    options = (f"endpoint={cos.endpoint}", "ttl=1")
    with mounted(f"cos://{bucket}", tmp_path, *options, environment=cos.environment) as mount:
        yield Mounted(cos, bucket, mount, sdk(cos))
    cos.knobs.reset()


def test_what_the_sdk_writes_is_read_here(beside: Mounted, tmp_path: Path) -> None:
    data = os.urandom(9 * MIB)
    (tmp_path / "theirs").write_bytes(data)
    beside.client.upload_file(
        Bucket=beside.bucket, Key="d/theirs", LocalFilePath=str(tmp_path / "theirs"), PartSize=2
    )
    beside.append("d/log", 0, b"one\n")
    log = beside.path / "d" / "log"
    wait_until(log.exists)
    assert (beside.path / "d" / "theirs").read_bytes() == data
    assert log.read_text() == "one\n"
    beside.append("d/log", 4, b"two\n")
    wait_until(lambda: _text(log) == "one\ntwo\n")


def test_an_appendable_object_is_a_file_like_others(beside: Mounted) -> None:
    beside.append("log", 0, b"one\n")
    log = beside.path / "log"
    wait_until(log.exists)
    log.chmod(0o600)
    log.rename(beside.path / "moved")
    with open(beside.path / "moved", "a") as file:
        file.write("two\n")
    assert stat.S_IMODE((beside.path / "moved").stat().st_mode) == 0o600
    assert beside.all_keys() == ["moved"]
    assert beside.bytes_of("moved") == b"one\ntwo\n"
    assert beside.head("moved")["x-cos-object-type"] == "normal"


def test_a_large_appendable_object_is_edited(beside: Mounted) -> None:
    data = bytearray(os.urandom(24 * MIB))
    beside.append("log", 0, bytes(data))
    log = beside.path / "log"
    wait_until(log.exists)
    with open(log, "r+b") as file:
        file.seek(12 * MIB)
        file.write(b"changed")
    data[12 * MIB : 12 * MIB + 7] = b"changed"
    assert beside.bytes_of("log") == data


def test_a_native_symlink_is_what_it_points_at(beside: Mounted) -> None:
    beside.client.put_object(Bucket=beside.bucket, Key="d/target", Body=b"bytes")
    beside.client.put_symlink(Bucket=beside.bucket, SymlinkName="d/link", SymlinkTarget="d/target")
    link = beside.path / "d" / "link"
    wait_until(link.exists)
    assert link.stat().st_size == 5
    assert link.read_bytes() == b"bytes"


def test_a_storage_class_of_a_mount(cos: RunningEmulator, tmp_path: Path) -> None:
    bucket = cos.make_bucket()
    options = (f"endpoint={cos.endpoint}", "storage_class=STANDARD_IA", "traffic_limit=10M")
    with mounted(f"cos://{bucket}", tmp_path, *options, environment=cos.environment) as mount:
        (mount.path / "f").write_bytes(b"x" * MIB)
        (mount.path / "f").chmod(0o600)
        (mount.path / "f").rename(mount.path / "g")
    head = sdk(cos).head_object(Bucket=bucket, Key="g")
    assert head["x-cos-storage-class"] == "STANDARD_IA"
    limits = {ask.headers.get("x-cos-traffic-limit") for ask in cos.knobs.seen}
    assert str(10 * MIB * 8) in limits
    cos.knobs.reset()


def test_archived_objects_say_so(beside: Mounted) -> None:
    where = {"Bucket": beside.bucket, "Key": "cold"}
    beside.client.put_object(**where, Body=b"x" * 100, StorageClass="ARCHIVE")
    cold = beside.path / "cold"
    wait_until(cold.exists)
    assert cold.stat().st_size == 100
    assert error_of(cold.read_bytes) == "EIO"
    assert "archived" in beside.mount.log_text()


def test_a_server_that_asks_for_fewer_requests(beside: Mounted) -> None:
    beside.server.knobs.refuse_next(6, lambda ask: refused(503, "SlowDown"))
    (beside.path / "f").write_bytes(b"patience")
    assert beside.bytes_of("f") == b"patience"


def test_names_that_cos_cannot_hold_are_refused(beside: Mounted) -> None:
    deep = beside.path.joinpath(*["d" * 200] * 3)
    deep.mkdir(parents=True)
    assert error_of((deep / ("x" * 250)).touch) == "ENAMETOOLONG"
    assert error_of(os.mkdir, os.fsencode(beside.path) + b"/\xff") == "EINVAL"
    assert [key for key in beside.all_keys() if not key.startswith("d" * 200)] == []


def test_a_wrong_secret_is_one_clear_line(cos: RunningEmulator, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bucketfs", "mount", f"cos://{cos.make_bucket()}"]
    done = subprocess.run(
        [*command, tmp_path, "--foreground", "-o", f"endpoint={cos.endpoint}"],
        capture_output=True,
        text=True,
        env={**os.environ, **cos.environment, "COS_SECRET_KEY": "wrong"},
    )
    assert done.returncode != 0
    assert "the SecretKey is wrong" in done.stderr
    assert "Traceback" not in done.stderr
