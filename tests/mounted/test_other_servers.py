"""A day's work on each of the other S3 servers: what must hold wherever one mounts.

radosgw is the judge of the details (clouds/). moto is flat as Amazon is; rclone and juicefs sit
on a folder: a name is a file or a directory there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.mounted.conftest import s3_options
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20


@pytest.fixture(params=["moto", "juicefs"])
def server(request: pytest.FixtureRequest) -> RunningS3:
    """Each of the servers on which directories can be made."""
    found: RunningS3 = request.getfixturevalue(request.param)
    return found


def test_a_days_work(server: RunningS3, tmp_path: Path) -> None:
    bucket = server.make_bucket()
    client = server.client()
    client.put_object(Bucket=bucket, Key="theirs/f.txt", Body=b"by boto3")
    data = os.urandom(MIB) * 21 + b"end"
    url, options = f"s3://{bucket}", (s3_options(server), "ttl=1")
    with mounted(url, tmp_path, *options, environment=server.environment) as mount:
        top = mount.path
        assert (top / "theirs" / "f.txt").read_bytes() == b"by boto3"
        (top / "d" / "inner").mkdir(parents=True)
        for number in range(20):
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
        os.truncate(top / "new" / "f19", 7)
    expected = data[: 10 * MIB] + b"edited" + data[10 * MIB + 6 :]
    assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == expected
    assert client.get_object(Bucket=bucket, Key="moved")["Body"].read() == b"xxxappended"
    with mounted(url, tmp_path, *options, environment=server.environment, name="cold") as mount:
        top = mount.path
        assert sorted(os.listdir(top)) == ["big", "link", "moved", "new", "theirs"]
        left = {"inner", *(f"f{n}" for n in range(1, 20) if n != 3)}
        assert set(os.listdir(top / "new")) == left
        assert (top / "big").read_bytes() == expected
        assert (top / "new" / "f19").read_bytes() == b"x" * 7
        state = (top / "moved").stat()
        assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o751, 10**18 + 1)
        assert os.readlink(top / "link") == "moved"
        for path in sorted(top.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert os.listdir(top) == []
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_files_on_rclone(rclone: RunningS3, tmp_path: Path) -> None:
    """Make no directories: below a marker, rclone writes nothing."""
    bucket = rclone.make_bucket()
    client = rclone.client()
    client.put_object(Bucket=bucket, Key="f.txt", Body=b"by boto3")
    data = os.urandom(MIB) * 21 + b"end"
    url, options = f"s3://{bucket}", (s3_options(rclone), "ttl=1")
    with mounted(url, tmp_path, *options, environment=rclone.environment) as mount:
        top = mount.path
        assert (top / "f.txt").read_bytes() == b"by boto3"
        (top / "big").write_bytes(data)
        with open(top / "big", "r+b") as file:
            file.seek(10 * MIB)
            file.write(b"edited")
        (top / "f.txt").rename(top / "moved")
        with open(top / "moved", "ab") as file:
            file.write(b", appended")
        (top / "gone").write_bytes(b"x")
        (top / "gone").unlink()
    expected = data[: 10 * MIB] + b"edited" + data[10 * MIB + 6 :]
    assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == expected
    with mounted(url, tmp_path, *options, environment=rclone.environment, name="cold") as mount:
        top = mount.path
        assert sorted(os.listdir(top)) == ["big", "moved"]
        assert (top / "moved").read_bytes() == b"by boto3, appended"
        assert (top / "big").read_bytes() == expected
