"""Images: what a content consists of, in a form that outlives the process.

An image says where each range of a file is: in the spill file, in the version of the object that
the file rests on, nowhere (zeros), or, for small files, in the image itself, so that writing one
row of the journal makes the whole file durable.
"""

from __future__ import annotations

from dataclasses import dataclass

from bucketfs.pagecache.extents import END, Extent, Kind
from bucketfs.pagecache.pages import Pages
from bucketfs.storage.interface import ObjectInfo

ROW_BYTES = 64 << 10
"""Files up to this size are kept in the image itself: one fsync instead of two."""

Range = tuple[int, int, str]
"""Start, stop, and where the bytes are: one of the four below."""
SPILL, BASE, ZERO, ROW = "spill", "base", "zero", "row"

_PLACES = {Kind.BASE: BASE, Kind.CLEAN: BASE, Kind.ZERO: ZERO}


@dataclass(frozen=True, slots=True)
class Image:
    """A file of `size` bytes: gapless ascending `ranges`, and what they refer to.

    `spill` names a file in the cache folder's `spill`; `data` has the bytes of the "row" ranges at
    their own offsets. `base`: the version that the "base" ranges are of.
    """

    size: int
    ranges: tuple[Range, ...]
    spill: str | None
    data: bytes | None
    base: ObjectInfo | None

    @property
    def spilled_stop(self) -> int:
        """How long the spill file is at least."""
        return max((stop for _, stop, where in self.ranges if where == SPILL), default=0)


async def take(pages: Pages, base: ObjectInfo | None) -> Image:
    """Return the image of a file as it is now; what it refers to is on disk, durably.

    Raises: NoSpace, CacheDirectoryError.
    """
    if pages.size <= ROW_BYTES:
        return await _small(pages, base)
    extents = await pages.spill_all()
    places = {**_PLACES, Kind.DIRTY: SPILL, Kind.SPILLED: SPILL}
    ranges = tuple((e.start, e.stop, places[e.kind]) for e in extents)
    has_spill = any(where == SPILL for _, _, where in ranges)
    return Image(extents.size, ranges, pages.spill.path.name if has_spill else None, None, base)


async def _small(pages: Pages, base: ObjectInfo | None) -> Image:
    """Return an image that has every written byte in itself."""
    ranges = []
    async with pages.frozen(0, END) as extents:
        data = bytearray(extents.size)
        for extent in extents:
            ranges.append((extent.start, extent.stop, _PLACES.get(extent.kind, ROW)))
            if extent.is_changed and extent.kind is not Kind.ZERO:
                data[extent.start : extent.stop] = await _bytes_of(pages, extent)
    return Image(len(data), tuple(ranges), None, bytes(data), base)


async def _bytes_of(pages: Pages, extent: Extent) -> bytes | memoryview:
    if extent.kind is Kind.SPILLED:
        return await pages.read_spilled(extent.start, extent.length)
    return extent.view()


async def restore(pages: Pages, image: Image) -> None:
    """Make new `pages` what the image says. Raises: NoSpace, CacheDirectoryError."""
    pages.rest_on_base(image.size)
    for start, stop, where in image.ranges:
        if where == SPILL:
            pages.place(start, stop, Kind.SPILLED)
        elif where == ZERO:
            pages.place(start, stop, Kind.ZERO)
        elif where == ROW:
            assert image.data is not None, "a range in the row, but no bytes"
            await pages.write(start, image.data[start:stop])
