"""Spill files and the bodies that send them."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.bodies import BLOCK_BYTES, Hole, SourcesBody, Spilled
from bucketfs.pagecache.direct import Stages
from bucketfs.pagecache.spill import MAX_VECTORS, SpillFile


def numbered() -> Callable[[], str]:
    """Return what gives each file a name of its own."""
    numbers = itertools.count()
    return lambda: f"{next(numbers)}.spill"


def test_bytes_lie_at_their_own_offsets_until_discard(tmp_path: Path) -> None:
    spill = SpillFile(tmp_path, numbered(), Stages())
    assert os.listdir(tmp_path) == []
    spill.write(5000, [b"one", memoryview(b"two")])
    spill.write(0, [b"x"] * (MAX_VECTORS * 2 + 1))
    assert spill.read(5000, 6) == b"onetwo"
    assert spill.read(0, MAX_VECTORS * 2 + 2) == b"x" * (MAX_VECTORS * 2 + 1) + b"\0"
    first = spill.path
    spill.discard()
    spill.discard()
    assert os.listdir(tmp_path) == []
    spill.write(0, [b"again"])
    assert spill.read(0, 5) == b"again"
    assert spill.path != first, "who knows the former name must not find other bytes there"
    spill.discard()


@pytest.mark.parametrize("first", [0, 4096, 5000])
@pytest.mark.parametrize("sizes", [[1 << 20], [1 << 20, 5], [3000, 1 << 20, 0, 7 << 20, 4095]])
def test_large_writes_past_the_page_cache_meet_small_ones(
    tmp_path: Path, first: int, sizes: list[int]
) -> None:
    spill = SpillFile(tmp_path, numbered(), Stages())
    expected = bytearray(os.urandom(first + sum(sizes) + 100))
    spill.write(0, [bytes(expected)])
    offset, buffers = first, [os.urandom(size) for size in sizes]
    for buffer in buffers:
        expected[offset : offset + len(buffer)] = buffer
        offset += len(buffer)
    spill.write(first, buffers)
    spill.write(offset - 1, [b"!"])
    expected[offset - 1 : offset] = b"!"
    assert spill.read(0, len(expected)) == expected
    spill.discard()


def test_a_disk_without_direct_writes_is_written_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> int:
        raise OSError(errno.EINVAL, "not aligned")

    monkeypatch.setattr(os, "pwrite", refusing)
    spill = SpillFile(tmp_path, numbered(), Stages())
    data = os.urandom(2 << 20)
    spill.write(0, [data])
    spill.write(len(data), [data])
    assert spill.read(0, 2 * len(data)) == data * 2
    spill.discard()


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev

    def short(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return whole(descriptor, [buffers[0][:2]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    spill = SpillFile(tmp_path, numbered(), Stages())
    spill.write(3, [b"hello", b"", b"world"])
    assert spill.read(3, 10) == b"helloworld"
    spill.discard()


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.ENOSPC, NoSpace), (errno.EIO, CacheDirectoryError)]
)
def test_a_full_disk_is_told_from_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception]
) -> None:
    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwritev", failing)
    spill = SpillFile(tmp_path, numbered(), Stages())
    with pytest.raises(expected, match=r"0\.spill"):
        spill.write(0, [b"x"])
    spill.discard()


def test_a_spill_file_that_lost_bytes_is_an_error(tmp_path: Path) -> None:
    spill = SpillFile(tmp_path, numbered(), Stages())
    spill.write(0, [b"abc"])
    with pytest.raises(CacheDirectoryError, match="shorter"):
        spill.read(0, 4)
    spill.discard()


def test_a_file_that_is_taken_over_must_be_as_long_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "left").write_bytes(b"abc")
    spill = SpillFile(tmp_path, numbered(), Stages())
    for name, least in (("left", 4), ("absent", 0)):
        with pytest.raises(CacheDirectoryError, match=name):
            spill.adopt(name, least)
    spill.adopt("left", 3)
    assert spill.read(0, 3) == b"abc"
    spill.discard()
    assert os.listdir(tmp_path) == []


def test_a_body_yields_its_sources_in_order_and_again(tmp_path: Path) -> None:
    spill = SpillFile(tmp_path, numbered(), Stages())
    spilled = b"s" * (BLOCK_BYTES + 3)
    spill.write(10, [spilled])
    hole = BLOCK_BYTES * 2 + 1
    body = SourcesBody([b"ab", Hole(hole), Spilled(spill, 10, len(spilled)), memoryview(b"z")])
    expected = b"ab" + bytes(hole) + spilled + b"z"
    assert body.size == len(expected)
    for _ in range(2):
        pieces = list(body)
        assert b"".join(pieces) == expected
        assert max(len(piece) for piece in pieces) <= BLOCK_BYTES
    spill.discard()
