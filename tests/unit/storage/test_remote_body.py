"""Bodies that are read from a store while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bucketfs.errors import ObjectChanged
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.remote_body import RemoteBody
from bucketfs.workers import Workers

DATA = bytes(range(256)) * (9 << 12)  # More than two pieces.


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """Threads like those of the wire, which trio does not know."""
    threads = Workers(1, "wire")
    yield threads
    threads.close()


def sent(body: RemoteBody) -> bytes:
    """Do what the wire does, in its thread."""
    return b"".join(bytes(piece) for piece in body)


async def test_all_bytes_or_some(workers: Workers) -> None:
    store = MemoryStore()
    info = await store.write("a", BytesBody(DATA), ObjectAttributes())
    whole, some = RemoteBody(store, info), RemoteBody(store, info, 5, 7)
    assert (whole.size, some.size) == (len(DATA), 7)
    for _ in range(2):  # A body may be sent again.
        assert await workers.run(sent, whole) == DATA
    assert await workers.run(sent, some) == DATA[5:12]


async def test_an_object_that_was_replaced_is_not_sent(workers: Workers) -> None:
    store = MemoryStore()
    info = await store.write("a", BytesBody(DATA), ObjectAttributes())
    body = RemoteBody(store, info)
    await store.write("a", BytesBody(DATA[::-1]), ObjectAttributes())
    with pytest.raises(ObjectChanged):
        await workers.run(sent, body)
