"""From a URL and options to a CosStore, with what the environment and Tencent's files say."""

from __future__ import annotations

import trio

from bucketfs.storage.cos.addressing import find_address
from bucketfs.storage.cos.store import CosStore
from bucketfs.storage.location import StoreOptions, StoreUrl, traffic_limit_bits_s
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_cos import METADATA_VARIABLE, CosCredentials, TencentFiles
from bucketfs.transport.given_credentials import given_credentials

_REGION_VARIABLES = ("COS_REGION", "TENCENTCLOUD_REGION")


async def open_cos(location: StoreUrl, options: StoreOptions) -> CosStore:
    """Return the store at `location`, not yet asked anything. Raises: ConfigurationError."""
    files = TencentFiles(options.environment, options.profile)
    region = options.region or next(
        (value for name in _REGION_VARIABLES if (value := options.environment.get(name))), None
    )
    if region is None:
        region = (await trio.to_thread.run_sync(files.read)).get("region")
    address = find_address(location.bucket, region, options.endpoint, options.scheme)
    return CosStore(
        address,
        client=HttpClient(
            concurrency=options.concurrency, timeout_s=options.timeout_s, meter=options.meter
        ),
        credentials=given_credentials(
            options.credential_command, options.credential_file, options.profile
        )
        or CosCredentials(
            options.environment,
            profile=options.profile,
            allow_metadata=address.is_tencent or bool(options.environment.get(METADATA_VARIABLE)),
        ),
        storage_class=options.storage_class,
        traffic_limit_bits_s=traffic_limit_bits_s(options.traffic_limit_bytes_s, "COS"),
    )
