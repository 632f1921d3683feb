"""qetag: known values, and equality with Qiniu's own function."""

from __future__ import annotations

import hashlib
import io
import zlib

import pytest
import qiniu
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketfs.storage.interface import BytesBody
from bucketfs.storage.kodo.qetag import (
    HashedPart,
    MeasuredBody,
    Qetag,
    crc32_and_qetag,
    joined_qetag,
)

MIB = 1 << 20


def hashed(data: bytes) -> HashedPart:
    """Return a part of these bytes."""
    body = MeasuredBody(BytesBody(data))
    assert b"".join(body) == data
    return HashedPart(body.size, body.digest)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "Fto5o-5ea0sNMlW_75VgGJCv2AcJ"),
        (b"hello", "Fqr0xh3cxeii2r7eDztILNmuqUNN"),
        (b"a" * (4 * MIB), "FuwQ-vpd56Izwiom1JHzCIdrQa4_"),
        (b"a" * (4 * MIB + 1), "lieGn00gWdbfwEIHaUpzu4drHeun"),
        (b"a" * (8 * MIB), "lne6DpQaoBdMk9ZF2gyHXgiAM51E"),
    ],
)
def test_known_hashes(data: bytes, expected: str) -> None:
    assert crc32_and_qetag(BytesBody(data)) == (zlib.crc32(data), expected)


@settings(max_examples=20)
@given(st.binary(max_size=64), st.integers(0, 3 * MIB), st.integers(MIB // 7, 5 * MIB))
def test_pieces_make_no_difference(start: bytes, filler: int, piece: int) -> None:
    data = start + bytes(filler) + start * 3 + bytes(4 * MIB)
    qetag = Qetag()
    for at in range(0, len(data), piece):
        qetag.update(data[at : at + piece])
    assert qetag.text() == qiniu.utils.etag_stream(io.BytesIO(data))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([4, 2], "liSj6bzjeX1YHZUg0Ii2UC3xRpgj"),
        ([5, 1], "nvy6GAkHIfaGM_greURiDckdKLSO"),
        ([6], "nn9klRSu90RyqpqfdjLcLQkdlxhX"),
        ([4], "FuwQ-vpd56Izwiom1JHzCIdrQa4_"),
        ([4, 4], "lne6DpQaoBdMk9ZF2gyHXgiAM51E"),
    ],
)
def test_hashes_of_uploads_in_parts(sizes: list[int], expected: str) -> None:
    assert joined_qetag([hashed(b"a" * (size * MIB)) for size in sizes]) == expected


def test_a_body_is_measured_anew_when_it_is_sent_again() -> None:
    body = MeasuredBody(BytesBody(b"hello"))
    for _ in range(2):
        assert b"".join(body) == b"hello"
        assert body.md5 == hashlib.md5(b"hello").hexdigest()
