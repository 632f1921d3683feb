"""From a URL to a store: the dialect, its decorators in their order, and proof that it is there.

Outermost first: Prefixed > Retrying > Throttled > Metered > the dialect. So every attempt is
measured and takes its own place in the throttle, and a pause between attempts takes none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.storage.directory import DirectoryStore
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.metered import Metered
from bucketfs.storage.prefixed import Prefixed
from bucketfs.storage.retrying import Retrying
from bucketfs.storage.s3.addressing import Addressing, find_address
from bucketfs.storage.s3.calls import Payload
from bucketfs.storage.s3.store import S3Store
from bucketfs.storage.throttled import Throttled
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import CredentialChain, ProfileFiles

CHECK_ATTEMPTS = 3
"""A person waits for the mount command: an unreachable store is reported soon."""

RETRY_TIMEOUTS = 3
"""One operation is tried for so many times the timeout of one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a URL does not say. None: as the environment and the AWS files say, or the default.

    `timeout_s` is how long one request may wait for the server; `attempts` how often it is sent
    where it failed for the moment; `concurrency` how many are in flight. `is_durable` False lets
    a folder acknowledge what is not on the disk yet.
    """

    endpoint: str | None = None
    region: str | None = None
    addressing: str = "auto"
    profile: str | None = None
    payload: str = "auto"
    timeout_s: float = 60.0
    attempts: int = 8
    concurrency: int = 16
    is_durable: bool = True
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A URL in its parts; `bucket` is the folder of `file:`. `prefix` is empty or ends with `/`."""

    scheme: str
    bucket: str
    prefix: str


class CheckedStore(ObjectStore, Protocol):
    """A dialect that can prove that its bucket is there."""

    async def check(self) -> None:
        """Prove it. Raises: BucketNotFound, AccessDenied, ConfigurationError, Transient."""


async def open_store(url: str, options: StoreOptions | None = None) -> ObjectStore:
    """Return the store at `url`, after it answered; the caller closes it by `aclose`.

    Raises: ConfigurationError, BucketNotFound, AccessDenied, Transient (unreachable).
    """
    options = options or StoreOptions()
    parts = parse_url(url)
    if parts.scheme == "memory":
        return _below(MemoryStore(parts.bucket), parts.prefix)
    if parts.scheme == "file":
        folder = await DirectoryStore.open(Path(parts.bucket), is_durable=options.is_durable)
        return await _checked(folder, Retrying(Metered(folder)), "")
    return await _checked(*await _open_s3(parts.bucket, options), parts.prefix)


def parse_url(url: str) -> StoreUrl:
    """Split a URL. Nothing is percent-decoded. Raises: ConfigurationError (lists the schemes)."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("s3", "file", "memory"):
        known = "s3://bucket[/prefix], file:///folder, memory://name[/prefix]"
        raise ConfigurationError(f"{scheme!r} is no known kind of bucket; known are: {known}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigurationError("file: needs an absolute folder, as in file:///folder")
        return StoreUrl(scheme, rest, "")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ConfigurationError(f"the URL {url!r} names no bucket")
    prefix = prefix.strip("/")
    return StoreUrl(scheme, bucket, f"{prefix}/" if prefix else "")


async def _open_s3(bucket: str, options: StoreOptions) -> tuple[S3Store, Retrying]:
    files = ProfileFiles(options.environment, options.profile)
    profile = await trio.to_thread.run_sync(files.read)
    environment = options.environment
    endpoint = (
        options.endpoint
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or profile.get("endpoint_url")
    )
    region = (
        options.region
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or profile.get("region")
    )
    # Who builds the options has checked these words.
    addressing, payload = cast(Addressing, options.addressing), cast(Payload, options.payload)
    address = find_address(bucket, endpoint, region or "us-east-1", addressing)
    store = S3Store(
        bucket,
        client=HttpClient(concurrency=options.concurrency, timeout_s=options.timeout_s),
        credentials=CredentialChain(
            environment, profile=options.profile, allow_metadata=address.is_amazon
        ),
        endpoint=endpoint,
        region=region,
        addressing=addressing,
        payload=payload,
    )
    throttled = Throttled(Metered(store), options.concurrency)
    return store, Retrying(
        throttled, attempts=options.attempts, timeout_s=RETRY_TIMEOUTS * options.timeout_s
    )


async def _checked(store: CheckedStore, decorated: Retrying, prefix: str) -> ObjectStore:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(decorated.aclose)
        check = partial(store.check, prefix) if isinstance(store, S3Store) else store.check
        await Retrying(store, attempts=CHECK_ATTEMPTS).around("check", None, check)
        stack.pop_all()
    return _below(decorated, prefix)


def _below(store: ObjectStore, prefix: str) -> ObjectStore:
    return Prefixed(store, prefix) if prefix else store
