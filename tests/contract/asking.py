"""Short words for what the contract tests do with a store."""

from __future__ import annotations

from bucketfs.storage.interface import (
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Precondition,
    Version,
)

MIB = 1 << 20
PLAIN = ObjectAttributes()
LABELLED = ObjectAttributes(
    {"mode": "33188", "mtime": "1700000000.123456789"}, "text/plain; charset=utf-8"
)


async def put(
    store: ObjectStore,
    key: str,
    data: bytes = b"",
    attributes: ObjectAttributes = PLAIN,
    precondition: Precondition | None = None,
) -> ObjectInfo:
    """Write an object."""
    return await store.write(key, BytesBody(data), attributes, precondition)


async def get(
    store: ObjectStore,
    key: str,
    start: int = 0,
    length: int = 64 * MIB,
    *,
    at: Version | None = None,
) -> bytes:
    """Read a range, at most as much as there is."""
    size = (await store.stat(key)).size if length == 64 * MIB else length
    buffer = bytearray(size)
    sink = MemorySink(buffer)
    await store.read_range(key, start, size, sink, at)
    return bytes(buffer[: sink.received])


async def walk(
    store: ObjectStore, prefix: str, delimiter: str = "", limit: int = 1000
) -> tuple[list[str], list[str]]:
    """List all pages; return keys and common prefixes below `prefix`, in the order they came."""
    keys: list[str] = []
    prefixes: list[str] = []
    marker: str | None = None
    while True:
        page = await store.list_page(prefix, delimiter, marker, limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        keys += [info.key.removeprefix(prefix) for info in page.objects]
        prefixes += [name.removeprefix(prefix) for name in page.prefixes]
        if page.next_marker is None:
            return keys, prefixes
        marker = page.next_marker


async def put_many(store: ObjectStore, keys: list[str], data: bytes = b"x") -> None:
    """Write many objects, sixteen at a time."""
    import trio

    left = iter(keys)

    async def work() -> None:
        for key in left:
            await put(store, key, data)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(work)
