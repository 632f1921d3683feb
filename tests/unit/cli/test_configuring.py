"""`bucketfs configure`: by a person at a terminal, by a script, and what stays of the file."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bucketfs.cli.writing_profiles import replace_file, with_profile, write_profile
from bucketfs.errors import ConfigurationError
from tests.unit.cli.terminal import INTERRUPT, run_on_terminal

BEFORE = """# mine
[defaults] # for all
memory = "64M"

[other]
url = "memory://other" # a comment
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "conf" / "config.toml"
    monkeypatch.setenv("BUCKETFS_CONFIG", str(path))
    return path


@pytest.fixture
def box(tmp_path: Path) -> Path:
    folder = tmp_path / "box"
    folder.mkdir()
    return folder


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        input=stdin,
    )


def test_a_person_is_asked_and_the_bucket_tried(config: Path, box: Path) -> None:
    session = run_on_terminal(
        ["configure"],
        [
            ("Name of the profile", "s3://x"),
            ("cannot be called", "box"),
            ("Kind", "ftp"),
            ("it is one of s3, cos", "file"),
            ("Folder (absolute)", "relative"),
            ("needs an absolute folder", str(box)),
            ("Mount point", str(box)[1:]),
            ("must be an absolute path", "/mnt/box"),
            ("Read-only?", "y"),
            ("writeback", ""),
            ("allow_other", ""),
        ],
    )
    assert session.status == 0
    for words in ("list: yes", "write: yes", "delete: yes", "bucketfs mount box"):
        assert words in session.screen
    table = {"url": f"file://{box}", "mountpoint": "/mnt/box", "ro": True}
    assert tomllib.loads(config.read_text()) == {"box": table}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert list(box.rglob("*probe*")) == []


def test_secrets_are_not_shown_and_a_failed_trial_is_said(config: Path) -> None:
    session = run_on_terminal(
        ["configure", "away"],
        [
            ("Kind", ""),
            ("Bucket", "b/prefix"),
            ("Endpoint", "http://127.0.0.1:1"),
            ("Region", "eu-central-1"),
            ("Access key id", "AKID"),
            ("Secret key", "do-not-show"),
            ("Session token", "nor-this"),
            ("Mount point", ""),
            ("Disk for what was read", "tiny"),
            ("must be a size", "64M"),
            ("Read-only?", ""),
            ("writeback", "y"),
            ("allow_other", ""),
            ("Write the profile all the same?", "y"),
        ],
    )
    assert session.status == 0
    assert "the store cannot be reached" in session.screen
    assert "do-not-show" not in session.screen
    assert "nor-this" not in session.screen
    assert "Traceback" not in session.screen
    assert tomllib.loads(config.read_text())["away"] == {
        "url": "s3://b/prefix",
        "endpoint": "http://127.0.0.1:1",
        "region": "eu-central-1",
        "access_key": "AKID",
        "secret_key": "do-not-show",
        "session_token": "nor-this",
        "read_cache": "64M",
        "writeback": True,
    }


def test_a_profile_that_is_there_is_asked_about_and_gives_the_answers(
    config: Path, box: Path
) -> None:
    config.parent.mkdir()
    config.write_text(f'[box]\nurl = "file://{box}"\nro = true\nttl = 3\n')
    config.chmod(0o600)
    refused = run_on_terminal(["configure", "box"], [("Change it?", "n")])
    assert (refused.status, "Kind" in refused.screen) == (130, False)
    session = run_on_terminal(
        ["configure", "box"],
        [
            ("Change it?", "y"),
            ("Kind [file]", ""),
            (f"Folder (absolute) [{box}]", ""),
            ("Mount point", ""),
            ("Read-only? [Y/n]", "n"),
            ("writeback", ""),
            ("allow_other", ""),
        ],
    )
    assert session.status == 0
    assert tomllib.loads(config.read_text())["box"] == {
        "url": f"file://{box}",
        "ro": False,
        "ttl": 3,
    }


@pytest.mark.parametrize("prompt", ["Name of the profile", "Kind", "Folder", "Mount", "Read-only"])
def test_an_interruption_changes_nothing(config: Path, box: Path, prompt: str) -> None:
    config.parent.mkdir()
    config.write_text(BEFORE)
    config.chmod(0o640)
    answers = [
        ("Name of the profile", "new"),
        ("Kind", "file"),
        ("Folder", str(box)),
        ("Mount", ""),
        ("Read-only", ""),
    ]
    until = [asked for asked, _ in answers].index(prompt)
    session = run_on_terminal(["configure"], [*answers[:until], (prompt, INTERRUPT)])
    assert session.status == 130
    assert session.screen.endswith("bucketfs: error: interrupted\n")
    assert config.read_text() == BEFORE
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert os.listdir(config.parent) == [config.name]


@pytest.mark.parametrize("moment", ["at the secret", "while it is tried"])
def test_an_interruption_with_a_secret_changes_nothing(config: Path, moment: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answers = [
            ("Kind", "s3"),
            ("Bucket", "b"),
            ("Endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}"),
            ("Region", "x"),
            ("Access key id", "AKID"),
            ("Secret key", "do-not-show"),
            ("Session token", ""),
            ("Mount point", ""),
            ("Disk", ""),
            ("Read-only?", ""),
            ("writeback", ""),
            ("allow_other", ""),
            ("asking s3://b ...", INTERRUPT),
        ]
        if moment == "at the secret":
            answers = [*answers[:5], ("Secret key", INTERRUPT)]
        session = run_on_terminal(["configure", "new"], answers)
    assert session.status == 130
    assert "Traceback" not in session.screen
    assert "do-not-show" not in session.screen
    assert not config.exists()


def test_a_profile_that_is_wrong_is_said_before_any_question(config: Path) -> None:
    config.parent.mkdir()
    config.write_text('[a]\nurl = "memory://a"\nmemroy = 1\n')
    config.chmod(0o600)
    session = run_on_terminal(["configure", "a"], [("Change it?", "y")])
    assert session.status == 1
    assert "memroy is no key that is known; did you mean 'memory'?" in session.screen
    done = run("configure", "a", "--set", "memroy=", "--yes")
    assert (done.returncode, config.read_text()) == (0, '[a]\nurl = "memory://a"\n')


def test_a_script_asks_nothing(config: Path, box: Path) -> None:
    flags = ["--set", "mountpoint=/mnt/box", "--set", "ro=yes", "--set", "concurrency=4"]
    more = ["--set", "crawler_names=find:rsync", "--set", "ttl=2m"]
    done = run("configure", "box", "--url", f"file://{box}", *flags, *more)
    assert (done.returncode, done.stdout) == (
        0,
        f"profile box is in {config}\nmount it with: bucketfs mount box\n",
    )
    assert "delete: yes" in done.stderr
    assert tomllib.loads(config.read_text())["box"] == {
        "url": f"file://{box}",
        "mountpoint": "/mnt/box",
        "ro": True,
        "concurrency": 4,
        "crawler_names": ["find", "rsync"],
        "ttl": "2m",
    }


def test_a_script_changes_a_profile_only_if_it_says_so(config: Path) -> None:
    config.parent.mkdir()
    config.write_text(BEFORE)
    config.chmod(0o600)
    change = ["configure", "other", "--set", "ttl=1", "--set", "url=memory://else"]
    done = run(*change)
    assert (done.returncode, done.stdout) == (1, "")
    assert "profile other is in" in done.stderr
    assert "--yes changes it" in done.stderr
    assert config.read_text() == BEFORE
    assert run(*change, "--yes").returncode == 0
    text = config.read_text()
    assert text == BEFORE.replace("memory://other", "memory://else") + 'ttl = "1"\n'
    assert run("configure", "other", "--set", "ttl=", "--yes").returncode == 0
    assert config.read_text() == BEFORE.replace("memory://other", "memory://else")


def test_secrets_come_from_standard_input_or_the_environment(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--url", "cos://b-1", "--set", "region=ap-x", "--no-probe", "--keys"]
    assert run("configure", "a", *flags, "stdin", stdin="AK\nSK\n").returncode == 0
    monkeypatch.setenv("BUCKETFS_ACCESS_KEY", "AK2")
    monkeypatch.setenv("BUCKETFS_SECRET_KEY", "SK2")
    monkeypatch.setenv("BUCKETFS_SESSION_TOKEN", "ST2")
    assert run("configure", "b", *flags, "env").returncode == 0
    monkeypatch.setenv("COS_SECRET_ID", "other")
    done = run("configure", "c", *flags, "env")
    assert "COS_SECRET_ID is set here and goes before the keys of the profile" in done.stderr
    place = {"url": "cos://b-1", "region": "ap-x"}
    tables = tomllib.loads(config.read_text())
    assert tables["a"] == {**place, "access_key": "AK", "secret_key": "SK"}
    keys = {"access_key": "AK2", "secret_key": "SK2", "session_token": "ST2"}
    assert tables["b"] == place | keys


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["box"], 1, "this is none: for scripts there are --url and --set"),
        (["--url", "memory://x"], 2, "Missing argument 'PROFILE'"),
        (["s3://b", "--url", "memory://x"], 1, "a profile cannot be called 's3://b'"),
        (["defaults", "--url", "memory://x"], 1, "a profile cannot be called 'defaults'"),
        (["box", "--url", "ftp://x"], 1, "url: cannot mount 'ftp://x'"),
        (["box", "--set", "ttl=1"], 1, "url is missing"),
        (["box", "--url", "memory://x", "--set", "ttl"], 1, "--set ttl says no value"),
        (["box", "--url", "memory://x", "--set", "tll=1"], 1, "did you mean 'ttl'?"),
        (["box", "--url", "memory://x", "--set", "memory=1"], 1, "memory=1 is out of range"),
        (["box", "--url", "memory://x", "--set", "ro=x"], 1, "ro=x is wrong: it must be true"),
        (["box", "--url", "s3://x", "--set", "secret_key=hush"], 1, "a secret to `ps`: use --keys"),
        (["box", "--url", "s3://x", "--keys", "x"], 1, "it is one of stdin, env"),
        (["box", "--url", "s3://x", "--keys", "env"], 1, "BUCKETFS_ACCESS_KEY is not set"),
        (["box", "--url", "s3://x", "--keys", "stdin"], 1, "a line each is expected"),
        (["box", "--url", "file:///no/such"], 1, "there is no such bucket"),
    ],
)
def test_a_failure_is_one_line_and_writes_nothing(
    config: Path, arguments: list[str], status: int, words: str
) -> None:
    done = run("configure", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("asking ")]
    assert len(lines) == 1
    assert lines[0].startswith("bucketfs: error: ")
    assert words in lines[0]
    assert "hush" not in done.stderr
    assert not config.exists()


def test_a_file_that_is_wrong_is_not_written_over(config: Path) -> None:
    config.parent.mkdir()
    config.write_text("broken")
    done = run("configure", "box", "--url", "memory://x")
    assert (done.returncode, config.read_text()) == (1, "broken")
    assert "is no TOML" in done.stderr


def test_other_profiles_and_comments_stay() -> None:
    text = with_profile(BEFORE, "new", {"url": "memory://new", "ro": True})
    assert text == BEFORE + '\n[new]\nurl = "memory://new"\nro = true\n'
    assert with_profile(text, "new", {"url": "memory://new", "ro": True}) == text


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("# here\n")
    (tmp_path / "config.toml").symlink_to("real.toml")
    write_profile(tmp_path / "config.toml", "a", {"url": "memory://a"})
    assert (tmp_path / "config.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text().startswith("# here\n\n[a]\n")
    assert stat.S_IMODE((tmp_path / "real.toml").stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["config.toml"])
    path.write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written: No space left"):
        write_profile(path, "a", {"url": "memory://a"})


def test_a_place_that_cannot_be_written_is_said(config: Path) -> None:
    config.parent.write_text("a file, not a folder")
    done = run("configure", "box", "--url", "memory://x")
    assert done.returncode == 1
    assert f"{config} cannot be written: " in done.stderr or "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
