"""What a person hears who mounts through Libcloud with a mistake: real servers, one line each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bucketfs.errors import AccessDenied, BucketfsError, BucketNotFound, ConfigurationError
from bucketfs.storage.opening import open_store
from tests.contract.libcloud_stores import libcloud_options
from tests.servers.s3_server import RunningS3


@pytest.fixture(params=["s3-radosgw", "s3_rgw-radosgw", "minio-juicefs"])
def driver_and_server(request: pytest.FixtureRequest) -> tuple[str, RunningS3]:
    """A driver of Libcloud and a server that checks signatures."""
    driver, _, name = request.param.partition("-")
    running: RunningS3 = request.getfixturevalue(name)
    return driver, running


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"LIBCLOUD_SECRET": "hunter2"}, AccessDenied, "the secret key is wrong"),
        ({"LIBCLOUD_KEY": "hunter2"}, AccessDenied, "does not know this access key"),
        ({"LIBCLOUD_SECRET": ""}, ConfigurationError, "LIBCLOUD_SECRET is not set"),
        ({"LIBCLOUD_KEY": ""}, ConfigurationError, "LIBCLOUD_KEY is not set"),
        ({"LIBCLOUD_OPTIONS": "tokken=hunter2"}, ConfigurationError, "knows no 'tokken'"),
    ],
)
async def test_wrong_keys(
    driver_and_server: tuple[str, RunningS3],
    wrong: dict[str, str],
    kind: type[BucketfsError],
    words: str,
    tmp_path: Path,
) -> None:
    driver, server = driver_and_server
    options = libcloud_options(server, tmp_path, wrong)
    with pytest.raises(kind, match=words) as caught:
        await open_store(f"libcloud+{driver}://{server.make_bucket()}", options)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_container_that_is_not_there(
    driver_and_server: tuple[str, RunningS3], tmp_path: Path
) -> None:
    driver, server = driver_and_server
    with pytest.raises(BucketNotFound, match="no such container"):
        await open_store(f"libcloud+{driver}://not-there", libcloud_options(server, tmp_path))


async def test_a_server_without_tls(
    driver_and_server: tuple[str, RunningS3], tmp_path: Path
) -> None:
    """Not told from a broken connection: it is tried again, soon given up, and named."""
    driver, server = driver_and_server
    endpoint = server.endpoint.replace("http:", "https:")
    options = replace(libcloud_options(server, tmp_path), endpoint=endpoint)
    with pytest.raises(BucketfsError, match="SSL"):
        await open_store(f"libcloud+{driver}://box", options)
