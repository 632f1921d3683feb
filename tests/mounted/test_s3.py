"""A mounted S3 bucket as other programs see it: boto3 beside the mount, s3fs on the bucket."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.mounted.conftest import MountedS3, s3_options
from tests.mounted.test_command_line import bucketfs
from tests.mounts.mounting import is_mounted, mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20


def test_a_file_is_one_object(mounted_s3: MountedS3) -> None:
    (mounted_s3.path / "d").mkdir()
    path = mounted_s3.path / "d" / "page.html"
    path.write_text("<p>")
    path.chmod(0o640)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    client = mounted_s3.server.client()
    answer = client.get_object(Bucket=mounted_s3.bucket, Key="d/page.html")
    assert answer["Body"].read() == b"<p>"
    assert answer["ContentType"] == "text/html"
    metadata = answer["Metadata"]
    assert int(metadata["mode"]) == 0o100640
    assert metadata["mtime"] == "1600000000.987654321"
    assert metadata["uid"] == str(os.getuid())
    assert client.head_object(Bucket=mounted_s3.bucket, Key="d/")["ContentLength"] == 0


def test_objects_of_boto3_appear_and_are_seen_changed(mounted_s3: MountedS3) -> None:
    client = mounted_s3.server.client()
    assert os.listdir(mounted_s3.path) == []
    client.put_object(Bucket=mounted_s3.bucket, Key="a/b/c.txt", Body=b"first")
    wait_for(mounted_s3.path / "a" / "b" / "c.txt", b"first")
    client.put_object(Bucket=mounted_s3.bucket, Key="a/b/c.txt", Body=b"another")
    wait_for(mounted_s3.path / "a" / "b" / "c.txt", b"another")
    client.delete_object(Bucket=mounted_s3.bucket, Key="a/b/c.txt")
    wait_for(mounted_s3.path / "a", None)


def wait_for(path: Path, content: bytes | None) -> None:
    """Wait until `path` has `content`, or (None) is gone; at most ttl and some patience."""
    deadline = time.monotonic() + 10
    while (path.read_bytes() if path.is_file() else None) != content or (
        content is None and path.exists()
    ):
        assert time.monotonic() < deadline, path
        time.sleep(0.1)


def test_a_large_file_by_parts(mounted_s3: MountedS3) -> None:
    data = os.urandom(21 * MIB + 17)
    (mounted_s3.path / "big").write_bytes(data)
    client = mounted_s3.server.client()
    answer = client.get_object(Bucket=mounted_s3.bucket, Key="big")
    assert "-" in answer["ETag"], "it was to be a multipart upload"
    assert answer["Body"].read() == data
    with open(mounted_s3.path / "big", "r+b") as file:
        file.seek(10 * MIB)
        file.write(b"changed")
    expected = data[: 10 * MIB] + b"changed" + data[10 * MIB + 7 :]
    assert client.get_object(Bucket=mounted_s3.bucket, Key="big")["Body"].read() == expected


def test_s3fs_sees_the_same_tree(mounted_s3: MountedS3, tmp_path: Path) -> None:
    top = mounted_s3.path
    (top / "dir").mkdir(mode=0o750)
    (top / "dir" / "file").write_bytes(b"seen by both")
    (top / "dir" / "file").chmod(0o604)
    os.chown(top / "dir" / "file", 1234, 2345)
    os.utime(top / "dir" / "file", (1_500_000_000, 1_600_000_000))
    os.symlink("dir/file", top / "link")
    theirs = tmp_path / "s3fs"
    theirs.mkdir()
    with mounted_by_s3fs(mounted_s3, theirs, tmp_path):
        assert tree_of(theirs) == tree_of(top)
        (theirs / "dir" / "theirs").write_bytes(b"by s3fs")
        (theirs / "dir" / "theirs").chmod(0o611)
        os.symlink("nowhere", theirs / "dir" / "their link")
        os.utime(theirs / "dir" / "theirs", (1_500_000_001, 1_600_000_001))
        time.sleep(2)  # longer than ttl
        assert tree_of(top) == tree_of(theirs)


class mounted_by_s3fs:
    """Mount the bucket with s3fs for the time of the block."""

    def __init__(self, mounted_s3: MountedS3, path: Path, folder: Path) -> None:
        server = mounted_s3.server
        passwords = folder / "s3fs.passwords"
        passwords.write_text(f"{server.access_key}:{server.secret_key}")
        passwords.chmod(0o600)
        options = f"url={server.endpoint},use_path_request_style,passwd_file={passwords}"
        self._command = ["s3fs", mounted_s3.bucket, str(path), "-o", options]
        self._path = path

    def __enter__(self) -> None:
        subprocess.run(self._command, check=True, timeout=30)
        deadline = time.monotonic() + 10
        while not is_mounted(self._path):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def __exit__(self, *exc: object) -> None:
        subprocess.run(["fusermount3", "-uz", self._path], check=False)


def tree_of(top: Path) -> dict[str, object]:
    """Return what a person sees of each entry: type, mode, owner, size, mtime, target or bytes."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if is_file else None
        times = int(state.st_mtime) if is_file else None
        name = path.relative_to(top).as_posix()
        mode = state.st_mode if not path.is_symlink() else None
        found[name] = (mode, state.st_uid, state.st_gid, times, content)
    return found


def test_a_prefix_mount_is_its_own_root(radosgw: RunningS3, tmp_path: Path) -> None:
    bucket = radosgw.make_bucket()
    client = radosgw.client()
    client.put_object(Bucket=bucket, Key="outside", Body=b"0")
    client.put_object(Bucket=bucket, Key="deep/inside", Body=b"1")
    options = s3_options(radosgw)
    environment = radosgw.environment
    with mounted(f"s3://{bucket}/deep", tmp_path, options, environment=environment) as mount:
        assert os.listdir(mount.path) == ["inside"]
        (mount.path / "new").write_bytes(b"2")
    assert client.get_object(Bucket=bucket, Key="deep/new")["Body"].read() == b"2"


@pytest.mark.parametrize("kind", ["bucket", "secret", "key"])
def test_a_wrong_bucket_or_key_fails_before_mounting(
    radosgw: RunningS3, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    bucket = "no-such-bucket-here" if kind == "bucket" else radosgw.make_bucket()
    environment = dict(radosgw.environment)
    if kind == "secret":
        environment["AWS_SECRET_ACCESS_KEY"] = "not-the-secret-of-this-key"
    elif kind == "key":
        environment["AWS_ACCESS_KEY_ID"] = "UNKNOWNKEY0000001"
    options = f"{s3_options(radosgw)},cache_dir={tmp_path / 'c'},log_file={tmp_path / 'log'}"
    done = bucketfs("mount", f"s3://{bucket}", place, "-o", options, **environment)
    assert done.returncode == 1
    assert not is_mounted(place)
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("bucketfs: error: ")
    assert "bug" not in done.stderr
    assert "not-the-secret" not in done.stderr
    reason = "no such bucket" if kind == "bucket" else "credentials"
    assert f"cannot mount s3://{bucket}: " in done.stderr
    assert reason in done.stderr
