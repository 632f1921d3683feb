"""Metadata in Kodo's alphabet and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import InvalidRequest
from bucketfs.storage.interface import ObjectAttributes
from bucketfs.storage.kodo.metadata import (
    MAX_BYTES,
    PREFIX,
    content_type_of,
    decode_value,
    encode_value,
    fields_of,
    parse_fields,
    storage_class_name,
)
from bucketfs.storage.kodo.store import KodoStore
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_kodo import KodoCredentials

ALPHABET = re.compile("[0-9A-Za-z.+/;=,_ -]+")


@given(st.text())
def test_every_value_comes_back(value: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in value):
        value = "\udcff" + re.sub("[\ud800-\udfff]", "", value)  # an escaped byte
    stored = encode_value(value)
    assert ALPHABET.fullmatch(stored)
    assert stored == stored.strip()
    assert decode_value(stored) == value
    assert parse_fields({"a": stored}) == {"a": value}


@pytest.mark.parametrize("value", ["33188", "1700000000.123456789", "a/b+c;d=e,f_g-h", "a b"])
def test_what_fits_stays_as_it_is(value: str) -> None:
    assert encode_value(value) == value


@pytest.mark.parametrize("value", ["=b;", "=x;", "=b;YQ==", "=x;a", "", " a", "a%20", "ü"])
def test_what_would_be_misread_is_encoded(value: str) -> None:
    assert encode_value(value) != value
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("value", ["=b;YQ", "=b;!!", "=b;é"])
def test_what_cannot_be_read_stays_as_it_is(value: str) -> None:
    assert decode_value(value) == value


def test_names_that_the_object_is_to_lose_are_set_to_absent() -> None:
    fields = fields_of(ObjectAttributes({"mode": "1"}), ["mode", "xattr", "!Cache-Control"])
    assert fields == {PREFIX + "mode": "1", PREFIX + "xattr": "=x;"}
    assert parse_fields({"mode": "1", "xattr": "=x;"}) == {"mode": "1"}


def test_headers_that_kodo_keeps_travel_as_they_are() -> None:
    metadata = {"!cache-control": "public, max-age=60"}
    assert fields_of(ObjectAttributes(metadata)) == {
        f"{PREFIX}!cache-control": "public, max-age=60"
    }
    assert parse_fields({"!Cache-Control": "public, max-age=60"}) == metadata


@pytest.mark.parametrize("name", ["", "a b", "a" * 51, "ü", "a\nb", "a:b"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        fields_of(ObjectAttributes({name: "1"}))


def test_too_much() -> None:
    fields_of(ObjectAttributes({"a": "v" * (MAX_BYTES - 1)}))
    with pytest.raises(InvalidRequest, match="1024"):
        fields_of(ObjectAttributes({"a": "v" * MAX_BYTES}))


async def test_what_the_capabilities_promise_fits() -> None:
    client = HttpClient()
    promised = KodoStore("b", client=client, credentials=KodoCredentials({})).capabilities
    names = ("mode", "uid", "gid", "mtime", "ctime", "atime", "rdev", "bucketfs-special")
    metadata = dict.fromkeys(names, "%")
    used = sum(len(name) + 1 for name in names) + len("xattr")
    metadata["xattr"] = "%" * (promised.max_metadata - used)
    fields_of(ObjectAttributes(metadata))
    await client.aclose()


def test_content_types() -> None:
    assert content_type_of(ObjectAttributes()) == "application/octet-stream"
    plain = "text/plain; charset=utf-8"
    assert content_type_of(ObjectAttributes(content_type=plain)) == plain
    with pytest.raises(InvalidRequest, match="content type"):
        content_type_of(ObjectAttributes(content_type='text/plain; charset="x"\r\n'))


def test_storage_classes() -> None:
    names = [storage_class_name(number) for number in (0, 1, 3, 9)]
    assert names == [None, "infrequent-access", "deep-archive", "type-9"]
