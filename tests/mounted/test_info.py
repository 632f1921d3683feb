"""`bucketfs info` and `user.bucketfs.*`: what a mount tells of one file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounted.test_command_line import bucketfs
from tests.mounts.mounting import error_of, mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20


def info(*paths: Path) -> list[dict[str, Any]]:
    done = bucketfs("info", "--json", *paths)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def told(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.bucketfs.{name}").decode()


@pytest.mark.mounted
def test_what_the_object_is_comes_from_the_bucket(moto: RunningS3, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    client = moto.client()
    put = client.put_object(
        Bucket=bucket, Key="top/d/f", Body=b"data" * 10, ContentType="text/x", Metadata={"a": "b"}
    )
    client.put_object(Bucket=bucket, Key="top/d/g", Body=b"")
    url = f"s3://{bucket}/top"
    with mounted(url, tmp_path, s3_options(moto), environment=moto.environment) as mount:
        file = mount.path / "d" / "f"
        found, folder = info(file, file.parent)
        assert told(file, "etag") == put["ETag"].strip('"')
        assert told(file, "key") == "top/d/f"
        assert told(file, "url") == f"{url}/d/f"
        assert told(file, "content_type") == "text/x"
        assert told(file, "size") == "40"
        assert told(file, "state") == "clean"
        assert json.loads(told(file, "info")) == found
        plain = bucketfs("info", file).stdout.splitlines()
        missing = bucketfs("info", mount.path / "none", file)
    assert found["etag"] == found["version"] == put["ETag"].strip('"')
    assert (found["path"], found["key"], found["type"]) == ("/d/f", "top/d/f", "file")
    assert found["metadata"] == {"a": "b"}
    assert found["attributes"]["mode"] == "0644"
    assert (folder["type"], folder["key"], folder["etag"]) == ("directory", "top/d/", None)
    assert "key\ttop/d/f" in plain
    assert missing.returncode == 1
    assert "No such file" in missing.stderr
    assert "top/d/f" in missing.stdout, "the other one is shown all the same"


@pytest.mark.mounted
def test_they_are_in_no_list_and_cannot_be_set(bucket_folder: Path, tmp_path: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        file = mount.path / "f"
        file.write_bytes(b"data")
        os.setxattr(file, "user.mine", b"1")
        assert os.listxattr(file) == ["user.mine"]
        for name in ("user.bucketfs.key", "user.bucketfs.new"):
            assert error_of(os.setxattr, file, name, b"x") == "ENOTSUP"
            assert error_of(os.removexattr, file, name) == "ENOTSUP"
        assert error_of(os.getxattr, file, "user.bucketfs.nothing") == "ENODATA"
        assert error_of(os.getxattr, file, "user.bucketfs.") == "ENODATA"
        subprocess.run(["cp", "-a", file, mount.path / "copy"], check=True, timeout=60)
        assert os.listxattr(mount.path / "copy") == ["user.mine"]
        assert told(mount.path / "copy", "key") == "copy"
        (mount.path / "link").symlink_to("f")
        (link,) = info(mount.path / "link")
        assert (link["type"], link["key"]) == ("symlink", "link")


@pytest.mark.mounted
def test_what_is_known_is_told_without_a_request(moto: RunningS3, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="f", Body=b"x" * (3 * MIB))
    with (
        faulty(moto.endpoint) as proxy,
        mounted(
            f"s3://{bucket}",
            tmp_path,
            s3_options(moto).replace(moto.endpoint, proxy.url),
            "ttl=300",
            "read_cache=64M",
            environment=moto.environment,
        ) as mount,
    ):
        file = mount.path / "f"
        os.listdir(mount.path)
        os.stat(file)
        before = len(proxy.seen)
        for name in ("key", "etag", "size", "state", "url"):
            told(file, name)
        assert len(proxy.seen) == before, "the listing said all of that"
        told(file, "content_type")
        asked = len(proxy.seen)
        assert asked - before <= 1
        told(file, "content_type")
        info(file)
        assert len(proxy.seen) == asked
        file.read_bytes()
        wait_until(lambda: told(file, "cached_bytes") == str(3 * MIB), "the disk cache")
        assert int(told(file, "memory_bytes")) <= 3 * MIB


@pytest.mark.mounted
def test_states_from_the_first_byte_to_the_bucket(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        url = f"s3://{moto.make_bucket()}"
        options = (s3_options(moto).replace(moto.endpoint, proxy.url), "timeout=1", "writeback")
        with mounted(url, tmp_path, *options, environment=moto.environment) as mount:
            file = mount.path / "f"
            with file.open("wb", buffering=0) as stream:
                stream.write(b"x" * 1000)
                (found,) = info(file)
                assert (found["state"], found["unsaved_bytes"]) == ("dirty", 1000)
                assert found["memory_bytes"] == 1000
                proxy.fail_always("503", "PUT")
            wait_until(lambda: told(file, "state").startswith("kept: "), limit_s=40)
            (found,) = info(file)
            assert found["attempts"] >= 1
            assert "503" in found["last_error"]
            assert found["etag"] is None
            proxy.heal()
            assert bucketfs("sync", file).returncode == 0
            assert told(file, "state") == "clean"
            assert told(file, "etag")


@pytest.mark.mounted
def test_an_upload_tells_how_far_it_is(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        url = f"s3://{moto.make_bucket()}"
        options = (s3_options(moto).replace(moto.endpoint, proxy.url), "part_size=5M", "timeout=60")
        with mounted(url, tmp_path, *options, "writeback", environment=moto.environment) as mount:
            file = mount.path / "large"
            with file.open("wb", buffering=0) as stream:
                for _ in range(20):
                    stream.write(os.urandom(MIB))
                wait_until(lambda: info(file)[0]["sent_bytes"] >= 15 * MIB, "three parts")
                proxy.fail_always("503", "POST")  # the commit
            wait_until(lambda: told(file, "state") == "uploading 100%", limit_s=20)
            proxy.heal()
            assert bucketfs("sync", file).returncode == 0
            assert int(told(file, "parts")) > 1
            assert told(file, "state") == "clean"
