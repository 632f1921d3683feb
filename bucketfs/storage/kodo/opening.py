"""From a URL and options to a KodoStore."""

from __future__ import annotations

from bucketfs.errors import ConfigurationError
from bucketfs.storage.kodo.metadata import STORAGE_CLASSES
from bucketfs.storage.kodo.store import KodoStore
from bucketfs.storage.location import StoreOptions, StoreUrl
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_kodo import KodoCredentials
from bucketfs.transport.given_credentials import given_credentials


async def open_kodo(location: StoreUrl, options: StoreOptions) -> KodoStore:
    """Return the store at `location`, not yet asked anything. Raises: ConfigurationError."""
    return KodoStore(
        location.bucket,
        client=HttpClient(
            concurrency=options.concurrency, timeout_s=options.timeout_s, meter=options.meter
        ),
        credentials=given_credentials(
            options.credential_command, options.credential_file, options.profile
        )
        or KodoCredentials(options.environment),
        endpoint=options.endpoint,
        region=options.region,
        scheme=options.scheme,
        domain=options.domain,
        file_type=_file_type(options.storage_class),
        traffic_limit_bytes_s=options.traffic_limit_bytes_s,
    )


def _file_type(storage_class: str | None) -> int:
    """Return Kodo's number of a storage class: by its name, or the number itself."""
    if storage_class is None:
        return 0
    name = storage_class.lower().replace("_", "-")
    numbers = [str(number) for number in range(len(STORAGE_CLASSES))]
    if name in numbers:
        return int(name)
    if name not in STORAGE_CLASSES:
        known = ", ".join(STORAGE_CLASSES)
        raise ConfigurationError(f"{storage_class!r} is no storage class of Kodo; known: {known}")
    return STORAGE_CLASSES.index(name)
