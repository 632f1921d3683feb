"""Profiles and what is in force: files, environment, precedence, and one-line complaints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bucketfs.cli import profiles
from bucketfs.cli.exporting import Fetching
from bucketfs.cli.mounting import settings_from
from bucketfs.cli.resolving import resolve, unknown_variables
from bucketfs.errors import ConfigurationError
from bucketfs.mount import store_options
from bucketfs.pagecache.records import Contents
from bucketfs.settings import MountSettings, Secrets
from bucketfs.storage.location import KEY_VARIABLES

SECRET = "do-not-show-this"


@pytest.fixture(autouse=True)
def no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the person's own settings out of these tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(profiles, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    for name in [name for places in KEY_VARIABLES.values() for place in places for name in place]:
        monkeypatch.delenv(name, raising=False)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that BUCKETFS_CONFIG names, which is not there yet."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("BUCKETFS_CONFIG", str(path))
    return path


def settings_of(name: str, *options: str) -> MountSettings:
    return settings_from(
        name, None, options, is_foreground=False, is_read_only=False, is_debug=False
    )


PHOTOS = f"""
[defaults]
memory = "64M"
ttl = 1
domain = "only.kodo.example"

[photos]
url = "cos://photos-125"
mountpoint = "/mnt/photos"
region = "ap-guangzhou"
concurrency = 32
timeout = 7.5
read_cache = "1G"
umask = "077"
writeback = true
rw = false
acl = false
nosuid = true
crawler_names = ["find", "rsync"]
access_key = "AKID"
secret_key = "{SECRET}"
"""


def test_a_profile_has_all_that_a_mount_needs(config: Path) -> None:
    written(config, PHOTOS)
    settings = settings_of("photos")
    assert (settings.url, settings.mountpoint) == ("cos://photos-125", Path("/mnt/photos"))
    assert (settings.region, settings.domain) == ("ap-guangzhou", None)
    assert (settings.memory_bytes, settings.ttl_s) == (64 << 20, 1.0)
    assert (settings.concurrency, settings.timeout_s, settings.umask) == (32, 7.5, 0o077)
    assert settings.is_write_back
    assert settings.is_read_only
    assert not settings.acl
    assert settings.crawler_names == ("find", "rsync")
    assert settings.kernel_options == ("nosuid",)
    assert settings.secrets == Secrets("AKID", SECRET)
    assert SECRET not in repr(settings)
    assert SECRET not in repr(resolve("photos"))


def test_the_command_line_beats_the_environment_beats_the_profile(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(config, PHOTOS)
    monkeypatch.setenv("BUCKETFS_TTL", "2")
    monkeypatch.setenv("BUCKETFS_REGION", "ap-beijing")
    monkeypatch.setenv("BUCKETFS_RW", "yes")
    monkeypatch.setenv("BUCKETFS_ACL", "")
    monkeypatch.setenv("BUCKETFS_WRITEBACK", "0")
    settings = settings_of("photos", "ttl=3", "suid")
    assert (settings.ttl_s, settings.region, settings.memory_bytes) == (3.0, "ap-beijing", 64 << 20)
    assert not settings.is_read_only
    assert not settings.is_write_back
    assert settings.kernel_options == ("suid",)
    assert settings_of("photos").ttl_s == 2.0


def test_the_environment_holds_for_a_url_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKETFS_ENDPOINT", "https://here.example")
    assert resolve("s3://b").settings().endpoint == "https://here.example"
    assert resolve("s3://b", ["endpoint=http://x"]).settings().endpoint == "http://x"


def test_a_mount_point_on_the_command_line_wins(config: Path, tmp_path: Path) -> None:
    written(config, PHOTOS)
    settings = settings_from(
        "photos", tmp_path, [], is_foreground=False, is_read_only=False, is_debug=False
    )
    assert settings.mountpoint == tmp_path


def test_a_url_reads_no_file(config: Path) -> None:
    written(config, "broken", 0o666)
    assert resolve("memory://x").settings().url == "memory://x"


def test_the_users_file_goes_before_the_systems(tmp_path: Path) -> None:
    written(
        profiles.SYSTEM_FILE,
        '[defaults]\nttl = 9\n[a]\nurl = "memory://a"\n[b]\nurl = "memory://b"\n',
    )
    written(tmp_path / "home" / "bucketfs" / "config.toml", '[a]\nurl = "memory://mine"\n')
    assert (settings_in("a").url, settings_in("a").ttl_s) == ("memory://mine", 5.0)
    assert (settings_in("b").url, settings_in("b").ttl_s) == ("memory://b", 9.0)


def settings_in(name: str) -> MountSettings:
    return resolve(name).settings()


def test_keys_reach_the_store_and_no_other_process(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(config, PHOTOS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of another cloud")
    environment = store_options(settings_of("photos")).environment
    assert environment["COS_SECRET_ID"] == "AKID"
    assert environment["COS_SECRET_KEY"] == SECRET
    assert "COS_TOKEN" not in environment
    done = subprocess.run(["env"], capture_output=True, text=True, check=True)
    assert SECRET not in done.stdout


def test_keys_of_the_environment_are_taken_whole(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(config, PHOTOS)
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", "theirs")
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", "x")
    settings = settings_of("photos")
    assert settings.secrets is None
    assert store_options(settings).environment["TENCENTCLOUD_SECRET_ID"] == "theirs"
    monkeypatch.setenv("BUCKETFS_ACCESS_KEY", "ours")
    monkeypatch.setenv("BUCKETFS_SECRET_KEY", "y")
    environment = store_options(settings_of("photos")).environment
    assert environment["COS_SECRET_ID"] == "ours"
    assert "TENCENTCLOUD_SECRET_ID" not in environment


def test_another_place_for_keys_on_the_command_line_wins(config: Path) -> None:
    written(config, '[a]\nurl = "s3://b"\naccess_key = "k"\nsecret_key = "s"\n')
    assert settings_in("a").secrets == Secrets("k", "s")
    settings = resolve("a", ["profile=work"]).settings()
    assert (settings.secrets, settings.profile) == (None, "work")


def test_keys_of_a_profile_beat_another_place_in_the_defaults(config: Path) -> None:
    text = '[defaults]\nprofile = "work"\n[a]\nurl = "s3://b"\naccess_key = "k"\nsecret_key = "s"\n'
    written(config, text)
    assert (settings_in("a").secrets, settings_in("a").profile) == (Secrets("k", "s"), None)


def test_a_command_for_keys_has_its_rank_like_keys(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[defaults]\ncredential_command = "old"\n[a]\nurl = "s3://b"\ncredential_file = "/k"\n'
    written(config, f'{text}[b]\nurl = "s3://b"\naccess_key = "k"\nsecret_key = "s"\n')
    found = resolve("a").values()
    assert (found["credential_file"], found.get("credential_command")) == (Path("/k"), None)
    assert resolve("b").values().keys().isdisjoint(("credential_command", "credential_file"))
    found = resolve("b", ["credential_command=mine"]).values()
    assert (found["credential_command"], found.get("secrets")) == ("mine", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    assert resolve("a").values().keys().isdisjoint(("credential_command", "credential_file"))
    assert resolve("a", ["credential_command=mine"]).values()["credential_command"] == "mine"


def test_keys_mean_nothing_to_a_folder_unless_it_asks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BUCKETFS_ACCESS_KEY", "ours")
    monkeypatch.setenv("BUCKETFS_SECRET_KEY", "y")
    assert resolve("memory://b").settings().secrets is None
    assert resolve("s3://b").settings().secrets == Secrets("ours", "y")


URL = '[a]\nurl = "s3://b"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a\n", "config.toml is no TOML: Expected ']' at the end of a table declaration (at line"),
        ('memory = "1G"\n', "config.toml: 'memory' stands outside of any profile"),
        ('["s3://b"]\n', "config.toml: a profile cannot be called 's3://b'"),
        ("[a]\n", "profile a in FILE: url is missing"),
        ('[a]\nurl = "ftp://b"\n', "profile a in FILE: url: cannot mount 'ftp://b'"),
        (
            f"{URL}memroy = 1\n",
            "profile a in FILE: memroy is no key that is known; did you mean 'm",
        ),
        (
            f"{URL}secret = 1\n",
            "profile a in FILE: secret is no key that is known; did you mean 's",
        ),
        (f'{URL}memory = "x"\n', "profile a in FILE: memory must be a size like 128M"),
        (f"{URL}memory = 5\n", "profile a in FILE: memory=5 is out of range"),
        (f"{URL}memory = true\n", "profile a in FILE: memory must be a string, as in memory = "),
        (f"{URL}umask = 22\n", 'umask must be a string, as in umask = "OCTAL"'),
        (f'{URL}ro = "yes"\n', "profile a in FILE: ro must be true or false"),
        (f'{URL}domain = "x"\n', "profile a in FILE: domain= means nothing to s3:"),
        (f'{URL}cache_dir = "x"\n', "profile a in FILE: cache_dir must be an absolute path"),
        (f'{URL}mountpoint = "x"\n', "profile a in FILE: mountpoint must be an absolute path"),
        (f"{URL}mountpoint = 1\n", "profile a in FILE: mountpoint must be a string"),
        (f'{URL}access_key = "k"\n', "profile a in FILE: secret_key is missing: keys are given to"),
        (f"{URL}secret_key = 1\n", "profile a in FILE: secret_key must be a string"),
        (f"[defaults]\nttl = -1\n{URL}", "defaults in FILE: ttl must be a time"),
        (f'[defaults]\nurl = "s3://x"\n{URL}', "defaults in FILE: url is no key that is known"),
        (
            f'{URL}profile = "p"\naccess_key = "k"\nsecret_key = "{SECRET}"\n',
            "profile a in FILE: access_key excludes profile, credential_command",
        ),
        (
            f'[a]\nurl = "file:///x"\naccess_key = "k"\nsecret_key = "{SECRET}"\n',
            "profile a in FILE: access_key means nothing to file:",
        ),
        (
            '[a]\nurl = "kodo://x"\naccess_key = "k"\nsecret_key = "s"\nsession_token = "t"\n',
            "profile a in FILE: session_token means nothing to kodo:",
        ),
        ("[b]\n", "there is no profile 'a' in FILE; there are b ("),
    ],
)
def test_what_is_wrong_is_said_with_its_place(config: Path, text: str, words: str) -> None:
    written(config, text)
    done = run("probe", "a")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bucketfs: error: ")
    assert done.stderr.count("\n") == 1
    assert words.replace("FILE", str(config)) in done.stderr
    assert SECRET not in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610])
def test_secrets_that_others_could_read_are_refused(config: Path, mode: int) -> None:
    written(config, PHOTOS, mode)
    done = run("mount", "photos")
    assert done.returncode == 1
    assert f"others may read it (mode {mode:04o}): chmod 600 {config}" in done.stderr
    assert done.stderr.count("\n") == 1
    config.chmod(0o400)
    assert settings_in("photos").secrets is not None


def test_without_secrets_others_may_read_but_not_write(config: Path) -> None:
    written(config, '[a]\nurl = "memory://a"\n', 0o644)
    assert settings_in("a").url == "memory://a"
    config.chmod(0o666)
    with pytest.raises(ConfigurationError, match="may be written by everybody: chmod 600"):
        settings_in("a")


def test_a_file_that_is_named_has_to_be_there(config: Path) -> None:
    done = run("probe", "a")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bucketfs: error: {config} cannot be read: No such file or directory\n"


@pytest.mark.parametrize("content", [b'[a]\nurl = "\xff"\n', b""])
def test_a_file_that_is_no_text_or_empty(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"not UTF-8|there is no profile 'a'"):
        resolve("a")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BUCKETFS_MEMORY", "x", "BUCKETFS_MEMORY=x is wrong: it must be a size"),
        ("BUCKETFS_RO", "x", "BUCKETFS_RO=x is wrong: it must be true or false"),
        ("BUCKETFS_DOMAIN", "x", "environment BUCKETFS_DOMAIN: domain= means nothing to memory:"),
        ("BUCKETFS_CRAWLERS", "x", "environment BUCKETFS_CRAWLERS: crawlers=x is wrong"),
        ("BUCKETFS_SECRET_KEY", SECRET, "environment: BUCKETFS_ACCESS_KEY is missing"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str
) -> None:
    monkeypatch.setenv(name, text)
    done = run("probe", "memory://x")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr


def test_variables_that_mean_nothing_are_found() -> None:
    names = ["BUCKETFS_MEMROY", "BUCKETFS_MEMORY", "BUCKETFS_CONFIG", "BUCKETFS_SECRET_KEY", "X"]
    assert unknown_variables(dict.fromkeys(names, "")) == ["BUCKETFS_MEMROY"]


def test_a_profile_can_be_probed(config: Path, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    written(config, f'[a]\nurl = "file://{tmp_path}/box"\n')
    done = run("probe", "a", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"url": "file://{tmp_path}/box"' in done.stdout


def test_recover_fetches_by_a_profile_or_from_where_it_was_mounted(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(config, '[a]\nurl = "s3://b"\naccess_key = "k"\nsecret_key = "s"\n')
    monkeypatch.setenv("BUCKETFS_ENDPOINT", "http://elsewhere")
    contents = cast(Contents, SimpleNamespace(store_url="s3://old at http://there/a,b"))
    assert Fetching.of(contents, "a", []).settings.secrets == Secrets("k", "s")
    assert Fetching.of(contents, None, []).settings.endpoint == "http://there/a,b"
    assert Fetching.of(contents, None, ["endpoint=http://x"]).settings.endpoint == "http://x"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["mount", "s3://b"], 2, "Missing argument 'MOUNTPOINT'"),
        (["mount", "a"], 1, "where to? `bucketfs mount a MOUNTPOINT`"),
        (["mount", "b", "/x"], 1, "there is no profile 'b'"),
    ],
)
def test_a_mount_point_has_to_be_somewhere(
    config: Path, arguments: list[str], status: int, words: str
) -> None:
    written(config, '[a]\nurl = "memory://a"\n')
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
