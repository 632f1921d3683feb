"""Fixtures of the one suite over all clouds: each is mounted once, each test has a directory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.emulators.serving import RunningEmulator
from tests.mounted.clouds.bos_client import BaiduClient
from tests.mounted.clouds.boto3_client import Boto3Client
from tests.mounted.clouds.cos_client import CosClient
from tests.mounted.clouds.exceptions import CLOUDS, EXCEPTIONS
from tests.mounted.clouds.folder_client import FolderClient
from tests.mounted.clouds.kodo_client import KodoClient
from tests.mounted.clouds.other_client import OtherClient
from tests.mounted.clouds.places import Cloud, Place
from tests.mounted.conftest import s3_options
from tests.servers.s3_server import RunningS3

_SDKS: Mapping[str, Callable[[RunningEmulator, str], OtherClient]] = {
    "cos": CosClient,
    "bos": BaiduClient,
    "kodo": KodoClient,
}


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark `shows` known."""
    config.addinivalue_line("markers", "shows(ability): fails over clouds that are excepted")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures that the table of exceptions tells, and no others."""
    for item in items:
        for mark in item.iter_markers("shows"):
            cloud = item.callspec.params["cloud"]  # type: ignore[attr-defined]
            reason = EXCEPTIONS[mark.args[0]].clouds.get(cloud)
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session", params=CLOUDS)
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """A fresh bucket of each cloud in turn."""
    name: str = request.param
    if name == "s3":
        return _s3(request.getfixturevalue("radosgw"))
    if name == "libcloud-minio":
        return _minio(request.getfixturevalue("juicefs"))
    if name == "libcloud-local":
        return _local(tmp_path_factory.mktemp("libcloud-local"))
    return _emulated(request.getfixturevalue(name))


def _s3(server: RunningS3) -> Cloud:
    bucket = server.make_bucket()
    client, options = Boto3Client(server, bucket), (s3_options(server),)
    url = f"s3://{bucket}"
    return Cloud("s3", url, options, server.environment, client, server.endpoint)


def _minio(server: RunningS3) -> Cloud:
    bucket = server.make_bucket()
    options = (f"endpoint={server.endpoint}", "region=us-east-1")
    environment = {"LIBCLOUD_KEY": server.access_key, "LIBCLOUD_SECRET": server.secret_key}
    client, url = Boto3Client(server, bucket), f"libcloud+minio://{bucket}"
    return Cloud("libcloud-minio", url, options, environment, client, server.endpoint)


def _local(folder: Path) -> Cloud:
    (folder / "box").mkdir()
    environment = {"LIBCLOUD_KEY": str(folder)}
    client = FolderClient(folder / "box")
    return Cloud("libcloud-local", "libcloud+local://box", (), environment, client)


def _emulated(server: RunningEmulator) -> Cloud:
    bucket, options = server.make_bucket(), (f"endpoint={server.endpoint}",)
    client = _SDKS[server.name](server, bucket)
    url = f"{server.name}://{bucket}"
    return Cloud(server.name, url, options, server.environment, client, server.endpoint)


@pytest.fixture(scope="session")
def mounted_cloud(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the cloud is mounted for all tests that need no mount of their own."""
    with cloud.mounted(tmp_path_factory.mktemp("cloud")) as mount:
        yield mount.path


@pytest.fixture
def place(cloud: Cloud, mounted_cloud: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """An empty directory of the cloud's mount, seen from both sides.

    An emulator forgets at the end what it was asked: bodies of large files among it.
    """
    test = re.sub("[^a-z0-9_]+", "-", request.node.originalname or request.node.name)
    name = f"{test[:60]}-{next(request.getfixturevalue('numbers'))}-{os.getpid()}"
    (mounted_cloud / name).mkdir()
    emulator = request.getfixturevalue(cloud.name) if cloud.name in _SDKS else None
    yield Place(cloud, f"{name}/", mounted_cloud / name)
    if emulator is not None:
        emulator.knobs.reset()
    if isinstance(cloud.client, FolderClient):
        cloud.client.clear(f"{name}/")


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """Numbers that no two tests share."""
    return iter(range(1, 1 << 30))
