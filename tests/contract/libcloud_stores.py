"""The drivers of Libcloud that the contract suite runs over, and the servers behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bucketfs.storage.location import StoreOptions
from tests.servers.s3_server import RunningS3

LIBCLOUD_SERVERS: Mapping[str, str] = {"libcloud-s3": "radosgw", "libcloud-minio": "juicefs"}
"""Kind of store -> the S3 server that it talks to: one has flat keys, one sits on a folder."""

LIBCLOUD_KINDS = ("libcloud-local", *LIBCLOUD_SERVERS)


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
