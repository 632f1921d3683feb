"""Mounts of what Libcloud reaches: what is special of them (the rest is in `clouds`)."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tests.mounts.mounting import error_of, mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20


def environment_of(server: RunningS3) -> Mapping[str, str]:
    """Return the variables that a driver for `server` is made of."""
    return {"LIBCLOUD_KEY": server.access_key, "LIBCLOUD_SECRET": server.secret_key}


def test_a_days_work_by_the_s3_driver(radosgw: RunningS3, tmp_path: Path) -> None:
    bucket, client = radosgw.make_bucket(), radosgw.client()
    client.put_object(Bucket=bucket, Key="theirs/f.txt", Body=b"by boto3")
    data = os.urandom(MIB) * 21 + b"end"
    url, options = f"libcloud+s3://{bucket}", f"endpoint={radosgw.endpoint},region=us-east-1"
    environment = environment_of(radosgw)
    with mounted(url, tmp_path, options, "ttl=1", environment=environment) as mount:
        top = mount.path
        assert (top / "theirs" / "f.txt").read_bytes() == b"by boto3"
        (top / "d").mkdir()
        for number in range(5):
            (top / "d" / f"f{number}").write_bytes(b"x" * number)
        (top / "big").write_bytes(data)
        with open(top / "big", "r+b") as file:
            file.seek(10 * MIB)
            file.write(b"edited")
        (top / "d" / "f3").rename(top / "moved")
        (top / "d").rename(top / "new")
        (top / "moved").chmod(0o751)
        with open(top / "moved", "ab") as file:
            file.write(b"appended")
        os.utime(top / "moved", ns=(10**18, 10**18 + 1))
        (top / "new" / "f0").unlink()
        os.symlink("moved", top / "link")
    expected = data[: 10 * MIB] + b"edited" + data[10 * MIB + 6 :]
    assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == expected
    assert client.get_object(Bucket=bucket, Key="moved")["Body"].read() == b"xxxappended"
    with mounted(url, tmp_path, options, environment=environment, name="cold") as mount:
        top = mount.path
        assert sorted(os.listdir(top)) == ["big", "link", "moved", "new", "theirs"]
        assert sorted(os.listdir(top / "new")) == ["f1", "f2", "f4"]
        assert (top / "big").read_bytes() == expected
        state = (top / "moved").stat()
        assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o751, 10**18 + 1)
        assert os.readlink(top / "link") == "moved"
        for path in sorted(top.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert os.listdir(top) == []


def test_s3_and_libcloud_see_the_same_files(radosgw: RunningS3, tmp_path: Path) -> None:
    bucket = radosgw.make_bucket()
    options = f"endpoint={radosgw.endpoint},region=us-east-1"
    environment = {**radosgw.environment, **environment_of(radosgw)}
    with mounted(f"s3://{bucket}", tmp_path, options, environment=environment) as mount:
        (mount.path / "grün").write_bytes(b"by s3")
        os.setxattr(mount.path / "grün", "user.ü", "日本  \x01".encode())
        (mount.path / "grün").chmod(0o604)
    url = f"libcloud+s3://{bucket}"
    with mounted(url, tmp_path, options, environment=environment, name="libcloud") as mount:
        path = mount.path / "grün"
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
        assert os.getxattr(path, "user.ü") == "日本  \x01".encode()
        path.rename(mount.path / "renamed")
    with mounted(f"s3://{bucket}", tmp_path, options, environment=environment, name="s3") as mount:
        assert os.getxattr(mount.path / "renamed", "user.ü") == "日本  \x01".encode()
        assert stat.S_IMODE((mount.path / "renamed").stat().st_mode) == 0o604


def test_a_folder_by_the_local_driver(tmp_path: Path) -> None:
    box = tmp_path / "store" / "box"
    box.mkdir(parents=True)
    environment = {"LIBCLOUD_KEY": str(tmp_path / "store")}
    with mounted("libcloud+LOCAL://box", tmp_path, environment=environment) as mount:
        top = mount.path
        (top / "d").mkdir()
        assert (box / "d" / ".bucketfs-directory").read_bytes() == b""
        (top / "d" / "f").write_bytes(b"bytes")
        assert error_of(os.symlink, "x", top / "link") == "ENOTSUP"
        assert error_of(os.mkfifo, top / "fifo") == "ENOTSUP"
        assert error_of((top / "d" / ".bucketfs-directory").write_bytes, b"x") == "EINVAL"
        assert os.listdir(top) == ["d"]
    assert (box / "d" / "f").read_bytes() == b"bytes"
