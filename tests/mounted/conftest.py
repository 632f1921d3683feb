"""Fixtures of the mounted tests: a bucket of its own on radosgw, the judge among the S3 servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mounts.mounting import Mount, mounted
from tests.servers.s3_server import RunningS3


@dataclass(frozen=True)
class MountedS3:
    """A mounted bucket and the server behind it."""

    server: RunningS3
    bucket: str
    mount: Mount

    @property
    def path(self) -> Path:
        """Return where it is mounted."""
        return self.mount.path


def s3_options(server: RunningS3) -> str:
    """Return the options that lead a mount to a test server."""
    return f"endpoint={server.endpoint},region=us-east-1,addressing=path"


@pytest.fixture
def mounted_s3(radosgw: RunningS3, tmp_path: Path) -> Iterator[MountedS3]:
    """A fresh bucket, mounted with a `ttl` of one second."""
    bucket = radosgw.make_bucket()
    options = (s3_options(radosgw), "ttl=1")
    environment = radosgw.environment
    with mounted(f"s3://{bucket}", tmp_path, *options, environment=environment) as mount:
        yield MountedS3(radosgw, bucket, mount)
