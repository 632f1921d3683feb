"""What was acknowledged survives kill -9 of the mount, and what was refused is not lost either."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounts.mounting import error_of, mounted
from tests.servers.s3_server import RunningS3

SIZES = {"empty": 0, "small": 1000, "row": 64 << 10, "spilled": 3 << 20, "parts": 20 << 20}


def _sums(folder: Path) -> dict[str, str]:
    """Return the names and the digests of all files below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_with_writeback_closed_files_survive_a_kill(radosgw: RunningS3, tmp_path: Path) -> None:
    url, environment = f"s3://{radosgw.make_bucket()}", radosgw.environment
    with faulty(radosgw.endpoint) as proxy:
        options = s3_options(radosgw).replace(radosgw.endpoint, proxy.url) + ",writeback,ttl=300"
        with mounted(url, tmp_path, options, environment=environment) as mount:
            folder = mount.path / "d"
            folder.mkdir()
            proxy.fail_always("reset", "PUT")
            proxied = len(proxy.seen)
            for name, size in SIZES.items():
                (folder / name).write_bytes(os.urandom(size))
            (folder / "temporary").write_text("renamed")
            (folder / "temporary").rename(folder / "final")
            (folder / "small").chmod(0o600)
            (folder / "gone").write_text("gone")
            (folder / "gone").unlink()
            expected = _sums(mount.path)
            mount.kill()
            assert [path for method, path in proxy.seen[proxied:] if "gone" in path] == []
        assert sorted(expected) == sorted(f"d/{name}" for name in (*SIZES, "final"))
        proxy.heal()
        with mounted(url, tmp_path, options, environment=environment) as mount:
            assert _sums(mount.path) == expected
            assert (mount.path / "d" / "small").stat().st_mode & 0o777 == 0o600
            assert mount.unmount() == 0
    assert list((tmp_path / "mnt.cache" / "spill").iterdir()) == []
    with mounted(url, tmp_path, s3_options(radosgw), environment=environment, name="cold") as cold:
        assert _sums(cold.path) == expected
        assert (cold.path / "d" / "small").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_what_close_could_not_save_survives_a_kill(
    radosgw: RunningS3, tmp_path: Path, size: int
) -> None:
    url, environment = f"s3://{radosgw.make_bucket()}", radosgw.environment
    data = os.urandom(size)
    with faulty(radosgw.endpoint) as proxy:
        options = s3_options(radosgw).replace(radosgw.endpoint, proxy.url) + ",timeout=2"
        with mounted(url, tmp_path, options, environment=environment) as mount:
            proxy.fail_always("403", "PUT")
            assert error_of((mount.path / "f").write_bytes, data) == "EACCES"
            assert (mount.path / "f").read_bytes() == data
            mount.kill()
        proxy.heal()
        with mounted(url, tmp_path, options, environment=environment) as mount:
            assert (mount.path / "f").read_bytes() == data
            assert mount.unmount() == 0
    client = radosgw.client()
    bucket = url.removeprefix("s3://")
    assert client.get_object(Bucket=bucket, Key="f")["Body"].read() == data


def test_fsync_waits_for_the_bucket_even_with_writeback(radosgw: RunningS3, tmp_path: Path) -> None:
    bucket = radosgw.make_bucket()
    options = s3_options(radosgw) + ",writeback"
    with mounted(f"s3://{bucket}", tmp_path, options, environment=radosgw.environment) as mount:
        client = radosgw.client()
        (mount.path / "d").mkdir()
        with open(mount.path / "d" / "f", "wb") as file:
            file.write(b"synced")
            file.flush()
            os.fsync(file.fileno())
            assert client.get_object(Bucket=bucket, Key="d/f")["Body"].read() == b"synced"
        # fsync of a directory is that of everything below it.
        for number in range(20):
            (mount.path / "d" / f"n{number}").write_text(str(number))
        descriptor = os.open(mount.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        keys = {o["Key"] for o in client.list_objects_v2(Bucket=bucket)["Contents"]}
        assert keys == {"d/", "d/f", *(f"d/n{number}" for number in range(20))}


def test_a_conflicting_copy_is_beside_the_file_of_others(
    radosgw: RunningS3, tmp_path: Path
) -> None:
    bucket, client = radosgw.make_bucket(), radosgw.client()
    options = s3_options(radosgw) + ",conflict=copy,ttl=1"
    with mounted(f"s3://{bucket}", tmp_path, options, environment=radosgw.environment) as mount:
        client.put_object(Bucket=bucket, Key="f.txt", Body=b"before")
        with open(mount.path / "f.txt", "r+b") as file:
            file.write(b"ours, longer")
            file.flush()
            client.put_object(Bucket=bucket, Key="f.txt", Body=b"theirs")
            assert error_of(os.fsync, file.fileno()) == "ESTALE"
        (name,) = [n for n in os.listdir(mount.path) if n.startswith("f.txt.conflict-")]
        assert (mount.path / name).read_bytes() == b"ours, longer"
        theirs = mount.path / "f.txt"
        wait_until(lambda: theirs.read_bytes() == b"theirs", "the file of others")
        assert client.get_object(Bucket=bucket, Key=name)["Body"].read() == b"ours, longer"
