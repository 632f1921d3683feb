"""A server that fails, a mount that is killed: nothing acknowledged is lost, nothing is guessed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import FaultyServer, faulty
from tests.mounts.mounting import Mount, error_of, mounted
from tests.servers.s3_server import RunningS3

BIG = os.urandom(30 << 20)


@pytest.fixture
def proxy(moto: RunningS3) -> Iterator[FaultyServer]:
    """A faulty proxy before moto."""
    with faulty(moto.endpoint) as server:
        yield server


@pytest.fixture
def bucket(moto: RunningS3) -> str:
    """A fresh bucket."""
    return moto.make_bucket()


@pytest.fixture
def mount(
    proxy: FaultyServer,
    moto: RunningS3,
    bucket: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Mount]:
    """The bucket mounted through the proxy; the parameter is its patience, `timeout=`."""
    timeout_s = getattr(request, "param", 4)
    options = [f"endpoint={proxy.url}", "region=us-east-1", "addressing=path", "ttl=0"]
    options += [f"timeout={timeout_s}"]
    with mounted(f"s3://{bucket}", tmp_path, *options, environment=moto.environment) as mount:
        yield mount


def test_passing_faults_are_not_seen(
    mount: Mount, proxy: FaultyServer, moto: RunningS3, bucket: str
) -> None:
    for fault in ("503", "reset", "cut", "lost"):
        for method in ("GET", "PUT", "HEAD", "POST"):
            proxy.fail_next(2, fault, method)
            path = mount.path / f"{fault}-{method}"
            path.write_bytes(BIG if method == "POST" else b"small")
            proxy.fail_next(1, fault, method)
            assert path.read_bytes() == (BIG if method == "POST" else b"small")
    proxy.heal()
    client = moto.client()
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        assert body in (BIG, b"small"), item["Key"]


@pytest.mark.parametrize("mount", [1], indirect=True)
def test_a_dead_server_is_an_error_and_not_an_empty_bucket(
    mount: Mount, proxy: FaultyServer
) -> None:
    (mount.path / "f").write_text("kept")
    (mount.path / "d").mkdir()
    proxy.fail_always("reset")
    assert error_of(os.stat, mount.path / "f") == "EIO"
    assert error_of(os.listdir, mount.path) == "EIO"
    assert error_of(os.stat, mount.path / "never") == "EIO"
    proxy.heal()
    assert (mount.path / "f").read_text() == "kept"
    assert sorted(os.listdir(mount.path)) == ["d", "f"]


def _write_and_close(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [100, len(BIG)])
def test_what_could_not_be_saved_is_an_error_and_is_saved_later(
    mount: Mount, proxy: FaultyServer, moto: RunningS3, bucket: str, size: int
) -> None:
    (mount.path / "first").write_text("to be mounted and warm")
    proxy.fail_always("503", "PUT")
    assert error_of(_write_and_close, mount.path / "f", BIG[:size]) in ("EIO", "EAGAIN")
    assert (mount.path / "f").stat().st_size == size
    proxy.heal()
    assert (mount.path / "f").read_bytes() == BIG[:size]
    assert mount.unmount() == 0
    body = moto.client().get_object(Bucket=bucket, Key="f")["Body"].read()
    assert body == BIG[:size]


def test_kill_9_loses_nothing_that_close_acknowledged(
    mount: Mount, moto: RunningS3, bucket: str
) -> None:
    for number in range(20):
        (mount.path / f"f{number}").write_bytes(str(number).encode() * 1000)
    (mount.path / "big").write_bytes(BIG)
    fd = os.open(mount.path / "synced", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"synced")
    os.fsync(fd)
    os.write(fd, b" and not synced")
    mount.kill()
    assert error_of(os.close, fd) in ("ok", "ENOTCONN")
    client = moto.client()

    def body(key: str) -> bytes:
        data: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    for number in range(20):
        assert body(f"f{number}") == str(number).encode() * 1000
    assert body("big") == BIG
    assert body("synced") == b"synced"


def test_a_killed_writer_leaves_nothing_half_written(
    mount: Mount, moto: RunningS3, bucket: str
) -> None:
    (mount.path / "big").write_bytes(b"old version")
    with open(mount.path / "big", "wb") as file:
        file.write(BIG[: 20 << 20])
        file.flush()
        time.sleep(0.5)
        mount.kill()
        shutil.rmtree(mount.path, ignore_errors=True)
        error_of(file.close)
    body = moto.client().get_object(Bucket=bucket, Key="big")["Body"].read()
    assert body in (b"old version", b"")


@pytest.mark.parametrize("mount", [1], indirect=True)
def test_a_hanging_server_does_not_hang_the_mount_for_ever(
    mount: Mount, proxy: FaultyServer
) -> None:
    (mount.path / "f").write_text("x")
    proxy.fail_always("hang", "GET")
    began = time.monotonic()
    assert error_of(os.listdir, mount.path) in ("EIO", "ETIMEDOUT")
    assert time.monotonic() - began < 60
    proxy.released.set()
    proxy.heal()
    assert os.listdir(mount.path) == ["f"]
