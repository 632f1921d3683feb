"""From a URL to a store."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.errors import AccessDenied, BucketNotFound, ConfigurationError
from bucketfs.settings import SCHEMES, scheme_of
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.location import URL_FORMS
from bucketfs.storage.opening import (
    OPENERS,
    StoreOptions,
    StoreUrl,
    open_store,
    opener_of,
    parse_url,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/a/b c%20/", StoreUrl("s3", "bucket", "a/b c%20/")),
        ("file:///a/b", StoreUrl("file", "/a/b", "")),
        ("memory://name/x", StoreUrl("memory", "name", "x/")),
        ("cos://bucket-1250000000/a", StoreUrl("cos", "bucket-1250000000", "a/")),
        ("bos://bucket", StoreUrl("bos", "bucket", "")),
        ("kodo://bucket//a//", StoreUrl("kodo", "bucket", "a/")),
        ("libcloud+S3_RGW://box/a", StoreUrl("libcloud", "box", "a/", "S3_RGW")),
    ],
)
def test_urls(url: str, expected: StoreUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "bucket", "/folder", "gs://b", "s3://", "file://rel", "s3:b"),
        *("libcloud://b", "libcloud+://b", "s3+x://b", "cos:///prefix"),
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


def test_the_schemes_are_those_of_the_settings() -> None:
    assert set(URL_FORMS) == {scheme_of(form) for form in SCHEMES}


@pytest.mark.parametrize("scheme", OPENERS)
def test_every_opener_is_there(scheme: str) -> None:
    assert inspect.iscoroutinefunction(opener_of(scheme))


def test_a_dialect_is_imported_only_when_it_is_used() -> None:
    show = "import sys, bucketfs.storage.opening; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    openers = {place.partition(":")[0] for place in OPENERS.values()}
    assert not openers & set(done.stdout.split())


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
