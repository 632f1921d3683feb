"""The commands on a real mount: going to the background, failing before it, saving at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounts.mounting import is_mounted

ROOT = Path(__file__).parents[2]


def bucketfs(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to mount on; whatever is mounted there at the end is taken away."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    subprocess.run(["fusermount3", "-uz", path], capture_output=True, check=False)


@pytest.fixture
def options(tmp_path: Path) -> str:
    """Options that keep a daemon's files in the test's folder."""
    return f"cache_dir={tmp_path / 'cache'},log_file={tmp_path / 'log'}"


def test_a_daemon_mounts_and_umount_saves(bucket_folder: Path, mnt: Path, options: str) -> None:
    done = bucketfs("mount", f"file://{bucket_folder}", mnt, "-o", options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert is_mounted(mnt)
    (mnt / "f").write_bytes(b"kept")
    done = bucketfs("umount", mnt)
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_mounted(mnt)
    assert (bucket_folder / "f").read_bytes() == b"kept"
    assert bucketfs("umount", mnt).returncode == 1


def test_secrets_are_neither_in_the_mount_table_nor_in_the_log(
    tmp_path: Path, bucket_folder: Path, mnt: Path, options: str
) -> None:
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    bucketfs(
        *("mount", f"file://{bucket_folder}", mnt, "--debug", "-o", options),
        AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
        AWS_SECRET_ACCESS_KEY=secret,
    )
    (mnt / "f").write_bytes(b"x")
    table = Path("/proc/self/mountinfo").read_text()
    assert bucketfs("umount", mnt).returncode == 0
    line = next(line for line in table.splitlines() if str(mnt) in line)
    assert f"bucketfs file://{bucket_folder}" in line.replace("fuse.", "")
    assert secret not in table + (tmp_path / "log").read_text()


def test_a_busy_mount_stays(bucket_folder: Path, mnt: Path, options: str) -> None:
    assert bucketfs("mount", f"file://{bucket_folder}", mnt, "-o", options).returncode == 0
    with open(mnt / "f", "wb"):
        done = bucketfs("umount", mnt)
        assert done.returncode == 1
        assert "busy" in done.stderr
        assert is_mounted(mnt)
    deadline = time.monotonic() + 10
    while bucketfs("umount", mnt).returncode:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("foreground", [[], ["--foreground"]])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///no/such/folder", "/no/such/folder"),
        ("s3://bucket", "cannot connect to 127.0.0.1"),
    ],
)
def test_what_cannot_be_mounted_fails_before(
    mnt: Path, options: str, url: str, words: str, foreground: list[str]
) -> None:
    options += ",timeout=3,endpoint=http://127.0.0.1:9"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = bucketfs("mount", url, mnt, "-o", options, *foreground, **keys)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("bucketfs: error: ")
    assert words in error
    assert "Traceback" not in done.stderr
    assert not is_mounted(mnt)


@pytest.mark.parametrize("kind", ["missing", "file", "full", "mounted"])
def test_bad_mount_points(bucket_folder: Path, mnt: Path, options: str, kind: str) -> None:
    place = mnt if kind == "mounted" else mnt / kind
    if kind == "file":
        place.write_text("")
    elif kind == "full":
        (place / "entry").mkdir(parents=True)
    elif kind == "mounted":
        assert bucketfs("mount", "memory://first", mnt, "-o", options).returncode == 0
    done = bucketfs("mount", f"file://{bucket_folder}", place, "-o", "log_file=/dev/null")
    assert done.returncode == 1
    assert done.stderr.startswith("bucketfs: error: ")
    assert len(done.stderr.splitlines()) == 1
    assert str(place) in done.stderr


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="scripts/test makes .venv")
def test_quickstart() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "quickstart"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "All of it worked" in done.stdout
