"""`bucketfs config`: what is in force, where it comes from, and what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.options import OPTIONS
from bucketfs.storage.location import KEY_VARIABLES
from tests.unit.cli.terminal import run_on_terminal

TEXT = """
[defaults]
memory = "64M"

[photos]
url = "cos://photos-125"
mountpoint = "/mnt/photos"
umask = "077"
nosuid = true
access_key = "AKIDabcdefghijklmnop"
secret_key = "do-not-show"

[plain]
url = "memory://plain"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    monkeypatch.setenv("BUCKETFS_CONFIG", str(path))
    for name in [name for places in KEY_VARIABLES.values() for place in places for name in place]:
        monkeypatch.delenv(name, raising=False)
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", "config", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def rows(*arguments: str) -> dict[str, tuple[str, str]]:
    done = run("show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "do-not-show" not in done.stdout
    found = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (value, origin) for name, value, origin in found}


def test_each_setting_says_where_it_comes_from(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKETFS_TTL", "2m")
    monkeypatch.setenv("COS_REGION", "ap-beijing")
    found = rows("photos", "-o", "concurrency=4")
    mine = f"profile photos in {config}"
    assert found["url"] == ("cos://photos-125", mine)
    assert found["mountpoint"] == ("/mnt/photos", mine)
    assert found["umask"] == ("077", mine)
    assert found["nosuid"] == ("true", mine)
    assert found["memory"] == ("64M", f"defaults in {config}")
    assert found["ttl"] == ("2m", "environment BUCKETFS_TTL")
    assert found["region"] == ("ap-beijing", "environment COS_REGION")
    assert found["concurrency"] == ("4", "command line")
    assert found["part_size"] == ("8M", "default")
    assert found["access_key"] == ("AKID***", mine)
    assert found["secret_key"] == ("***", mine)
    assert {option.name for option in OPTIONS} - {"rw"} <= found.keys()


def test_keys_of_the_environment_are_named_not_shown(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COS_SECRET_ID", "theirs-and-long-enough")
    monkeypatch.setenv("COS_SECRET_KEY", "x")
    found = rows("photos")
    assert found["access_key"] == ("***", "environment COS_SECRET_ID")
    assert "secret_key" not in found


def test_without_a_profile_it_is_the_environment_and_the_defaults(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKETFS_DOMAIN", "here.example")
    found = rows()
    assert found["domain"] == ("here.example", "environment BUCKETFS_DOMAIN")
    assert found["memory"] == ("96M", "default")
    assert "url" not in found
    monkeypatch.delenv("BUCKETFS_DOMAIN")
    assert rows("s3://b", "-o", "region=x")["access_key"] == (
        "",
        "default (the cloud's own files, or this machine's role)",
    )


def test_json(config: Path) -> None:
    document = json.loads(run("show", "photos", "--json").stdout)
    assert document["profile"] == "photos"
    named = {row["name"]: row for row in document["settings"]}
    assert named["memory"] == {
        "name": "memory",
        "value": "64M",
        "layer": "defaults",
        "detail": f"in {config}",
    }
    assert named["region"]["value"] is None
    assert named["secret_key"]["value"] == "***"


def test_a_terminal_gets_a_table(config: Path) -> None:
    session = run_on_terminal(["config", "show", "photos"], [], {"COLUMNS": "120"})
    assert session.status == 0
    assert "setting" in session.screen
    assert "\t" not in session.screen
    assert "do-not-show" not in session.screen
    session = run_on_terminal(["config", "list"], [], {"COLUMNS": "160"})
    assert "photos" in session.screen


def test_profiles_are_listed(config: Path) -> None:
    assert run("list").stdout.splitlines() == [
        f"photos\tcos://photos-125\t/mnt/photos\t{config}",
        f"plain\tmemory://plain\t\t{config}",
    ]
    assert json.loads(run("list", "--json").stdout)[1] == {
        "profile": "plain",
        "url": "memory://plain",
        "mountpoint": "",
        "file": str(config),
    }


def test_where_the_file_is(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run("path").stdout == f"{config}\n"
    monkeypatch.delenv("BUCKETFS_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run("path").stdout == f"{tmp_path}/bucketfs/config.toml\n"


def test_check_names_every_mistake(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 profiles without a mistake\n", "")
    config.write_text(TEXT + "[a]\nurl = 1\n[b]\nurl='s3://b'\nmemroy=1\n")
    monkeypatch.setenv("BUCKETFS_MEMROY", "1G")
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "2 profiles without a mistake\n")
    assert done.stderr.splitlines() == [
        "bucketfs: warning: BUCKETFS_MEMROY means nothing to bucketfs",
        f"bucketfs: error: profile a in {config}: url must be a string that is not empty",
        f"bucketfs: error: profile b in {config}: memroy is no key that is known; "
        "did you mean 'memory'?",
    ]
    assert run("check", "plain").returncode == 0


def test_check_names_a_mistake_of_the_environment_once(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKETFS_TTL", "soon")
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "2 profiles without a mistake\n")
    assert done.stderr.startswith("bucketfs: error: BUCKETFS_TTL=soon is wrong: it must be a time")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["show", "none"], 1, "there is no profile 'none'"),
        (["show", "ftp://x"], 1, "the URL is one of"),
        (["show", "plain", "-o", "memroy=1"], 1, "did you mean 'memory=SIZE'"),
        (["check", "none"], 1, "there is no profile 'none'"),
        (["nothing"], 2, "nothing"),
    ],
)
def test_an_error_is_one_line(config: Path, arguments: list[str], status: int, words: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("bucketfs: error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_file_open_to_others_is_one_line(config: Path) -> None:
    config.chmod(0o644)
    for command in (["show", "plain"], ["list"], ["check"]):
        done = run(*command)
        assert done.returncode == 1
        assert f"chmod 600 {config}" in done.stderr
        assert done.stderr.count("\n") == 1
