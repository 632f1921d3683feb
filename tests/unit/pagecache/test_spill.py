"""Spill files and the bodies that send them."""

from __future__ import annotations

import errno
import os

import pytest

from bucketfs.errors import CacheDirectoryError, NoSpace
from bucketfs.pagecache.bodies import BLOCK_BYTES, Hole, SourcesBody, Spilled
from bucketfs.pagecache.spill import MAX_VECTORS, SpillFile


def test_bytes_lie_at_their_own_offsets_until_discard(tmp_path):
    spill = SpillFile(tmp_path / "a.spill")
    assert not spill.path.exists()
    spill.write(5000, [b"one", memoryview(b"two")])
    spill.write(0, [b"x"] * (MAX_VECTORS * 2 + 1))
    assert spill.read(5000, 6) == b"onetwo"
    assert spill.read(0, MAX_VECTORS * 2 + 2) == b"x" * (MAX_VECTORS * 2 + 1) + b"\0"
    spill.discard()
    spill.discard()
    assert not spill.path.exists()
    spill.write(0, [b"again"])
    assert spill.read(0, 5) == b"again"
    spill.discard()


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    whole = os.pwritev

    def short(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return whole(descriptor, [buffers[0][:2]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    spill = SpillFile(tmp_path / "a.spill")
    spill.write(3, [b"hello", b"", b"world"])
    assert spill.read(3, 10) == b"helloworld"
    spill.discard()


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.ENOSPC, NoSpace), (errno.EIO, CacheDirectoryError)]
)
def test_a_full_disk_is_told_from_a_broken_one(tmp_path, monkeypatch, code, expected):
    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwritev", failing)
    spill = SpillFile(tmp_path / "a.spill")
    with pytest.raises(expected, match=r"a\.spill"):
        spill.write(0, [b"x"])
    spill.discard()


def test_a_spill_file_that_lost_bytes_is_an_error(tmp_path):
    spill = SpillFile(tmp_path / "a.spill")
    spill.write(0, [b"abc"])
    with pytest.raises(CacheDirectoryError, match="shorter"):
        spill.read(0, 4)
    spill.discard()


def test_a_body_yields_its_sources_in_order_and_again(tmp_path):
    spill = SpillFile(tmp_path / "a.spill")
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
