"""Clouds whose requests can be counted: a bucket, how to mount it, and what was asked so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bucketfs.options import parse_options
from bucketfs.storage.opening import StoreOptions
from tests.faults.proxy import faulty

QUIET_S = 0.25
"""Nothing was asked for so long: what an operation began in the background is over."""


@dataclass(frozen=True)
class Counted:
    """A bucket of its own, and the requests to its server so far as (method, target)."""

    url: str
    options: str
    environment: Mapping[str, str]
    asked: Callable[[], list[tuple[str, str]]]

    @property
    def store_options(self) -> StoreOptions:
        """Return how to open the bucket without a mount."""
        values = parse_options([self.options])
        return StoreOptions(environment=self.environment, **values)  # type: ignore[arg-type]

    def count(self, operation: Callable[[], object]) -> list[str]:
        """Return what `operation` and what it began cost, as `METHOD /target`."""
        settled(lambda: len(self.asked()))
        before = len(self.asked())
        operation()
        settled(lambda: len(self.asked()))
        return [f"{method} {target}" for method, target in self.asked()[before:]]


def settled(asked: Callable[[], int]) -> None:
    """Wait until the number of requests has not changed for QUIET_S."""
    seen, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < QUIET_S:
        if (now := asked()) != seen:
            seen, since_s = now, time.monotonic()
        time.sleep(0.02)


@contextmanager
def counted(cloud: str, request: pytest.FixtureRequest) -> Iterator[Counted]:
    """Yield a fresh bucket of `cloud`: "s3" or "libcloud" (moto), or an emulated cloud."""
    if cloud not in ("s3", "libcloud"):
        running = request.getfixturevalue(cloud)
        yield Counted(
            f"{cloud}://{running.make_bucket()}",
            f"endpoint={running.endpoint}",
            running.environment,
            lambda: [(ask.method, ask.target) for ask in list(running.knobs.seen)],
        )
        return
    moto = request.getfixturevalue("moto")
    with faulty(moto.endpoint) as proxy:
        scheme = "s3" if cloud == "s3" else "libcloud+s3"
        options = f"endpoint={proxy.url},region=us-east-1"
        yield Counted(
            f"{scheme}://{moto.make_bucket()}",
            f"{options},addressing=path" if cloud == "s3" else options,
            {
                **moto.environment,
                "LIBCLOUD_KEY": moto.access_key,
                "LIBCLOUD_SECRET": moto.secret_key,
            },
            lambda: list(proxy.seen),
        )
