"""From a URL to a store: the dialect, its decorators in their order, and proof that it is there.

Outermost first: Prefixed > Retrying > Throttled > the dialect. So every attempt takes its own place
in the throttle, and a pause between attempts takes none. Every attempt is counted: where it is sent
by HTTP, and around a store that sends nothing by Metered.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from bucketfs.errors import ConfigurationError
from bucketfs.storage.directory import DirectoryStore
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.location import StoreOptions, StoreUrl, parse_url
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.metered import Metered
from bucketfs.storage.prefixed import Prefixed
from bucketfs.storage.retrying import Retrying
from bucketfs.storage.throttled import Throttled

__all__ = ["OPENERS", "CheckedStore", "StoreOptions", "StoreUrl", "open_store", "parse_url"]

CHECK_ATTEMPTS = 3
"""A person waits for the mount command: an unreachable store is reported soon."""

RETRY_TIMEOUTS = 3
"""One operation is tried for so many times the timeout of one request."""

OPENERS: Mapping[str, str] = {
    "s3": "bucketfs.storage.s3.opening:open_s3",
    "cos": "bucketfs.storage.cos.opening:open_cos",
    "bos": "bucketfs.storage.bos.opening:open_bos",
    "kodo": "bucketfs.storage.kodo.opening:open_kodo",
    "libcloud": "bucketfs.storage.libcloud.opening:open_libcloud",
}
"""Scheme -> `async def open_x(location, options) -> CheckedStore`, imported when it is used: a
mount of one cloud need not wait for the code of the others, nor have what they need installed."""


class CheckedStore(ObjectStore, Protocol):
    """A dialect that can prove that its bucket is there."""

    async def check(self, prefix: str = "") -> None:
        """Prove it, by what may be done below `prefix`.

        Raises: BucketNotFound, AccessDenied, ConfigurationError, Transient.
        """


Opener = Callable[[StoreUrl, StoreOptions], Awaitable[CheckedStore]]


async def open_store(url: str, options: StoreOptions | None = None) -> ObjectStore:
    """Return the store at `url`, after it answered; the caller closes it by `aclose`.

    Raises: ConfigurationError, BucketNotFound, AccessDenied, Transient (unreachable).
    """
    options = options or StoreOptions()
    location = parse_url(url)
    meter = options.meter
    if location.scheme == "memory":
        return _below(Metered(MemoryStore(location.bucket), meter), location.prefix)
    if location.scheme == "file":
        folder = await DirectoryStore.open(Path(location.bucket), is_durable=options.is_durable)
        return await _checked(folder, Retrying(Metered(folder, meter), meter=meter), "")
    store = await opener_of(location.scheme)(location, options)
    has_wire = location.provider != "local"
    decorated = Retrying(
        Throttled(store if has_wire else Metered(store, meter), options.concurrency),
        attempts=options.attempts,
        timeout_s=RETRY_TIMEOUTS * options.timeout_s,
        meter=meter,
    )
    return await _checked(store, decorated, location.prefix)


def opener_of(scheme: str) -> Opener:
    """Return the function that opens URLs of `scheme`. Raises: ConfigurationError."""
    if scheme not in OPENERS:
        raise ConfigurationError(f"this version cannot open {scheme}: URLs")
    module, _, name = OPENERS[scheme].partition(":")
    return cast(Opener, getattr(importlib.import_module(module), name))


async def _checked(store: CheckedStore, decorated: Retrying, prefix: str) -> ObjectStore:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(decorated.aclose)
        check = partial(store.check, prefix)
        await Retrying(store, attempts=CHECK_ATTEMPTS).around("check", None, check)
        stack.pop_all()
    return _below(decorated, prefix)


def _below(store: ObjectStore, prefix: str) -> ObjectStore:
    return Prefixed(store, prefix) if prefix else store
