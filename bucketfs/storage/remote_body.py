"""RemoteBody: bytes that a store has, as a body to send: for what the server will not copy."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from bucketfs.errors import ObjectChanged
from bucketfs.storage.interface import MemorySink, ObjectInfo, ObjectStore

_PIECE_BYTES = 4 << 20


class RemoteBody:
    """A range of one version of an object; each piece is read from `store` when it is sent.

    Made in the trio thread and iterated in another one (as every body is). Iterating raises what
    reading raises: ObjectChanged where the object is another one by now.
    """

    def __init__(
        self, store: ObjectStore, info: ObjectInfo, start: int = 0, length: int | None = None
    ) -> None:
        self._store = store
        self._info = info
        self._start = start
        self._length = info.size - start if length is None else length
        self._token = trio.lowlevel.current_trio_token()

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order, reading each piece in the trio thread."""
        stop = self._start + self._length
        for start in range(self._start, stop, _PIECE_BYTES):
            length = min(_PIECE_BYTES, stop - start)
            # The thread may be any: one of `workers` is not known to trio.
            yield trio.from_thread.run(self._read, start, length, trio_token=self._token)

    async def _read(self, start: int, length: int) -> memoryview:
        buffer = bytearray(length)
        sink = MemorySink(buffer)
        info = self._info
        await self._store.read_range(info.key, start, length, sink, info.version)
        if sink.received != length:
            raise ObjectChanged("the object is shorter by now", key=info.key, operation="read")
        return memoryview(buffer)
