"""CRC-64 against crcmod, the reference implementation; bodies and sinks that sum."""

from __future__ import annotations

import crcmod
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.storage.crc64 import SummedBody, SummedSink, crc64, joined
from bucketfs.storage.interface import BytesBody, MemorySink

REFERENCE = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF, rev=True)


def test_check_values() -> None:
    assert crc64(b"") == 0
    assert crc64(b"hello") == 11177612005948864433
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA


@given(st.binary(), st.binary())
def test_pieces_in_a_row(first: bytes, second: bytes) -> None:
    whole = REFERENCE(first + second)
    assert crc64(second, crc64(first)) == whole
    assert crc64(memoryview(bytearray(first + second))) == whole
    assert joined(crc64(first), crc64(second), len(second)) == whole


def test_a_body_is_summed_anew_each_time_it_is_sent() -> None:
    body = SummedBody(BytesBody(b"hello"))
    next(iter(body))  # A sending that broke off.
    assert b"".join(bytes(piece) for piece in body) == b"hello"
    assert (body.size, body.crc) == (5, crc64(b"hello"))


def test_a_sink_sums_what_it_was_told_of() -> None:
    buffer = bytearray(8)
    sink = SummedSink(MemorySink(buffer))
    for piece in (b"he", b"llo"):
        sink.room()[: len(piece)] = piece
        sink.advance(len(piece))
    assert bytes(buffer[:5]) == b"hello"
    assert (sink.received, sink.crc) == (5, crc64(b"hello"))
