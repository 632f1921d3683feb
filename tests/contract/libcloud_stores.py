"""The drivers of Libcloud that the contract suite runs over, and the servers behind them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from libcloud.storage.base import StorageDriver
from libcloud.storage.drivers.s3 import S3StorageDriver
from libcloud.storage.providers import set_driver

from bucketfs.storage.location import StoreOptions
from tests.servers.s3_server import RunningS3

LIBCLOUD_SERVERS: Mapping[str, str] = {
    "libcloud-s3": "radosgw",
    "libcloud-minio": "juicefs",
    "libcloud-whole": "radosgw",
}
"""Kind of store -> the S3 server that it talks to: one has flat keys, one sits on a folder.

"whole" is a driver as some have it, and as others may bring it: it knows no ranges.
"""

LIBCLOUD_KINDS = ("libcloud-local", *LIBCLOUD_SERVERS)


class WholeDriver(S3StorageDriver):
    """Libcloud's S3 driver without what drivers need not have."""

    download_object_range = StorageDriver.download_object_range
    download_object_range_as_stream = StorageDriver.download_object_range_as_stream


def register_whole_driver() -> None:
    """Let `libcloud+whole://` be known, as any package may do it for a driver of its own."""
    register: Any = set_driver  # its annotations are not what it takes
    with suppress(AttributeError):  # it is registered
        register("whole", __name__, "WholeDriver")


def libcloud_options(
    server: RunningS3 | None, folder: Path, environment: Mapping[str, str] | None = None
) -> StoreOptions:
    """Return how to reach containers on `server`, or in `folder` by the local driver."""
    keys = {"TMPDIR": str(folder)}
    if server is None:
        return StoreOptions(
            environment={**keys, "LIBCLOUD_KEY": str(folder), **(environment or {})}
        )
    keys |= {"LIBCLOUD_KEY": server.access_key, "LIBCLOUD_SECRET": server.secret_key}
    return StoreOptions(
        endpoint=server.endpoint,
        region="us-east-1",
        timeout_s=20,
        attempts=3,
        environment={**keys, **(environment or {})},
    )
