"""The map of a file, against a bytearray."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.pagecache.extents import Extent, Extents, Kind, Ranges
from bucketfs.pagecache.pieces import Piece

BASE = bytes(range(1, 101))
SPILL = bytearray(400)

OFFSETS = st.integers(0, 150)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("memory"), OFFSETS, st.binary(min_size=1, max_size=60)),
        st.tuples(st.just("spill"), OFFSETS, st.binary(min_size=1, max_size=60)),
        st.tuples(st.just("truncate"), OFFSETS, st.none()),
    ),
    max_size=25,
)


def content(extents: Extents, spill: bytes | bytearray, start: int, stop: int) -> bytes:
    """Read a file by its map."""
    data = b""
    for extent in extents.slices(start, stop):
        match extent.kind:
            case Kind.BASE:
                data += BASE[extent.start : extent.stop]
            case Kind.ZERO:
                data += bytes(extent.length)
            case Kind.SPILLED:
                data += spill[extent.start : extent.stop]
            case _:
                data += extent.view()
    return data


@given(base=st.integers(0, 100), operations=OPERATIONS, low=OFFSETS, high=OFFSETS)
def test_the_map_gives_what_was_written(
    base: int, operations: list[Any], low: int, high: int
) -> None:
    model = bytearray(BASE[:base])
    spill = bytearray(400)
    extents = Extents(base)
    live: dict[Piece, int] = {}
    for name, offset, data in operations:
        if name == "truncate":
            removed = extents.truncate(offset)
            model[offset:] = bytes(max(0, offset - len(model)))
        else:
            model.extend(bytes(max(0, offset - len(model))))
            model[offset : offset + len(data)] = data
            stop = offset + len(data)
            if name == "memory":
                piece = Piece(data)
                live[piece] = len(data)
                removed = extents.put(offset, stop, Kind.DIRTY, piece, -offset)
            else:
                spill[offset:stop] = data
                removed = extents.put(offset, stop, Kind.SPILLED)
        for extent in removed:
            if extent.piece is not None:
                live[extent.piece] -= extent.length
        check_row(extents, len(model))
    assert content(extents, spill, 0, 1000) == bytes(model)
    assert content(extents, spill, low, high) == bytes(model[low:high])
    assert sum(live.values()) == sum(e.length for e in extents if e.piece is not None)
    part = extents.copy(low, high)
    assert content(part, spill, low, high) == bytes(model[low:high])


def check_row(extents: Extents, size: int) -> None:
    """The row is gapless, has no empty extent, and no two that could be one."""
    row = list(extents)
    assert extents.size == size == (row[-1].stop if row else 0)
    assert all(extent.length > 0 for extent in row)
    at = 0
    for before, extent in zip([None, *row], row, strict=False):
        assert extent.start == at
        assert before is None or not extent.continues(before)
        at = extent.stop


def test_a_copy_does_not_change() -> None:
    extents = Extents(10)
    copy = extents.copy()
    extents.put(2, 4, Kind.ZERO)
    extents.truncate(5)
    assert list(copy) == [Extent(0, 10, Kind.BASE)]
    assert copy.size == 10


def test_an_unchanged_file_is_all_base() -> None:
    assert Extents(5).is_all_base
    assert not Extents(0).is_all_base
    extents = Extents(5)
    extents.truncate(6)
    assert not extents.is_all_base


@given(
    ranges=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12),
    stop=st.integers(0, 60),
    probe=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_ranges_are_a_set_of_offsets(
    ranges: list[tuple[int, int]], stop: int, probe: tuple[int, int]
) -> None:
    model: set[int] = set()
    found = Ranges()
    for low, high in ranges:
        found.add(low, high)
        model |= set(range(low, high))
    gaps = found.gaps(stop)
    assert {at for low, high in gaps for at in range(low, high)} == set(range(stop)) - model
    assert gaps == sorted(gaps)
    assert all(low < high for low, high in gaps)
    assert found.overlaps(*probe) == bool(model & set(range(*probe)))
    assert bool(found) == bool(model)
