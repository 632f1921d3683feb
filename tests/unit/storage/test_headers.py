"""Headers <-> infos and attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import ConfusedServer, InvalidRequest
from bucketfs.storage.headers import (
    attribute_headers,
    decode_value,
    encode_value,
    has_etag,
    object_info,
    version_of,
)
from bucketfs.storage.interface import ObjectAttributes

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def test_an_info_is_read_from_the_headers_of_a_head() -> None:
    info = object_info(
        "k",
        {
            "content-length": "5",
            "etag": '"abc-2"',
            "last-modified": DATE,
            "content-type": "text/plain",
            "x-amz-meta-mode": "33188",
            "x-amz-storage-class": "GLACIER",
        },
    )
    assert (info.size, info.version, info.modified_ns) == (5, "abc-2", 1_700_000_000 * 10**9)
    assert info.metadata == {"mode": "33188"}
    assert (info.content_type, info.storage_class) == ("text/plain", "GLACIER")


def test_the_size_of_a_part_is_that_of_the_whole() -> None:
    headers = {"content-length": "2", "content-range": "bytes 1-2/10", "etag": '"x"'}
    assert object_info("k", headers).size == 10


@pytest.mark.parametrize("headers", [{}, {"content-length": "x"}, {"content-length": "-1"}])
def test_an_answer_without_a_size_is_confused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfusedServer):
        object_info("k", headers)


@pytest.mark.parametrize(("etag", "version"), [('"a"', "a"), ('W/"a"', "a"), ("a", "a")])
def test_a_version_is_the_etag_without_quotes(etag: str, version: str) -> None:
    assert version_of(etag, 0, 0) == version
    assert has_etag(version_of(etag, 0, 0))


def test_without_an_etag_date_and_size_stand_in() -> None:
    one = version_of(None, 10**9, 5)
    assert not has_etag(one)
    assert one == version_of('""', 10**9, 5)
    assert len({one, version_of(None, 2 * 10**9, 5), version_of(None, 10**9, 6)}) == 3


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_every_text_survives_as_metadata(value: str) -> None:
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return  # A lone surrogate that no bytes of a file system decode to.
    encoded = encode_value(value)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert encoded.strip() == encoded
    normal = value.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    assert decode_value(encoded) == normal


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("plain text", "plain text"),
        ("=?utf-8?q?a=C3=A4_b?=", "aä b"),
        ("=?UTF-8?B?w6Q=?= =?UTF-8?B?w7Y=?=", "äö"),
        ("a =?broken", "a =?broken"),
        ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ("=?no-such-charset?B?w6Q=?=", "=?no-such-charset?B?w6Q=?="),
        ("\xc3\xa4", "ä"),
    ],
)
def test_headers_of_others_are_decoded(header: str, value: str) -> None:
    assert decode_value(header) == value


@pytest.mark.parametrize(
    "attributes",
    [
        ObjectAttributes({"a b": "1"}),
        ObjectAttributes({"": "1"}),
        ObjectAttributes({"ä": "1"}),
        ObjectAttributes(content_type="text/plain\r\nx-evil: 1"),
    ],
)
def test_what_would_break_the_head_is_refused(attributes: ObjectAttributes) -> None:
    with pytest.raises(InvalidRequest):
        attribute_headers(attributes)


def test_attributes_become_headers() -> None:
    attributes = ObjectAttributes({"Mode": "33188", "x": "a\r\nb"}, "text/plain")
    headers = attribute_headers(attributes)
    assert headers["x-amz-meta-mode"] == "33188"
    assert headers["content-type"] == "text/plain"
    assert "\n" not in headers["x-amz-meta-x"]


def test_standard_headers_are_carried_along() -> None:
    answer = {
        "content-length": "3",
        "cache-control": "max-age=60",
        "content-encoding": "gzip",
        "x-amz-meta-mode": "33188",
    }
    found = object_info("k", answer)
    written = attribute_headers(ObjectAttributes(found.metadata or {}))
    assert written == {name: answer[name] for name in answer if name != "content-length"}
    with pytest.raises(InvalidRequest):
        attribute_headers(ObjectAttributes({":authorization": "x"}))
