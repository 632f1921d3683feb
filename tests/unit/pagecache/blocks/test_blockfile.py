"""A block's file proves what it is, or nothing of it is shown."""

from __future__ import annotations

import errno
import os
import random
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketfs.pagecache.blocks import blockfile
from bucketfs.pagecache.blocks.blockfile import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    TRAILER_BYTES,
    BlockKey,
    DamagedBlock,
    OpenBlock,
    block_of,
    digest_of,
)
from bucketfs.storage.interface import Version

DATA = random.Random(3).randbytes(3 * CHUNK_BYTES + 77)
DIGEST = digest_of("s3://b", "k", Version("v"), len(DATA))
KEY = block_of(DIGEST, 0, len(DATA))
texts = st.text(st.characters(codec=None), max_size=20)


def written(path: Path, key: BlockKey = KEY, data: bytes = DATA) -> bytes:
    """Write a block's file and return what it consists of."""
    path.unlink(missing_ok=True)
    blockfile.write(path, key, memoryview(data))
    return path.read_bytes()


def read(path: Path, key: BlockKey = KEY, start: int = 0, length: int | None = None) -> bytes:
    """Read a block's file as it is read in earnest. Raises: DamagedBlock."""
    target = memoryview(bytearray(key.length - start if length is None else length))
    with OpenBlock.open(path, key) as block:
        block.read_into(start, target)
    return bytes(target)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "b")
    assert read(tmp_path / "b") == DATA
    assert (
        read(tmp_path / "b", start=CHUNK_BYTES, length=CHUNK_BYTES)
        == DATA[CHUNK_BYTES:][:CHUNK_BYTES]
    )
    assert read(tmp_path / "b", start=3 * CHUNK_BYTES) == DATA[3 * CHUNK_BYTES :]


@pytest.mark.parametrize("length", [1, 4095, 4096, 300_000, BLOCK_BYTES - 1, BLOCK_BYTES])
@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("has_direct", [True, False])
def test_all_lengths_and_any_memory_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, is_aligned: bool, has_direct: bool
) -> None:
    data = random.Random(length).randbytes(length)
    buffer = blockfile.new_buffer() if is_aligned else memoryview(bytearray(2 * BLOCK_BYTES))[1:]
    buffer[:length] = data
    key = block_of(DIGEST, 0, length)
    if not has_direct:
        real = os.open

        def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return real(path, flags, mode)

        monkeypatch.setattr(os, "open", refusing)
    blockfile.write(tmp_path / "b", key, buffer)
    assert read(tmp_path / "b", key) == data
    blockfile.write(tmp_path / "d", key, memoryview(data))
    assert (tmp_path / "d").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="bytes given"):
        blockfile.write(tmp_path / "c", key, memoryview(data[:-1]))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, TRAILER_BYTES + len(DATA) - 1), flip=st.integers(1, 255))
def test_no_changed_byte_is_ever_shown(tmp_path: Path, place: int, flip: int) -> None:
    path = tmp_path / "b"
    file = bytearray(written(path))
    file[place] ^= flip
    path.write_bytes(file)
    with pytest.raises(DamagedBlock):
        read(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1)), min_size=1))
def test_a_file_that_is_overwritten_is_shown_as_it_was_or_not(
    tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    path = tmp_path / "b"
    file = bytearray(written(path))
    for place, data in changes:
        place %= len(file)
        file[place : place + len(data)] = data
    path.write_bytes(file)
    try:
        assert read(path) == DATA
    except DamagedBlock:
        assert file != written(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, TRAILER_BYTES + len(DATA) - 1))
def test_a_file_that_was_cut_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "b"
    path.write_bytes(written(path)[:length])
    with pytest.raises(DamagedBlock):
        read(path)


def test_zeros_and_longer_files_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "b"
    file = written(path)
    for wrong in (bytes(len(file)), file + b"x", bytes(len(DATA)) + file[len(DATA) :], b""):
        path.write_bytes(wrong)
        with pytest.raises(DamagedBlock):
            read(path)


def test_blocks_that_changed_places_are_damaged(tmp_path: Path) -> None:
    size = 3 * BLOCK_BYTES
    digest = digest_of("s3://b", "k", Version("v"), size)
    block = random.Random(5).randbytes(BLOCK_BYTES)
    for number in (0, 1):
        written(tmp_path / str(number), block_of(digest, number, size), block)
    (tmp_path / "0").rename(tmp_path / "1")
    with pytest.raises(DamagedBlock):
        read(tmp_path / "1", block_of(digest, 1, size))
    other = digest_of("s3://b", "k", Version("w"), size)
    with pytest.raises(DamagedBlock):
        read(tmp_path / "1", block_of(other, 0, size))


def test_chunks_that_changed_places_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "b"
    file = written(path)
    data, trailer = file[: len(DATA)], file[len(DATA) :]
    first, second = data[:CHUNK_BYTES], data[CHUNK_BYTES : 2 * CHUNK_BYTES]
    path.write_bytes(second + first + data[2 * CHUNK_BYTES :] + trailer)
    with pytest.raises(DamagedBlock):
        read(path)


@given(
    st.tuples(texts, texts, texts, st.integers(0, 9)),
    st.tuples(texts, texts, texts, st.integers(0, 9)),
)
def test_only_equal_objects_have_equal_names(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    digests = [digest_of(i, k, Version(v), size) for i, k, v, size in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 40))
def test_names_of_files_lead_back(digest: bytes, number: int) -> None:
    key = BlockKey(digest, number, 1)
    assert blockfile.parse_name(*key.name.split("/")) == key.short_name
    assert blockfile.file_of(key.short_name, digest[16:]) == key.name


@given(st.text(string.hexdigits + "-/. \xe9", max_size=2), st.text(string.hexdigits + "-x.\xe9"))
def test_other_names_are_none_of_ours(folder: str, name: str) -> None:
    found = blockfile.parse_name(folder, name)
    assert found is None or len(name.partition("-")[0]) == 64


@pytest.mark.parametrize("number", ["+0", " 0", "0x0", "00", "A", "-1", "1" * 20, ""])
def test_other_spellings_are_none_of_ours(number: str) -> None:
    text = DIGEST.hex()
    assert blockfile.parse_name(text[:2], f"{text}-0") is not None
    assert blockfile.parse_name(text[:2], f"{text}-{number}") is None
    assert blockfile.parse_name(text[:2], f"{text[:2]} {text[2:]}-0") is None
    assert blockfile.parse_name("zz", f"{text}-0") is None
