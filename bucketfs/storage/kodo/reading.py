"""Reader: ranges from the bucket's download domain, checked against what Kodo itself says.

A download domain is usually a CDN. It may serve an object that was replaced or deleted meanwhile,
and it may remember that one was missing: so what it says of versions and absence is asked of Kodo
before it is believed, and where the domain is behind it is asked once past its memory.
"""

from __future__ import annotations

from urllib.parse import quote

import trio

from bucketfs.errors import (
    AccessDenied,
    ConfigurationError,
    ObjectChanged,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.interface import ObjectInfo, Sink, Version
from bucketfs.storage.kodo.calls import Calls
from bucketfs.storage.kodo.documents import download_info, parse_list
from bucketfs.storage.kodo.preconditions import Stat
from bucketfs.storage.ranges import check_range, checked_version
from bucketfs.storage.refusals import InvalidRange
from bucketfs.transport.exchange import Intake, Response

_TRIAL_DOMAINS = (".clouddn.com", ".qiniudns.com", ".qnssl.com")
"""Kodo's own domains for trying it out: they end after 30 days."""


class _Behind(Exception):
    """The domain has another version, or nothing."""


class Reader:
    """Reads ranges of objects. `domain` None: the first good one of those bound to the bucket.

    Where there is none, the bytes come from the source domain that Kodo gave the bucket, and where
    Kodo names none, from a bound one of those for trying it out.
    `stat` may raise ObjectArchived or AccessDenied where an object cannot be read.
    """

    def __init__(self, calls: Calls, stat: Stat, domain: str | None) -> None:
        self._calls = calls
        self._stat = stat
        self._domain = domain
        self._lock = trio.Lock()

    async def domain(self, operation: str) -> str:
        """Return the download domain. Raises: ConfigurationError (there is none), StorageError."""
        if self._domain is None:
            async with self._lock:
                if self._domain is None:
                    self._domain = await self._find_domain(operation)
        return self._domain

    async def read(
        self, key: str, start: int, length: int, sink: Sink, if_version: Version | None
    ) -> ObjectInfo:
        """Put a range into `sink`; the contract is `ObjectStore.read_range`'s."""
        first = start + sink.received
        left = length - sink.received
        if if_version is not None and left > 0:
            return await self._read_version(key, first, left, sink, if_version)
        info = await self._known(key, if_version)
        if left <= 0 or first >= info.size:
            return info
        try:
            await self._read_version(key, first, left, sink, info.version)
        except ObjectChanged as exc:
            raise Transient("it was replaced while it was read", key=key, operation="read") from exc
        return info

    async def _read_version(
        self, key: str, first: int, left: int, sink: Sink, version: Version
    ) -> ObjectInfo:
        try:
            return await self._get(key, first, left, sink, version, "")
        except (_Behind, AccessDenied) as exc:
            # Who is behind is decided by Kodo; and why something may not be read, too.
            info = await self._known(key, version)
            if isinstance(exc, AccessDenied):
                raise
            if first >= info.size:
                return info
        try:
            return await self._get(key, first, left, sink, version, f"v={quote(version)}")
        except _Behind as exc:
            raise Transient(
                "the download domain still serves another version", key=key, operation="read"
            ) from exc

    async def _get(
        self, key: str, first: int, left: int, sink: Sink, version: Version, query: str
    ) -> ObjectInfo:
        headers = {"range": f"bytes={first}-{first + left - 1}"}

        def intake(head: Response) -> Intake:
            info = download_info(key, head.headers)
            if info.version != version:
                raise _Behind
            check_range(head, info, first, left)
            return Intake(sink, left)

        domain = await self.domain("read")
        try:
            response = await self._calls.download("read", key, domain, query, headers, intake)
        except (ObjectNotFound, InvalidRange) as exc:
            raise _Behind from exc
        return download_info(key, response.headers)

    async def _known(self, key: str, version: Version | None) -> ObjectInfo:
        return checked_version(await self._stat(key), version)

    async def _find_domain(self, operation: str) -> str:
        target = f"/v2/domains?tbl={quote(self._calls.bucket)}"
        response = await self._calls.manage("uc", operation, None, target)
        domains = [str(name) for name in parse_list(response.body)]
        usable = [name for name in domains if name and not name.startswith(".")]
        lasting = [name for name in usable if not name.endswith(_TRIAL_DOMAINS)]
        usable = lasting or [*await self._calls.sources(operation), *usable]
        if not usable:
            raise ConfigurationError(
                f"the bucket {self._calls.bucket!r} has no download domain: bind one to it, or say "
                "which to use with -o domain=HOST"
            )
        return usable[0]
