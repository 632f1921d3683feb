"""Pieces of memory that hold written bytes, and that are never changed once filled.

Because a filled byte of a piece never changes, an upload can send views of pieces while the file is
being written to: a write over them puts another piece in their place.
"""

from __future__ import annotations

PAGE_BUFFER_BYTES = 64 << 10
"""Small writes in a row are gathered in buffers of this size: 16 of the kernel's 4 KiB pages."""


class Piece:
    """Bytes of one file, as the kernel gave them or gathered from small writes.

    `charged_bytes` is what it counts in the memory budget; `live_bytes` how many of its bytes the
    file's extents still refer to. At 0 the charge is given back.
    """

    __slots__ = ("_filled", "_view", "charged_bytes", "live_bytes")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data)
        self._filled = self.charged_bytes = self.live_bytes = self._view.nbytes

    @classmethod
    def gathering(cls, data: bytes | memoryview, before_bytes: int) -> Piece:
        """Make a piece that begins with `data` and that `extend` can go on filling.

        It has as much room as there are bytes before it, within bounds: small files hold no more
        than twice their size.
        """
        piece = cls(bytearray(min(PAGE_BUFFER_BYTES, max(before_bytes, len(data)))))
        piece._filled = piece.charged_bytes = piece.live_bytes = 0
        piece.extend(data)
        return piece

    @property
    def filled_bytes(self) -> int:
        """How many of its bytes are filled; these never change."""
        return self._filled

    @property
    def room_bytes(self) -> int:
        """How many more bytes `extend` takes."""
        return self._view.nbytes - self._filled

    def extend(self, data: bytes | memoryview) -> None:
        """Fill the next bytes with `data` (at most `room_bytes`) and count them."""
        count = len(data)
        self._view[self._filled : self._filled + count] = data
        self._filled += count
        self.charged_bytes += count
        self.live_bytes += count

    def view(self, start: int, stop: int) -> memoryview:
        """Return its bytes `start` to `stop`, without a copy."""
        return self._view[start:stop]
