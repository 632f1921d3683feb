"""Fixtures: mounts of a local folder and of buckets on the test servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.serving import RunningEmulator
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


@pytest.fixture(scope="session")
def mounted_folder_bucket(open_folder: Path) -> Iterator[Path]:
    """A `file://` bucket, mounted for all users for the whole session."""
    bucket = open_folder / "bucket"
    bucket.mkdir()
    with mounted(f"file://{bucket}", open_folder, "allow_other") as mount:
        yield mount.path


@pytest.fixture(scope="session")
def mounted_radosgw_bucket(open_folder: Path, radosgw: RunningS3) -> Iterator[Path]:
    """An `s3://` bucket of radosgw, mounted for all users for the whole session."""
    options = [f"endpoint={radosgw.endpoint}", "region=us-east-1", "addressing=path", "allow_other"]
    url = f"s3://{radosgw.make_bucket()}"
    environment = radosgw.environment
    with mounted(url, open_folder, *options, environment=environment, name="s3") as mount:
        yield mount.path


@pytest.fixture(scope="session")
def mounted_bos_bucket(open_folder: Path, bos: RunningEmulator) -> Iterator[Path]:
    """A `bos://` bucket of the emulated cloud, mounted for all users for the whole session."""
    options = [f"endpoint={bos.endpoint}", "allow_other"]
    url = f"bos://{bos.make_bucket()}"
    with mounted(url, open_folder, *options, environment=bos.environment, name="bos") as mount:
        yield mount.path


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can enter.

    Not one of pytest's own: each start of pytest, also of another session, closes those to others.
    """
    folder = Path(tempfile.mkdtemp(prefix="bucketfs-test-"))
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bucket_folder(tmp_path: Path) -> Path:
    """An empty folder to be a bucket."""
    path = tmp_path / "bucket"
    path.mkdir()
    return path
