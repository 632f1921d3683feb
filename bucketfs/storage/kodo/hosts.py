"""Which host serves what: Kodo says it for each bucket, and one that fails has others beside it.

`GET /v4/query` at the "uc" service names the hosts of the bucket's region, and for how long that
holds. A given endpoint stands for all of them instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import trio

from bucketfs.errors import ConfigurationError, ConfusedServer, Transient
from bucketfs.storage.kodo.refusals import refusal
from bucketfs.transport.client import HttpClient
from bucketfs.transport.exchange import Request

Service = Literal["up", "rs", "rsf", "uc"]

UC_HOSTS = ("uc.qiniuapi.com", "kodo-config.qiniuapi.com", "uc.qbox.me")
"""Where the question itself goes (as in the official SDKs)."""

_SHORTEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Host:
    """A host: where to connect, and what the Host header says."""

    origin: str
    name: str


@dataclass(frozen=True, slots=True)
class _Region:
    name: str
    hosts: Mapping[str, Sequence[str]]
    sources: Sequence[str]
    good_until_s: float


class Hosts:
    """The hosts of one bucket's services.

    `endpoint` (http(s)://host[:port]) stands for all of them; without it the region is asked for
    once and again when the answer has aged; `region` is then only compared. Concurrent calls wait
    for one question. Raises (the constructor): ConfigurationError.
    """

    def __init__(
        self,
        bucket: str,
        *,
        client: HttpClient,
        endpoint: str | None = None,
        region: str | None = None,
        scheme: str | None = None,
        uc_hosts: Sequence[str] = UC_HOSTS,
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._uc_hosts = uc_hosts
        self._wanted_region = region
        self._endpoint = _endpoint_host(endpoint) if endpoint is not None else None
        self.scheme = endpoint.partition("://")[0] if endpoint else scheme or "https"
        self._region: _Region | None = None
        self._turns: dict[str, int] = {}
        self._lock = trio.Lock()

    async def of(self, service: Service, access_key: str) -> Host:
        """Return the host to ask now.

        Raises: ConfigurationError (another region), BucketNotFound, AccessDenied, Transient.
        """
        if self._endpoint is not None:
            return self._endpoint
        region = await self._known_region(access_key)
        names = region.hosts.get(service) or (self._uc_hosts if service == "uc" else ())
        if not names:
            raise ConfusedServer(f"region {region.name} has no host for {service!r}")
        return self._turn(service, names)

    def download(self, domain: str) -> Host:
        """Return how to reach a download domain: by the endpoint where one is given."""
        if self._endpoint is not None:
            return Host(self._endpoint.origin, domain)
        return Host(f"{self.scheme}://{domain}", domain)

    async def sources(self, access_key: str) -> Sequence[str]:
        """Return the region's own download domains of this bucket; none behind an endpoint.

        They are the `io_src` of the answer, from which Qiniu's own SDKs for Go and Hadoop read
        where nobody names a domain. Raises: as `of`.
        """
        if self._endpoint is not None:
            return ()
        return (await self._known_region(access_key)).sources

    def failed(self, service: Service) -> None:
        """Say that the host of `service` did not answer: the next one is asked from now on."""
        self._turns[service] = self._turns.get(service, 0) + 1

    def _turn(self, service: str, names: Sequence[str]) -> Host:
        name = names[self._turns.get(service, 0) % len(names)]
        return Host(f"{self.scheme}://{name}", name)

    async def _known_region(self, access_key: str) -> _Region:
        region = self._region
        if region is not None and trio.current_time() < region.good_until_s:
            return region
        async with self._lock:
            region = self._region
            if region is None or trio.current_time() >= region.good_until_s:
                try:
                    self._region = region = await self._ask(access_key)
                except Transient:
                    self.failed("uc")
                    if region is None:
                        raise
            return region

    async def _ask(self, access_key: str) -> _Region:
        host = self._turn("uc", self._uc_hosts)
        target = f"/v4/query?ak={quote(access_key)}&bucket={quote(self._bucket)}"
        request = Request("GET", host.origin, target, host.name, operation="region")
        response = await self._client.send(request)
        if not 200 <= response.status < 300:
            raise refusal(response, operation="region", key=None)
        region = _parse_region(response.body)
        wanted = self._wanted_region
        if wanted is not None and wanted != region.name:
            raise ConfigurationError(
                f"the bucket is in region {region.name}, not {wanted}: leave -o region= out"
            )
        return region


def _endpoint_host(endpoint: str) -> Host:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ConfigurationError("the endpoint is not http(s)://host[:port]")
    return Host(f"{parts.scheme}://{parts.netloc}", parts.netloc)


def _parse_region(body: bytes) -> _Region:
    try:
        found: dict[str, Any] = json.loads(body)["hosts"][0]
        hosts: dict[str, Sequence[str]] = {
            service: tuple(found[service]["domains"])
            for service in ("up", "rs", "rsf", "uc")
            if service in found
        }
        sources = tuple(str(name) for name in found.get("io_src", {}).get("domains") or ())
        age_s = max(_SHORTEST_S, float(found.get("ttl", 0)))
        return _Region(str(found["region"]), hosts, sources, trio.current_time() + age_s)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
        raise ConfusedServer("the answer about the bucket's region makes no sense") from exc
