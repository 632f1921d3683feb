"""Profiles on the real kernel, and on servers that check signatures: keys get there only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.serving import RunningEmulator
from tests.mounts.mounting import is_mounted
from tests.servers.s3_server import RunningS3

ROOT = Path(__file__).parents[2]
KEYS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "cos": ("COS_SECRET_ID", "COS_SECRET_KEY"),
    "bos": ("BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY"),
    "kodo": ("QINIU_ACCESS_KEY", "QINIU_SECRET_KEY"),
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("BUCKETFS_CONFIG", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in [name for names in KEYS.values() for name in names]:
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    subprocess.run(["fusermount3", "-uz", path], capture_output=True, check=False)


def bucketfs(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        input=stdin,
    )


Server = RunningEmulator | RunningS3


def place_of(server: Server) -> tuple[str, list[str], tuple[str, str]]:
    """Return the URL of a new bucket, flags that say where it is, and its keys."""
    kind = server.name if isinstance(server, RunningEmulator) else "s3"
    flags = ["--set", f"endpoint={server.endpoint}"]
    if kind == "s3":
        flags += ["--set", "region=us-east-1", "--set", "addressing=path"]
    if kind == "cos":
        flags += ["--set", f"region={server.environment['COS_REGION']}"]
    key, secret = (server.environment[name] for name in KEYS[kind])
    return f"{kind}://{server.make_bucket()}", flags, (key, secret)


@pytest.mark.parametrize("name", ["cos", "bos", "kodo", "rclone"])
def test_keys_of_a_profile_are_the_right_ones(
    name: str, config: Path, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    url, flags, (key, secret) = place_of(server)
    asked = ["configure", "mine", "--url", url, *flags, "--keys", "stdin"]
    refused = bucketfs(*asked, stdin=f"{key}\nwrong\n")
    assert (refused.returncode, config.exists()) == (1, False)
    assert "these credentials may not" in refused.stderr
    assert "nothing was written" in refused.stderr
    done = bucketfs(*asked, stdin=f"{key}\n{secret}\n")
    assert done.returncode == 0, done.stderr
    assert "write: yes" in done.stderr
    probed = bucketfs("probe", "mine", "--json")
    assert (probed.returncode, probed.stderr) == (0, "")
    shown = bucketfs("config", "show", "mine").stdout
    assert f"url\t{url}\tprofile mine in {config}" in shown
    assert secret not in probed.stdout + shown + done.stdout + done.stderr


def test_a_profile_is_mounted_and_its_keys_are_in_no_process(
    config: Path, cos: RunningEmulator, mnt: Path, tmp_path: Path
) -> None:
    url, flags, (key, secret) = place_of(cos)
    more = [f"mountpoint={mnt}", f"cache_dir={tmp_path / 'cache'}", f"log_file={tmp_path / 'log'}"]
    for text in more:
        flags += ["--set", text]
    asked = ["configure", "mine", "--url", url, *flags, "--keys", "stdin", "--set", "debug=true"]
    assert bucketfs(*asked, stdin=f"{key}\n{secret}\n").returncode == 0
    done = bucketfs("mount", "mine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert is_mounted(mnt)
    (mnt / "f").write_bytes(b"kept")
    mine = [text for text in processes() if str(config) in text]
    status = bucketfs("stats", mnt, "--json").stdout
    assert bucketfs("umount", mnt).returncode == 0
    assert any("\0mount\0mine\0" in text for text in mine)
    assert [text for text in mine if secret in text] == []
    kept = [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert [data for data in kept if secret.encode() in data] == []
    assert secret not in (tmp_path / "log").read_text() + status


def processes() -> Iterator[str]:
    """Yield what others can see of each process: its arguments and environment."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                folder = Path("/proc") / name
                text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            yield text.decode(errors="replace")
