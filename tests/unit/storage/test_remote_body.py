"""Bodies that are read from a store while they are sent."""

from __future__ import annotations

import pytest
import trio

from bucketfs.errors import ObjectChanged
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.remote_body import RemoteBody

DATA = bytes(range(256)) * (9 << 12)  # More than two pieces.


def sent(body: RemoteBody) -> bytes:
    """Do what the wire does, in its thread."""
    return b"".join(bytes(piece) for piece in body)


async def test_all_bytes_or_some() -> None:
    store = MemoryStore()
    info = await store.write("a", BytesBody(DATA), ObjectAttributes())
    whole, some = RemoteBody(store, info), RemoteBody(store, info, 5, 7)
    assert (whole.size, some.size) == (len(DATA), 7)
    for _ in range(2):  # A body may be sent again.
        assert await trio.to_thread.run_sync(sent, whole) == DATA
    assert await trio.to_thread.run_sync(sent, some) == DATA[5:12]


async def test_an_object_that_was_replaced_is_not_sent() -> None:
    store = MemoryStore()
    info = await store.write("a", BytesBody(DATA), ObjectAttributes())
    body = RemoteBody(store, info)
    await store.write("a", BytesBody(DATA[::-1]), ObjectAttributes())
    with pytest.raises(ObjectChanged):
        await trio.to_thread.run_sync(sent, body)
