"""kill -9 in the middle of a rename: the next mount shows one name, with everything."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounts.mounting import Mount, mounted
from tests.servers.s3_server import RunningS3

FILES = 30
COPIES_BEFORE = 12


def stop_at(proxy: FaultyServer, method: str, text: str, after: int = 0) -> threading.Event:
    """Let a request hang, and all that follow, once `after` others like it were answered."""
    reached, lock, left = threading.Event(), threading.Lock(), [after]

    def rule(this: str, path: str) -> str | None:
        with lock:
            if this == method and text in path:
                left[0] -= 1
            if left[0] < 0:
                reached.set()
            return "hang" if reached.is_set() else None

    proxy.rule = rule
    return reached


def kill_in_rename(
    mount: Mount, proxy: FaultyServer, reached: threading.Event, *names: str
) -> None:
    """Rename in another process, which hangs, and kill the mount under it."""
    renaming = subprocess.Popen(["mv", "-T", *(mount.path / name for name in names)])
    try:
        wait_until(reached.is_set, "the request")
        mount.kill()
    finally:
        mount.process.kill()
        renaming.wait()
    proxy.heal()
    proxy.released.set()


def test_a_single_file(radosgw: RunningS3, tmp_path: Path) -> None:
    bucket, client = radosgw.make_bucket(), radosgw.client()
    url, environment = f"s3://{bucket}", radosgw.environment
    with faulty(radosgw.endpoint) as proxy:
        options = s3_options(radosgw).replace(radosgw.endpoint, proxy.url)
        with mounted(url, tmp_path, options, environment=environment) as mount:
            (mount.path / "a").write_text("bytes")
            kill_in_rename(mount, proxy, stop_at(proxy, "DELETE", "/a"), "a", "b")
        keys = {found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]}
        assert keys == {"a", "b"}
        with mounted(url, tmp_path, options, environment=environment) as mount:
            assert os.listdir(mount.path) == ["b"]
            assert (mount.path / "b").read_text() == "bytes"


@pytest.mark.parametrize(
    ("method", "text", "after", "name"),
    [("PUT", "/new/", COPIES_BEFORE, "old"), ("POST", "delete", 0, "new")],
    ids=["copying", "deleting"],
)
def test_a_directory(
    radosgw: RunningS3, tmp_path: Path, method: str, text: str, after: int, name: str
) -> None:
    bucket, client = radosgw.make_bucket(), radosgw.client()
    url, environment = f"s3://{bucket}", radosgw.environment
    with faulty(radosgw.endpoint) as proxy:
        options = s3_options(radosgw).replace(radosgw.endpoint, proxy.url)
        with mounted(url, tmp_path, options, environment=environment) as mount:
            (mount.path / "old").mkdir()
            for number in range(FILES):
                (mount.path / "old" / f"f{number}").write_text(str(number))
            kill_in_rename(mount, proxy, stop_at(proxy, method, text, after), "old", "new")
        keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
        assert {key.split("/")[0] for key in keys} == {"old", "new"}
        with mounted(url, tmp_path, options, environment=environment) as mount:
            assert os.listdir(mount.path) == [name]
            found = {path.name: path.read_text() for path in (mount.path / name).iterdir()}
            assert found == {f"f{number}": str(number) for number in range(FILES)}
        keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
        assert {key.split("/")[0] for key in keys} == {name}
