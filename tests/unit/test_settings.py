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
    [
        *("s3://bucket", "s3://bucket/a/prefix", "file:///srv/b", "file:///a b%20c"),
        *("memory://name", "cos://bucket-1250000000", "bos://bucket/a", "kodo://bucket"),
        *("libcloud+minio://container/prefix", "libcloud+S3_RGW://container"),
    ],
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
        ("cos:///prefix", "cos://bucket-appid"),
        ("kodo://", "no bucket"),
        ("libcloud://container", "libcloud+PROVIDER"),
        ("libcloud+://container", "libcloud+PROVIDER"),
        ("s3+minio://bucket", "s3://bucket"),
    ],
)
def test_urls_that_cannot(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(url)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("s3://AKIA:hunter2secret@bucket", "http://u:hunter2secret@h"),
        *("kodo://a:hunter2secret@b", "libcloud+s3://a:hunter2secret@b"),
    ],
)
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
        settings("s3://b", **{name: value})


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("kodo://b", {"domain": "files.example.com:8080", "storage_class": "IA", "scheme": "http"}),
        ("kodo://b", {"traffic_limit_bytes_s": MIB}),
        ("cos://b-1", {"traffic_limit_bytes_s": 100 * 1024, "storage_class": "STANDARD_IA"}),
        ("bos://b", {"traffic_limit_bytes_s": 100 * MIB, "scheme": "https"}),
        ("libcloud+minio://b", {"scheme": "http"}),
    ],
)
def test_what_some_clouds_have(url: str, values: dict[str, object]) -> None:
    made = settings(url, **values)
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("s3://b", {"storage_class": "STANDARD_IA"}),
        ("s3://b", {"scheme": "http"}),
        ("cos://b-1", {"domain": "files.example.com"}),
        ("libcloud+s3://b", {"traffic_limit_bytes_s": MIB}),
        ("file:///b", {"traffic_limit_bytes_s": MIB}),
        ("libcloud+s3://b", {"credential_command": "give-keys"}),
        ("memory://b", {"credential_file": Path("/keys")}),
    ],
)
def test_an_option_that_a_cloud_does_not_have_is_refused(
    url: str, values: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError, match="means nothing to"):
        settings(url, **values)


def test_keys_come_from_one_place() -> None:
    with pytest.raises(ConfigurationError, match="either credential_command= or credential_file="):
        settings("s3://b", credential_command="give-keys", credential_file=Path("/keys"))


@pytest.mark.parametrize(
    "values",
    [
        {"scheme": "ftp"},
        {"domain": "https://"},
        {"domain": "host/with/path"},
        {"domain": "user:hunter2secret@host"},
    ],
)
def test_wrong_values_of_cloud_options(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings("kodo://b", **values)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("limit", [0, 100 * 1024 - 1, 100 * MIB + 1])
def test_traffic_limits_that_the_clouds_refuse(limit: int) -> None:
    with pytest.raises(ConfigurationError, match="traffic_limit="):
        settings("bos://b", traffic_limit_bytes_s=limit)


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
    made = settings("s3://b", **masks)
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
