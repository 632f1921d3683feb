"""A store that cannot be reached yet is tried again, for so long and no longer."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bucketfs.errors import AccessDenied, BucketNotFound, ConfigurationError, Transient
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.patience import open_patiently


class Network:
    """A store behind a network that comes up at a time, and how often it was tried."""

    def __init__(self, up_at_s: float, error: Exception | None = None) -> None:
        self.begin = trio.current_time()
        self.up_at_s = up_at_s
        self.error = error or Transient("connection refused")
        self.attempts = 0
        self.said: list[str] = []

    async def open(self) -> ObjectStore:
        self.attempts += 1
        if trio.current_time() - self.begin < self.up_at_s:
            raise self.error
        return MemoryStore("x")

    async def opened(self, limit_s: float) -> float:
        """Return after how many seconds it was opened."""
        await open_patiently(self.open, limit_s, self.said.append)
        return trio.current_time() - self.begin


async def test_a_network_that_comes_up_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = Network(up_at_s=30)
    assert 30 <= await network.opened(60) <= 45
    assert network.attempts < 12
    assert network.said[0] == "waiting for the store: connection refused"


@pytest.mark.parametrize("limit_s", [0.0, 20.0])
async def test_the_limit_is_kept(limit_s: float, autojump_clock: trio.testing.MockClock) -> None:
    network = Network(up_at_s=1000)
    with pytest.raises(Transient):
        await network.opened(limit_s)
    assert trio.current_time() - network.begin == pytest.approx(limit_s)
    assert network.attempts == 1 or limit_s


@pytest.mark.parametrize("kind", [AccessDenied, BucketNotFound, ConfigurationError])
async def test_what_a_person_has_to_correct_is_said_at_once(
    kind: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    network = Network(up_at_s=1000, error=kind("no"))
    with pytest.raises(kind):
        await network.opened(600)
    assert (network.attempts, trio.current_time() - network.begin) == (1, 0)
