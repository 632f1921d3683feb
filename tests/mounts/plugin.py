"""Fixtures: mounts of a local folder and of buckets on the test servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounts.mounting import mounted


@pytest.fixture(scope="session")
def mounted_folder_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `file://` bucket, mounted for all users for the whole session."""
    folder = tmp_path_factory.mktemp("folder-bucket")
    for parent in [folder, *folder.parents][:3]:
        os.chmod(parent, 0o755)
    bucket = folder / "bucket"
    bucket.mkdir()
    with mounted(f"file://{bucket}", folder, "allow_other") as mount:
        yield mount.path


@pytest.fixture
def bucket_folder(tmp_path: Path) -> Path:
    """An empty folder to be a bucket."""
    path = tmp_path / "bucket"
    path.mkdir()
    return path
