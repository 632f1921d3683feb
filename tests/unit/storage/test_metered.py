"""Metered: calls of stores without a wire are requests, with their bytes."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from bucketfs.counting.meter import Meter
from bucketfs.errors import ObjectNotFound, Transient
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.metered import Metered
from bucketfs.storage.retrying import Retrying
from tests.unit.storage.failing import Failing

PLAIN = ObjectAttributes()


def figures(meter: Meter, operation: str, *names: str) -> list[Any]:
    found = meter.report()["requests"][operation]
    return [found[name] for name in names]


async def test_every_call_counts_with_its_bytes() -> None:
    meter = Meter()
    store = Metered(MemoryStore(), meter)
    await store.write("a", BytesBody(b"12345"), PLAIN)
    await store.read_range("a", 1, 3, MemorySink(bytearray(3)))
    upload = await store.begin_upload("b", PLAIN)
    part = await upload.add_part(1, BytesBody(b"part"))
    await upload.commit([part])
    assert figures(meter, "write", "requests", "sent_bytes") == [1, 5]
    assert figures(meter, "read_range", "requests", "received_bytes") == [1, 3]
    assert figures(meter, "add_part", "requests", "sent_bytes") == [1, 4]
    assert figures(meter, "begin_upload", "requests") == [1]
    assert figures(meter, "commit", "requests", "in_flight") == [1, 0]
    assert meter.report()["requests"]["write"]["latency_s"]["max"] > 0


async def test_an_answer_is_no_failure() -> None:
    meter = Meter()
    with pytest.raises(ObjectNotFound):
        await Metered(MemoryStore(), meter).stat("b")
    assert figures(meter, "stat", "requests", "failures", "in_flight") == [1, 0, 0]


async def test_each_attempt_counts_and_is_told_as_a_repetition(autojump_clock: MockClock) -> None:
    meter = Meter()
    inner = Failing(MemoryStore())
    inner.plan("write", Transient("away"), times=2)
    store = Retrying(Metered(inner, meter), meter=meter)
    await store.write("a", BytesBody(b"1"), PLAIN)
    assert figures(meter, "write", "requests", "failures", "retries") == [3, 2, 2]
    assert figures(meter, "write", "sent_bytes") == [1]
