"""The `-o` options: syntax, the table, and what a person is told."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import ConfigurationError
from bucketfs.options import IGNORED, KERNEL_FLAGS, OPTIONS, describe, parse_options, split
from bucketfs.settings import MountSettings
from bucketfs.values import parse_size


@given(st.lists(st.text(min_size=1)))
def test_escaped_items_come_back_as_they_were(items: list[str]) -> None:
    escaped = ",".join(item.replace("\\", "\\\\").replace(",", "\\,") for item in items)
    assert list(split(escaped)) == items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,b=c", ["a", "b=c"]),
        (",a,,b,", ["a", "b"]),
        ("cache_dir=/a\\,b,ro", ["cache_dir=/a,b", "ro"]),
        ("endpoint=http://h:9000/x", ["endpoint=http://h:9000/x"]),
        ("a=\\n", ["a=\\n"]),
        ("a\\", ["a\\"]),
    ],
)
def test_split(text: str, items: list[str]) -> None:
    assert list(split(text)) == items


def test_values_arrive_typed() -> None:
    values = parse_options(
        [
            "endpoint=http://127.0.0.1:9000,region=eu-1,uid=12,umask=077,acl",
            "memory=128M,disk=1.5GiB,ttl=500ms,timeout=2m,cache_dir=/c,concurrency=3",
        ]
    )
    assert values == {
        "endpoint": "http://127.0.0.1:9000",
        "region": "eu-1",
        "uid": 12,
        "umask": 0o077,
        "acl": True,
        "memory_bytes": 128 << 20,
        "disk_bytes": 3 << 29,
        "ttl_s": 0.5,
        "timeout_s": 120.0,
        "cache_dir": Path("/c"),
        "concurrency": 3,
    }


def test_the_last_of_equal_options_wins() -> None:
    assert parse_options(["ttl=1", "ttl=2,ro", "rw"]) == {"ttl_s": 2.0, "is_read_only": False}


def test_opposite_kernel_flags_replace_each_other() -> None:
    assert parse_options(["nosuid,nodev,suid"]) == {"kernel_options": ("nodev", "suid")}


@pytest.mark.parametrize(
    "text", [*IGNORED, "x-systemd.automount", "x-gvfs-show", "comment=what,ever=1"]
)
def test_what_is_meant_for_mount_is_accepted(text: str) -> None:
    if text == "comment=what,ever=1":
        text = "comment=what\\,ever=1"
    assert parse_options([text]) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memroy=1", "unknown option 'memroy'; did you mean 'memory=SIZE'?"),
        ("read_only", "unknown option 'read_only'"),
        ("zzz", "unknown option 'zzz' (bucketfs mount --help lists them)"),
        ("memory", "option 'memory' needs a value: memory=SIZE"),
        ("memory=many", "memory=many is wrong: it must be a size like 128M, 1.5G or 4096"),
        ("ro=yes", "option 'ro' takes no value"),
        ("uid=me", "uid=me is wrong: it must be a whole number"),
        ("umask=9", "umask=9 is wrong: it must be an octal number like 022"),
        ("region=", "region= is wrong: it must be not empty"),
        ("ttl=soon", "ttl=soon is wrong: it must be a time like 5, 0.5, 500ms or 2m"),
    ],
)
def test_errors_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_options([text])
    assert str(caught.value).startswith(message)


def test_the_value_of_an_unknown_option_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_options(["secret_access_key=hunter2secret"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("4k", 4096), ("1KiB", 1024), ("2 G", 2 << 30), ("0.5T", 1 << 39)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_every_option_sets_a_setting_that_exists() -> None:
    known = {field.name for field in fields(MountSettings)}
    assert {option.setting for option in (*OPTIONS, *KERNEL_FLAGS)} <= known


def test_the_help_shows_every_option_on_a_short_line() -> None:
    lines = describe().splitlines()
    assert [line.split()[0].partition("=")[0] for line in lines] == [o.name for o in OPTIONS]
    assert max(map(len, lines)) <= 90
