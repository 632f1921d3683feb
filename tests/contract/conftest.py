"""The stores that the one contract suite runs over, and where a server is known to differ."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bucketfs.counting.meter import Meter
from bucketfs.counting.underway import Underway
from bucketfs.storage.decorated import DecoratedStore
from bucketfs.storage.directory import DirectoryStore
from bucketfs.storage.directory.labels import SidecarLabels
from bucketfs.storage.directory.store import open_folder
from bucketfs.storage.interface import Capabilities, ObjectStore
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.metered import Metered
from bucketfs.storage.opening import StoreOptions, open_store
from bucketfs.storage.prefixed import Prefixed
from bucketfs.storage.retrying import Retrying
from bucketfs.storage.throttled import Throttled
from bucketfs.storage.watched import Watched
from tests.contract.deviations import DEVIATIONS
from tests.contract.libcloud_stores import (
    LIBCLOUD_KINDS,
    LIBCLOUD_SERVERS,
    libcloud_options,
    register_whole_driver,
)
from tests.emulators.serving import RunningEmulator
from tests.servers.s3_server import RunningS3

SERVERS = ("radosgw", "moto", "rclone", "juicefs")
EMULATORS = ("cos", "bos", "kodo")
"""Clouds that are emulated; the kind is the scheme of their URLs."""

FOLDERS = ("directory", "sidecars")
DECORATED: dict[str, Callable[[ObjectStore], ObjectStore]] = {
    "memory": lambda store: store,
    "decorated": DecoratedStore,
    "metered": lambda store: Metered(store, Meter()),
    "watched": lambda store: Watched(store, Underway()),
    "throttled": lambda store: Throttled(store, 2),
    "retrying": Retrying,
    "prefixed": lambda store: Prefixed(store, "some/place/"),
}
KINDS = (*DECORATED, *FOLDERS, *EMULATORS, *SERVERS, *LIBCLOUD_KINDS)

Server = RunningS3 | RunningEmulator

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a server is known to do differently: strictly, so that a cure shows."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        kind = callspec.params.get("kind") if callspec else None
        for pattern, reason in DEVIATIONS.get(kind or "", {}).items():
            if fnmatch(item.name.replace(f"{kind}-", ""), pattern):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of store."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(kind: str, request: pytest.FixtureRequest) -> Server | None:
    """The server of a kind that has one."""
    if kind not in SERVERS + EMULATORS:
        return None
    running: Server = request.getfixturevalue(kind)
    return running


@pytest.fixture(scope="module")
def bucket(server: Server | None) -> str | None:
    """A bucket on the server that only this module uses."""
    return server.make_bucket() if server else None


@pytest.fixture(scope="module")
def behind_libcloud(kind: str, request: pytest.FixtureRequest) -> tuple[RunningS3, str] | None:
    """The server that a driver of Libcloud talks to, with a bucket of this module."""
    if kind not in LIBCLOUD_SERVERS:
        return None
    register_whole_driver()
    running: RunningS3 = request.getfixturevalue(LIBCLOUD_SERVERS[kind])
    return running, running.make_bucket()


@pytest.fixture
async def store(
    kind: str,
    server: Server | None,
    bucket: str | None,
    behind_libcloud: tuple[RunningS3, str] | None,
    tmp_path: Path,
) -> AsyncIterator[ObjectStore]:
    """The store under test; closed at the end."""
    if kind in LIBCLOUD_KINDS:
        running, container = behind_libcloud or (None, "box")
        (tmp_path / container).mkdir()
        url = f"libcloud+{kind.removeprefix('libcloud-')}://{container}"
        opened = await open_store(url, libcloud_options(running, tmp_path))
    elif server is not None:
        opened = await open_store(url_of(server, str(bucket)), options_for(server))
    elif kind in FOLDERS:
        opened = opened_folder(tmp_path, with_sidecars=kind == "sidecars")
    else:
        opened = DECORATED[kind](MemoryStore(capabilities=SMALL_PARTS))
    yield opened
    await opened.aclose()


@pytest.fixture
def root() -> str:
    """A prefix that only this test uses (a server's bucket is the whole module's)."""
    return f"test-{next(_numbers)}/"


SMALL_PARTS = Capabilities(
    append=True, part_copy=True, move=True, conditional_write=True, batch_delete=1000, min_part=5
)


def url_of(server: Server, bucket: str) -> str:
    """Return the URL of a bucket of `server`."""
    return f"{server.name if isinstance(server, RunningEmulator) else 's3'}://{bucket}"


def options_for(server: Server, secret_key: str | None = None) -> StoreOptions:
    """Return how to open a bucket of `server`, with a wrong secret where one is given."""
    environment = dict(server.environment)
    if secret_key is not None:
        for name in environment:
            if name.endswith(("SECRET_ACCESS_KEY", "SECRET_KEY")):
                environment[name] = secret_key
    is_s3 = isinstance(server, RunningS3)
    return StoreOptions(
        endpoint=server.endpoint,
        region="us-east-1" if is_s3 else None,
        addressing="path" if is_s3 else "auto",
        timeout_s=20,
        attempts=3,
        environment=environment,
    )


def opened_folder(path: Path, *, with_sidecars: bool) -> DirectoryStore:
    """Return a store over a folder, with sidecars as on a file system without attributes."""
    folder = open_folder(path, is_durable=False)
    return DirectoryStore(folder, SidecarLabels(folder) if with_sidecars else None)
