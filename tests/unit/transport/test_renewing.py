"""When keys are looked for anew, who waits for it, and who does not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from bucketfs.errors import BucketfsError, ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials import ENVIRONMENT, Credentials
from bucketfs.transport.exchange import Request, Response
from bucketfs.transport.renewing import RenewedCredentials
from bucketfs.transport.signing import Blame, Renewal

SECRET = "s3cr3t/value"


class Clock:
    """The time of day, which a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def pass_by(self, time_s: float) -> None:
        """Let time pass."""
        self.now_s += time_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the time of day."""
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: clock.now_s)
    return clock


class Finder:
    """Finds what a test puts there, as often as it is asked."""

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self.lifetime_s: float | None = None
        self.is_of_file = False
        self.origin = "here"
        self.keys: str | None = None
        self.error: BucketfsError | None = None
        self.gate: trio.Event | None = None
        self._clock = clock

    async def find(self) -> Credentials:
        """Return keys that are named after how many searches there were, or `keys`."""
        self.count += 1
        name = self.keys or f"AK{self.count}"
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        ends_s = None if self.lifetime_s is None else self._clock.now_s + self.lifetime_s
        return Credentials(name, SECRET, "T", ends_s, self.origin, self.is_of_file)


@pytest.fixture
def finder(clock: Clock) -> Finder:
    """A finder that counts."""
    return Finder(clock)


@pytest.fixture
async def source(finder: Finder) -> RenewedCredentials:
    """What is tested."""
    return RenewedCredentials(finder.find)


async def settled() -> None:
    """Let what goes on in the background end."""
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize(
    ("lifetime_s", "good_s"), [(3600, 3300), (400, 200), (60, 30), (3, 1.5), (1, 0.5)]
)
async def test_keys_are_renewed_ahead_of_their_end(
    clock: Clock, finder: Finder, source: RenewedCredentials, lifetime_s: float, good_s: float
) -> None:
    finder.lifetime_s = lifetime_s
    first = await source.get()
    clock.pass_by(good_s - 0.1)
    assert await source.get() is first
    await settled()
    assert finder.count == 1
    clock.pass_by(0.2)
    assert await source.get() is first, "nobody waits"
    await settled()
    assert (await source.get()).access_key == "AK2"


async def test_nobody_waits_for_a_renewal_while_the_keys_are_good(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.lifetime_s = 3
    first = await source.get()
    finder.gate = trio.Event()
    clock.pass_by(2)
    for _ in range(10):
        with trio.fail_after(1):
            assert await source.get() is first
        await settled()
    assert finder.count == 2, "and one renewal is enough"
    clock.pass_by(2)
    async with trio.open_nursery() as nursery:
        found: list[str] = []

        async def wait() -> None:
            found.append((await source.get()).access_key)

        for _ in range(3):
            nursery.start_soon(wait)
        await settled()
        assert found == [], "keys that have ended are waited for"
        finder.gate.set()
    assert found == ["AK2"] * 3


@pytest.mark.allows_warnings
async def test_a_file_is_looked_at_again_after_some_seconds(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.is_of_file, finder.keys = True, "A"
    first = await source.get()
    clock.pass_by(11)
    await source.get()
    await settled()
    assert finder.count == 2
    assert await source.get() is first, "the same keys stay the same object"
    finder.keys = "B"
    clock.pass_by(11)
    await source.get()
    await settled()
    assert (await source.get()).access_key == "B"
    finder.keys, finder.origin = "C", "the machine"
    clock.pass_by(11)
    await source.get()
    await settled()
    assert (await source.get()).access_key == "B", "a file that is gone makes no other user"
    assert finder.count == 4
    with pytest.raises(KeysUnavailable, match="gives no keys any more"):
        await source.replace(await source.get(), is_certain=True)


async def test_keys_without_an_end_are_not_looked_for_again(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    first = await source.get()
    clock.pass_by(1e6)
    assert await source.get() is first
    await settled()
    assert finder.count == 1


async def test_refused_keys_are_replaced_at_once(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    first = await source.get()
    found: list[Credentials | None] = []

    async def replace() -> None:
        found.append(await source.replace(first, is_certain=True))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(replace)
    assert finder.count == 2, "one search is for all that were refused"
    assert {keys.access_key for keys in found if keys is not None} == {"AK2"}
    assert len(found) == 5


@pytest.mark.parametrize(("is_certain", "pause_s"), [(True, 1.0), (False, 30.0)])
async def test_a_forbidden_object_costs_no_search_at_each_request(
    clock: Clock, finder: Finder, source: RenewedCredentials, is_certain: bool, pause_s: float
) -> None:
    finder.keys = "A"
    first = await source.get()
    for _ in range(10):
        assert await source.replace(first, is_certain=is_certain) is None
    assert finder.count == 2
    clock.pass_by(pause_s + 0.1)
    finder.keys = "B"
    found = await source.replace(first, is_certain=is_certain)
    assert found is not None
    assert found.access_key == "B"
    assert finder.count == 3
    finder.keys = "C"
    assert await source.replace(found, is_certain=is_certain) is not None, "these were not refused"


@pytest.mark.allows_warnings
async def test_a_renewal_that_fails_is_tried_again(
    clock: Clock, finder: Finder, source: RenewedCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    finder.lifetime_s = 400
    first = await source.get()
    finder.error = ConfigurationError("it is broken")
    clock.pass_by(210)
    for _ in range(3):
        assert await source.get() is first
        await settled()
    assert finder.count == 2, "but not by each request"
    clock.pass_by(1.1)
    await source.get()
    await settled()
    assert finder.count == 3
    assert caplog.text.count("it is broken") == 1
    finder.error = None
    clock.pass_by(2.1)
    await source.get()
    await settled()
    assert (await source.get()).access_key == "AK4"


@pytest.mark.allows_warnings
async def test_what_went_well_before_may_go_well_again(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.error = ConfigurationError("there are none")
    with pytest.raises(ConfigurationError, match="there are none"):
        await source.get()
    finder.error, finder.lifetime_s = None, 100
    first = await source.get()
    finder.error = ConfigurationError("there are none")
    clock.pass_by(101)
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match="there are none") as caught:
            await source.get()
        assert not caught.value.sent
    assert finder.count == 4, "after two failures not each request tries by itself"
    with pytest.raises(KeysUnavailable):
        await source.replace(first, is_certain=True)
    assert await source.replace(first, is_certain=False) is None
    finder.error = None
    clock.pass_by(0.6)
    assert (await source.get()).access_key == "AK5"


async def test_keys_that_have_ended_when_they_are_found_are_tried(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.lifetime_s = -50
    first = await source.get()
    assert await source.get() is first
    assert finder.count == 1, "this machine's clock may be wrong"
    clock.pass_by(1)
    assert (await source.get()).access_key == "AK2"


@pytest.mark.allows_warnings
async def test_a_bug_in_finding_does_not_end_the_mount(
    clock: Clock, finder: Finder, source: RenewedCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    finder.lifetime_s = 100
    first = await source.get()

    async def broken() -> Credentials:
        raise ZeroDivisionError

    source._find = broken
    clock.pass_by(60)
    assert await source.get() is first
    await settled()
    assert await source.get() is first
    assert "renewing the keys broke" in caplog.text


async def test_keys_that_were_exchanged_may_come_late(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.keys = "A"
    first = await source.get()
    assert await source.replace(first, is_certain=True) is None, "they were never good"
    finder.keys = "B"
    clock.pass_by(2)
    second = await source.replace(first, is_certain=True)
    assert second is not None
    clock.pass_by(60)
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match="no others yet"):
            await source.replace(second, is_certain=True)
    assert await source.replace(second, is_certain=False) is None
    clock.pass_by(2)
    finder.keys = "C"
    third = await source.replace(second, is_certain=True)
    assert third is not None
    clock.pass_by(60)
    with pytest.raises(KeysUnavailable):
        await source.replace(third, is_certain=True)
    clock.pass_by(11)
    assert await source.replace(third, is_certain=True) is None, "there is an end to patience"
    clock.pass_by(3600)
    with pytest.raises(KeysUnavailable):
        await source.replace(third, is_certain=True)


async def test_nothing_is_waited_for_that_cannot_change(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    finder.keys, finder.origin = "A", ENVIRONMENT
    first = await source.get()
    clock.pass_by(60)
    assert await source.replace(first, is_certain=True) is None


def answering(*blames: Blame) -> tuple[Callable[[Response], Blame], list[Blame]]:
    """Return what blames in this order, and what is left of it."""
    left = list(blames)
    return lambda response: left.pop(0), left


async def test_a_refused_request_is_signed_again_with_other_keys(
    clock: Clock, finder: Finder, source: RenewedCredentials
) -> None:
    signed: list[str] = []

    async def attempt(signer: str) -> Response:
        signed.append(signer)
        return Response(403, {})

    renewal = Renewal(source, lambda keys: keys.access_key)
    blame, left = answering(Blame.KEYS, Blame.PERHAPS_KEYS, Blame.KEYS)
    assert (await renewal.send(attempt, blame)).status == 403
    assert signed == ["AK1", "AK2", "AK3"]
    assert left == [], "three times are enough"
    finder.keys = "AK3"
    blame, left = answering(Blame.KEYS)
    await renewal.send(attempt, blame)
    assert signed[3:] == ["AK3"], "not with the same keys"
    blame, left = answering(Blame.ELSEWHERE)
    count = finder.count
    await renewal.send(attempt, blame)
    assert finder.count == count


def test_a_request_says_nothing_of_secrets() -> None:
    assert "T" not in repr(Credentials("A", SECRET, "T"))
    assert SECRET not in repr(Request("GET", "http://x", "/", "x"))
