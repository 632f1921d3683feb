"""From a URL to a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bucketfs.errors import AccessDenied, BucketNotFound, ConfigurationError
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.opening import StoreOptions, StoreUrl, open_store, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/a/b c%20/", StoreUrl("s3", "bucket", "a/b c%20/")),
        ("file:///a/b", StoreUrl("file", "/a/b", "")),
        ("memory://name/x", StoreUrl("memory", "name", "x/")),
    ],
)
def test_urls(url: str, expected: StoreUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize("url", ["", "bucket", "/folder", "gs://b", "s3://", "file://rel", "s3:b"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


def test_an_unknown_scheme_is_told_what_is_known() -> None:
    with pytest.raises(ConfigurationError, match=r"s3://.*file://.*memory://"):
        parse_url("gs://bucket")


async def test_a_folder(tmp_path: Path) -> None:
    store = await open_store(f"file://{tmp_path}")
    await store.write("a/b", BytesBody(b"x"), ObjectAttributes())
    await store.aclose()
    assert (tmp_path / "a/b").read_bytes() == b"x"


async def test_a_url_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    store = await open_store(f"file://{tmp_path}/a%20b")
    await store.aclose()


async def test_a_missing_folder_is_told_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(BucketNotFound, match="mkdir"):
        await open_store(f"file://{tmp_path}/nothing")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError):
        await open_store(f"file://{tmp_path}/file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_forbidden_folder(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(AccessDenied):
        await open_store(f"file://{tmp_path}/closed")


async def test_a_prefix_of_memory() -> None:
    store = await open_store("memory://name/some/place")
    await store.write("a", BytesBody(b"x"), ObjectAttributes())
    assert [info.key for info in (await store.list_page("")).objects] == ["a"]


def test_options_do_not_show_secrets() -> None:
    assert "hidden" not in repr(StoreOptions(environment={"AWS_SECRET_ACCESS_KEY": "hidden"}))
