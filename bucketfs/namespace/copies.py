"""Copies: what proves that one object is the copy of another, so that one of them may go.

After a crash nobody remembers which copies had arrived. Deleting on a guess would lose bytes, so
only proofs count; where nothing proves it, both objects stay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bucketfs.errors import ObjectArchived, ObjectChanged, ObjectNotFound
from bucketfs.storage.headers import has_etag
from bucketfs.storage.interface import MemorySink, ObjectInfo, ObjectStore

COMPARED_AT_ONCE_BYTES = 1 << 20

_OWN_TIMES = frozenset(("mtime", "ctime"))
"""Metadata that this and s3fs write: times to the nanosecond, which two objects never share unless
one is the copy of the other."""


async def is_copy(store: ObjectStore, one: ObjectInfo, other: ObjectInfo) -> bool:
    """Tell whether two objects, as they were listed, have the same bytes.

    By their ETags, else by metadata that no two files share, else (objects of other programs that
    were uploaded in parts, servers that encrypt) by reading and comparing both. False where either
    is not what was listed any more, or cannot be read because it is archived. Raises: StorageError.
    """
    if one.size != other.size:
        return False
    if one.size == 0 or (one.version == other.version and has_etag(one.version)):
        return True
    try:
        first, second = await store.stat(one.key), await store.stat(other.key)
        if (first.version, second.version) != (one.version, other.version):
            return False
        if first.metadata == second.metadata and set(first.metadata or ()) >= _OWN_TIMES:
            return True
        return await _has_same_bytes(store, first, second)
    except (ObjectNotFound, ObjectChanged, ObjectArchived):
        return False


async def find(store: ObjectStore, key: str) -> ObjectInfo | None:
    """Return what is at a key with its metadata, None where the store says that nothing is."""
    try:
        return await store.stat(key)
    except ObjectNotFound:
        return None


async def each_page(
    store: ObjectStore,
    prefix: str,
    work: Callable[[Sequence[ObjectInfo]], Awaitable[None]],
) -> None:
    """Do `work` on each page of everything below a prefix, in order.

    It may delete what it is given. Where listings are in no order of keys, all is listed before the
    first page is worked on.
    """
    is_ordered = store.capabilities.listing_is_ordered
    pages: list[Sequence[ObjectInfo]] = []
    marker: str | None = None
    while True:
        page = await store.list_page(prefix, "", marker)
        if is_ordered:
            await work(page.objects)
        else:
            pages.append(page.objects)
        marker = page.next_marker
        if marker is None:
            break
    for objects in pages:
        await work(objects)


async def by_suffix(store: ObjectStore, prefix: str) -> Mapping[str, ObjectInfo]:
    """Return all objects below a prefix, by what follows it (some 500 bytes of memory each)."""
    found: dict[str, ObjectInfo] = {}

    async def note(objects: Sequence[ObjectInfo]) -> None:
        found.update((info.key[len(prefix) :], info) for info in objects)

    await each_page(store, prefix, note)
    return found


async def _has_same_bytes(store: ObjectStore, one: ObjectInfo, other: ObjectInfo) -> bool:
    """Compare two objects of one size. Raises: ObjectChanged, ObjectNotFound, StorageError."""
    for start in range(0, one.size, COMPARED_AT_ONCE_BYTES):
        length = min(COMPARED_AT_ONCE_BYTES, one.size - start)
        pieces = []
        for info in (one, other):
            buffer = bytearray(length)
            sink = MemorySink(buffer)
            await store.read_range(info.key, start, length, sink, if_version=info.version)
            if sink.received != length:
                return False
            pieces.append(buffer)
        if pieces[0] != pieces[1]:
            return False
    return True
