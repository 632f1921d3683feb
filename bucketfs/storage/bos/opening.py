"""From a URL and options to a BosStore."""

from __future__ import annotations

from typing import cast

from bucketfs.storage.bos.addressing import find_address
from bucketfs.storage.bos.store import BosStore
from bucketfs.storage.location import StoreOptions, StoreUrl
from bucketfs.storage.s3.addressing import Addressing
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_bos import METADATA_VARIABLE, BosCredentials
from bucketfs.transport.given_credentials import given_credentials


async def open_bos(location: StoreUrl, options: StoreOptions) -> BosStore:
    """Return the store at `location`, not yet asked anything. Raises: ConfigurationError."""
    addressing = cast(Addressing, options.addressing)  # Who builds the options has checked it.
    address = find_address(
        location.bucket,
        options.endpoint,
        options.region,
        scheme=options.scheme,
        addressing=addressing,
    )
    return BosStore(
        location.bucket,
        client=HttpClient(
            concurrency=options.concurrency, timeout_s=options.timeout_s, meter=options.meter
        ),
        credentials=given_credentials(
            options.credential_command, options.credential_file, options.profile
        )
        or BosCredentials(
            options.environment,
            allow_metadata=address.is_service or bool(options.environment.get(METADATA_VARIABLE)),
        ),
        endpoint=options.endpoint,
        region=options.region,
        scheme=options.scheme,
        addressing=addressing,
        storage_class=options.storage_class,
        traffic_limit_bytes_s=options.traffic_limit_bytes_s,
    )
