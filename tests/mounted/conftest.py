"""Fixtures of the mounted tests: buckets on radosgw, the judge among the S3 servers."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mounts.mounting import Mount, mounted
from tests.servers.s3_server import RunningS3

SEEN_WITHIN_S = 10.0
"""How long a change by others may take to be seen: a ttl of one second, and a busy machine."""


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


@dataclass(frozen=True)
class Place:
    """A directory of a mounted S3 bucket, and where it is there. `clouds` has one of every cloud.

    Names are below the directory; `prefix` is that of its keys.
    """

    server: RunningS3
    bucket: str
    prefix: str
    path: Path

    def remounted(
        self, folder: Path, *options: str, name: str = "cold"
    ) -> AbstractContextManager[Mount]:
        """Mount the same directory once more, by another process that knows nothing of it yet."""
        return mounted(
            f"s3://{self.bucket}/{self.prefix.rstrip('/')}",
            folder,
            *(s3_options(self.server), "ttl=1", *options),
            environment=self.server.environment,
            name=name,
        )


def s3_options(server: RunningS3) -> str:
    """Return the options that lead a mount to a test server."""
    return f"endpoint={server.endpoint},region=us-east-1,addressing=path"


def wait_until(
    condition: Callable[[], bool], what: str = "the change", limit_s: float = SEEN_WITHIN_S
) -> None:
    """Poll until `condition` holds; fail after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} was not seen in time"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def session_s3(radosgw: RunningS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedS3]:
    """A bucket that is mounted once for all tests that need no mount of their own."""
    bucket = radosgw.make_bucket()
    folder = tmp_path_factory.mktemp("session-s3")
    options = (s3_options(radosgw), "ttl=1")
    with mounted(f"s3://{bucket}", folder, *options, environment=radosgw.environment) as mount:
        yield MountedS3(radosgw, bucket, mount)


@pytest.fixture
def place(session_s3: MountedS3, request: pytest.FixtureRequest) -> Place:
    """An empty directory of the session's mount, seen from both sides."""
    name = f"{re.sub('[^a-z0-9_]+', '-', request.node.name)[:60]}-{os.getpid()}"
    (session_s3.path / name).mkdir()
    return Place(
        session_s3.server,
        session_s3.bucket,
        f"{name}/",
        session_s3.path / name,
    )
