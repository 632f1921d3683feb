"""A store of Kodo behind a network that fails: nothing is lost, torn, or done twice."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from bucketfs.errors import ObjectExists, Transient
from bucketfs.storage.interface import ABSENT, BytesBody, ObjectStore
from bucketfs.storage.opening import StoreOptions, open_store
from tests.contract.asking import LABELLED, PLAIN, get, put, walk
from tests.emulators.kodo.answers import json_answer
from tests.emulators.serving import RunningEmulator
from tests.faults.proxy import FaultyServer, Rule, faulty

MIB = 1 << 20


@pytest.fixture
def proxy(kodo: RunningEmulator) -> Iterator[FaultyServer]:
    """The network before the emulator."""
    with faulty(kodo.endpoint) as found:
        yield found


@pytest.fixture
async def store(kodo: RunningEmulator, proxy: FaultyServer) -> AsyncIterator[ObjectStore]:
    """A bucket behind it, as a mount opens it."""
    options = StoreOptions(
        endpoint=proxy.url, timeout_s=10, attempts=5, environment=kodo.environment
    )
    opened = await open_store(f"kodo://{kodo.make_bucket()}", options)
    yield opened
    proxy.heal()
    kodo.knobs.reset()
    await opened.aclose()


async def test_torn_downloads_go_on(store: ObjectStore, proxy: FaultyServer) -> None:
    data = os.urandom(3 * MIB)
    info = await put(store, "a", data)
    proxy.fail_next(3, "cut", "GET")
    assert await get(store, "a", 0, len(data), at=info.version) == data


@pytest.mark.parametrize("fault", ["lost", "reset", "503", "cut"])
async def test_a_write_that_must_be_the_first(
    store: ObjectStore, proxy: FaultyServer, fault: str
) -> None:
    await store.list_page("")
    proxy.rule = rule_once(fault, lambda path: path == "/")
    await put(store, "a", b"ours", LABELLED, ABSENT)
    assert await get(store, "a") == b"ours"
    with pytest.raises(ObjectExists):
        await put(store, "a", b"again", LABELLED, ABSENT)


@pytest.mark.parametrize("fault", ["lost", "reset", "503", "cut"])
async def test_a_commit(store: ObjectStore, proxy: FaultyServer, fault: str) -> None:
    upload = await store.begin_upload("a", PLAIN)
    proxy.fail_next(1, fault, "PUT")
    parts = [await upload.add_part(n, BytesBody(bytes([n]) * MIB)) for n in (1, 2)]
    proxy.rule = rule_once(fault, lambda path: path.endswith(upload.upload_id))
    await upload.commit(parts)
    assert await get(store, "a") == b"\1" * MIB + b"\2" * MIB


@pytest.mark.parametrize("fault", ["lost", "reset", "503", "cut"])
async def test_a_move(store: ObjectStore, proxy: FaultyServer, fault: str) -> None:
    await put(store, "a", b"bytes", LABELLED)
    proxy.rule = rule_once(fault, lambda path: path == "/batch")
    moved = await store.move("a", "b")
    assert (moved.key, moved.size) == ("b", 5)
    assert await walk(store, "") == (["b"], [])


async def test_throttling_is_waited_for(kodo: RunningEmulator, store: ObjectStore) -> None:
    await put(store, "a", b"x")
    kodo.knobs.refuse_next(2, lambda ask: json_answer(573, {"error": "too many requests"}))
    assert (await store.stat("a")).size == 1


async def test_an_outage_is_no_absence(store: ObjectStore, proxy: FaultyServer) -> None:
    await put(store, "a", b"x")
    proxy.rule = lambda method, path: "503"
    with pytest.raises(Transient):
        await store.stat("a")
    proxy.heal()
    assert (await store.stat("a")).size == 1


def rule_once(fault: str, is_meant: Callable[[str], bool]) -> Rule:
    """Return a rule that lets the first meant request meet `fault`."""
    left = [1]

    def rule(method: str, path: str) -> str | None:
        if left[0] and is_meant(path):
            left[0] = 0
            return fault
        return None

    return rule
