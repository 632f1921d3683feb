"""Settings: what is refused, and what follows from what was given."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from bucketfs.errors import ConfigurationError
from bucketfs.settings import GIB, MIB, MountSettings, disk_bytes_for, mask_url


def settings(url: str = "s3://bucket", **values: object) -> MountSettings:
    return MountSettings(url=url, mountpoint=Path("/mnt/b"), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://bucket/a/prefix", "file:///srv/b", "file:///a b%20c", "memory://name"],
)
def test_urls_that_can_be_mounted(url: str) -> None:
    assert settings(url).url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("bucket", "s3://bucket"),
        ("ftp://host/x", "s3://bucket"),
        ("s3://", "no bucket"),
        ("s3:///prefix", "s3://bucket[/prefix]"),
        ("file://relative/folder", "absolute"),
        ("memory://", "no bucket"),
    ],
)
def test_urls_that_cannot(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(url)
    assert words in str(caught.value)


@pytest.mark.parametrize("url", ["s3://AKIA:hunter2secret@bucket", "http://u:hunter2secret@h"])
def test_a_secret_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(url)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["host:9000", "ftp://host", "https://", "http://h:port"])
def test_endpoints_that_are_no_urls(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint="):
        settings(endpoint=endpoint)


def test_an_endpoint_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(endpoint="https://user:hunter2secret@host")
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_bytes", MIB),
        ("disk_bytes", 0),
        ("part_size", MIB),
        ("part_size", 6 * GIB),
        ("concurrency", 0),
        ("timeout_s", 0.0),
        ("ttl_s", -1.0),
        ("fmask", 0o1000),
        ("uid", 2**32),
        ("addressing", "host"),
        ("payload", "no"),
        ("attributes_policy", "some"),
    ],
)
def test_values_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        settings(**{name: value})


def test_the_message_names_the_option_and_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match=r"^memory=5 is out of range: it is at least 16M$"):
        settings(memory_bytes=5)
    with pytest.raises(ConfigurationError, match="addressing=x is wrong: it is one of auto, path"):
        settings(addressing="x")


@pytest.mark.parametrize(
    ("masks", "modes"),
    [
        ({}, (0o644, 0o755)),
        ({"umask": 0o077}, (0o600, 0o700)),
        ({"umask": 0}, (0o666, 0o777)),
        ({"umask": 0o077, "fmask": 0o137}, (0o640, 0o700)),
        ({"dmask": 0o027}, (0o644, 0o750)),
    ],
)
def test_modes_of_objects_that_have_none(masks: dict[str, int], modes: tuple[int, int]) -> None:
    made = settings(**masks)
    assert (made.file_mode, made.directory_mode) == modes


def test_a_cache_folder_belongs_to_one_bucket_at_one_place() -> None:
    folder = settings().cache_folder
    assert folder == settings(ttl_s=1.0).cache_folder
    assert folder != settings("s3://other").cache_folder
    assert settings(cache_dir=Path("/var/x")).cache_folder == Path("/var/x")


def test_the_default_disk_budget_leaves_half_of_the_disk(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "yet"
    assert disk_bytes_for(missing, 100 * MIB) <= 100 * MIB
    assert disk_bytes_for(missing, 1 << 62) < 1 << 62
    assert disk_bytes_for(missing, 0) == 64 * MIB


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        settings().url = "s3://other"  # type: ignore[misc]


def test_mask_url_hides_only_what_precedes_the_host() -> None:
    assert mask_url("http://a:b@host/p@th") == "http://***@host/p@th"
    assert mask_url("file:///a@b") == "file:///a@b"
