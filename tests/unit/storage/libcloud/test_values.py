"""Keys and names, dates, metadata: what goes through a driver comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import InvalidKey, InvalidRequest, NotSupported
from bucketfs.storage.interface import ObjectAttributes
from bucketfs.storage.libcloud.drivers import Traits
from bucketfs.storage.libcloud.values import (
    kept_attributes,
    key_of,
    metadata_of,
    modified_ns_of,
    name_of,
    upload_settings,
    version_from,
)

S3 = Traits("s3", is_local=False, has_ranges=True, has_parts=True, vendor_prefix="x-amz")
AZURE = Traits("azure_blobs", is_local=False, has_ranges=True, has_parts=False, vendor_prefix=None)
LOCAL = Traits("local", is_local=True, has_ranges=False, has_parts=False, vendor_prefix=None)


@given(
    st.text(alphabet="ab/.\t \x01é\udc80-", min_size=1, max_size=12), st.sampled_from([S3, LOCAL])
)
def test_a_key_has_one_name_or_none(key: str, traits: Traits) -> None:
    try:
        name = name_of(key, traits, "write")
    except InvalidKey:
        return
    assert key_of(name, traits) == key
    assert not any(part in ("", ".", "..") for part in name.removesuffix("/").split("/"))


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/./b", "../a", "a/..", "//", "x" * 1025])
def test_keys_that_libcloud_would_change_are_refused(key: str) -> None:
    for traits in (S3, LOCAL):
        with pytest.raises(InvalidKey):
            name_of(key, traits, "write")


def test_a_marker_has_a_name_where_no_key_may_end_with_a_slash() -> None:
    assert name_of("a/b/", S3, "write") == "a/b/"
    assert name_of("a/b/", LOCAL, "write") == "a/b/.bucketfs-directory"
    with pytest.raises(InvalidKey):
        name_of("a/b/.bucketfs-directory", LOCAL, "write")
    with pytest.raises(InvalidKey):
        name_of(".bucketfs-directory/", LOCAL, "write")


@pytest.mark.parametrize(
    "extra",
    [
        {"last_modified": "Tue, 14 Nov 2023 22:13:20 GMT"},
        {"last_modified": "2023-11-14T22:13:20.000Z"},
        {"last_modified": "2023-11-14T22:13:20.123456"},
        {"last_modified": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)},
        {"modify_time": 1_700_000_000.0},
        {"uploadTimestamp": 1_700_000_000_000},
    ],
)
def test_dates_of_all_drivers(extra: dict[str, object]) -> None:
    assert modified_ns_of(extra) == 1_700_000_000 * 10**9


def test_no_date_is_no_failure() -> None:
    assert modified_ns_of({}) == modified_ns_of({"last_modified": "yesterday"}) == 0


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), st.text(max_size=30)))
def test_metadata_come_back(metadata: dict[str, str]) -> None:
    metadata = {
        name: value
        for name, value in metadata.items()
        if not any("\ud800" <= char <= "\udfff" for char in value)
    }
    extra, headers = upload_settings(ObjectAttributes(metadata), S3)
    sent = extra["meta_data"]
    for value in sent.values():
        assert value.isascii()
        assert value.isprintable()
        assert value == " ".join(value.split())  # else servers sign another text
    assert headers == {}
    assert metadata_of(SimpleNamespace(meta_data=sent), S3, {}) == metadata


def test_standard_headers_travel_with_the_object_where_the_driver_shows_them() -> None:
    headers = {"cache-control": "no-cache", "content-encoding": "gzip", "server": "x"}
    found = metadata_of(SimpleNamespace(meta_data={"a": "b"}), S3, headers)
    assert found == {"a": "b", ":cache-control": "no-cache", ":content-encoding": "gzip"}
    extra, sent = upload_settings(ObjectAttributes(found, "text/css"), S3)
    assert sent == {"cache-control": "no-cache", "content-encoding": "gzip"}
    assert extra == {"meta_data": {"a": "b"}, "content_type": "text/css"}
    assert metadata_of(SimpleNamespace(meta_data={"a": "b"}), AZURE, headers) == {"a": "b"}


def test_an_impossible_name_of_metadata() -> None:
    with pytest.raises(InvalidRequest):
        upload_settings(ObjectAttributes({"a b": "c"}), S3)


def test_what_keeps_no_metadata_takes_plain_files_only() -> None:
    assert kept_attributes(ObjectAttributes({"mode": str(0o100644)}), LOCAL) == ObjectAttributes()
    assert kept_attributes(ObjectAttributes({"mode": str(0o040755)}), LOCAL) == ObjectAttributes()
    for mode in (0o120777, 0o010644, 0o020644):
        with pytest.raises(NotSupported):
            kept_attributes(ObjectAttributes({"mode": str(mode)}), LOCAL)


def test_a_version_of_a_time_is_no_etag() -> None:
    assert version_from('"abc"', 1, 2, S3) == "abc"
    assert version_from("abc", 1, 2, LOCAL).startswith("~")
    assert version_from(None, 5 * 10**9 + 1, 2, AZURE) == "~5-2"
