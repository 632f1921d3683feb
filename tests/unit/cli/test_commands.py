"""The command line as a person meets it: help, versions, and one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs import __version__
from bucketfs.cli.mounting import cause_of, describe_error, settings_from
from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    InvalidRequest,
    StorageError,
    Transient,
)
from bucketfs.options import OPTIONS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"bucketfs {__version__}\n")


def test_help_of_mount_explains_urls_and_every_option() -> None:
    text = run("mount", "--help").stdout
    for word in ("s3://bucket", "file:///folder", "memory://name", "--foreground", "--read-only"):
        assert word in text
    for option in OPTIONS:
        assert f"    {option.usage}" in text


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["mount"], 2, "URL"),
        (["mount", "--foo", "a", "b"], 2, "--foo"),
        (["mont"], 2, "mont"),
        (["mount", "ftp://a", "/nowhere"], 1, "s3://bucket[/prefix]"),
        (["mount", "s3://b", "/nowhere", "-o", "memroy=1"], 1, "did you mean 'memory=SIZE'"),
        (["mount", "s3://b", "/nowhere", "-o", "ro", "-o", "memory=x"], 1, "memory=x is wrong"),
        (["mount", "s3://b", "/nowhere", "-o", "secret_key=x"], 1, "a secret is never an option"),
        (["umount", "/"], 1, "/ is not a mount of bucketfs"),
        (["stats", "/"], 1, "/ is not a mount of bucketfs"),
        (["stats", "/", "--interval", "0"], 2, "0"),
        (["mount", "s3://b", "/nowhere", "-o", "crawlers=no"], 1, "refuse, cached, allow"),
        (["mount", "s3://b", "/nowhere", "-o", "crawler_names=:"], 1, "find:rsync"),
        (["umount", "/usr/bin"], 1, "nothing is mounted at /usr/bin"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], status: int, words: str) -> None:
    done = run(*arguments)
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith("bucketfs: error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_where() -> None:
    assert "Traceback" in run("mount", "ftp://a", "/nowhere", "--debug").stderr


def test_settings_of_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    settings = settings_from(
        "memory://x",
        Path("link"),
        ["memory=64M,rw", "allow_other"],
        is_foreground=True,
        is_read_only=True,
        is_debug=False,
    )
    assert settings.mountpoint == tmp_path / "real"
    assert settings.memory_bytes == 64 << 20
    assert settings.is_foreground
    assert settings.is_read_only
    assert settings.allow_other
    assert not settings.is_debug


def test_a_person_hears_of_our_own_error_in_a_group() -> None:
    missing = BucketNotFound("no such bucket")
    group = BaseExceptionGroup("", [ValueError("x"), BaseExceptionGroup("", [missing])])
    assert cause_of(group) is missing
    assert describe_error(ValueError("x"), "s3://b").startswith("a bug: ValueError")
    assert describe_error(ConfigurationError("no x"), "s3://b") == "no x"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BucketNotFound("404"), "cannot mount s3://b: there is no such bucket: 404"),
        (AccessDenied("403"), "cannot mount s3://b: these credentials may not use it: 403"),
        (Transient("reset"), "cannot mount s3://b: the store cannot be reached: reset"),
        (InvalidRequest("400"), "cannot mount s3://b: the store says: 400"),
    ],
)
def test_what_the_store_says_is_put_into_words(error: StorageError, text: str) -> None:
    assert describe_error(error, "s3://b") == text


def test_a_wrong_option_is_found_before_anything_else() -> None:
    with pytest.raises(ConfigurationError, match="unknown option"):
        settings_from(
            "bad", Path("/"), ["x=1"], is_foreground=False, is_read_only=False, is_debug=False
        )


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["re"], ["recover"]),
        (["recover", "--ex"], ["--export"]),
        (["pending", "--j"], ["--json"]),
        (["sta"], ["stats", "status"]),
        (["stats", "--int"], ["--interval"]),
        (["umount", "--f"], ["--force"]),
        (["warm"], ["warmup"]),
    ],
)
def test_completion_for_the_shell(words: list[str], completions: list[str]) -> None:
    program = "import sys; sys.argv = ['bucketfs']; from bucketfs.cli.main import main; main()"
    asked = {
        "_BUCKETFS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["bucketfs", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **asked},
    )
    assert (done.returncode, done.stdout.split()) == (0, completions)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sync", "sync(1) and sync(2) cannot do this"),
        ("umount", "refused (EROFS)"),
        ("pending", "No request is made"),
        ("stats", "store operation requests failures retries sent received p50 p90 p99 max"),
        ("warmup", "What is there already is not fetched again"),
        ("recover", "they are holes in the copy"),
    ],
)
def test_help_says_what_a_person_must_know(command: str, words: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert words in " ".join(done.stdout.split())
