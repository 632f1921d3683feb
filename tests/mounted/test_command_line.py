"""The commands on a real mount: going to the background, failing before it, saving at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options
from tests.mounts.mounting import error_of, is_mounted, mounted
from tests.servers.s3_server import RunningS3

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


@pytest.mark.parametrize("kind", ["bucket", "secret", "key", "none"])
def test_a_wrong_bucket_or_key_fails_before_mounting(
    radosgw: RunningS3, tmp_path: Path, mnt: Path, options: str, kind: str
) -> None:
    bucket = "no-such-bucket-here" if kind == "bucket" else radosgw.make_bucket()
    environment = dict(radosgw.environment)
    if kind == "secret":
        environment["AWS_SECRET_ACCESS_KEY"] = "not-the-secret-of-this-key"
    elif kind == "key":
        environment["AWS_ACCESS_KEY_ID"] = "UNKNOWNKEY0000001"
    elif kind == "none":
        environment.update(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    options = f"{s3_options(radosgw)},{options}"
    done = bucketfs("mount", f"s3://{bucket}", mnt, "-o", options, **environment)
    assert done.returncode == 1
    assert not is_mounted(mnt)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("bucketfs: error: ")
    assert "bug" not in done.stderr
    assert "not-the-secret" not in done.stderr
    assert ("no such bucket" if kind == "bucket" else "credentials") in done.stderr
    assert str(bucket) in done.stderr or kind == "none"


def test_a_silent_endpoint_is_given_up(mnt: Path, options: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options += f",timeout=1,endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        done = bucketfs("mount", "s3://bucket", mnt, "-o", options, **keys)
    assert done.returncode == 1
    assert time.monotonic() - began < 40
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_cache_folder_has_one_owner(
    tmp_path: Path, bucket_folder: Path, mnt: Path, options: str
) -> None:
    assert bucketfs("mount", f"file://{bucket_folder}", mnt, "-o", options).returncode == 0
    second = tmp_path / "second"
    second.mkdir()
    done = bucketfs("mount", f"file://{bucket_folder}", second, "-o", options)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(mnt) in done.stderr, "it names the one who has it"
    assert not is_mounted(second)
    assert bucketfs("umount", mnt).returncode == 0
    assert bucketfs("mount", f"file://{bucket_folder}", second, "-o", options).returncode == 0
    assert bucketfs("umount", second).returncode == 0


def test_what_cannot_be_saved_is_named_and_keeps_the_mount(
    moto: RunningS3, mnt: Path, options: str
) -> None:
    bucket = moto.make_bucket()
    with faulty(moto.endpoint) as proxy:
        place = f"endpoint={proxy.url},region=us-east-1,addressing=path,timeout=1"
        done = bucketfs(
            "mount", f"s3://{bucket}", mnt, "-o", place, "-o", options, **moto.environment
        )
        assert done.returncode == 0, done.stderr
        proxy.fail_always("403", "PUT")
        for name in ("first", "second"):
            assert error_of((mnt / name).write_bytes, name.encode()) == "EACCES"
        done = bucketfs("umount", mnt)
        assert done.returncode == 1
        assert "/first" in done.stderr
        assert "/second" in done.stderr
        assert "2 could not be saved" in done.stderr
        assert is_mounted(mnt)
        assert (mnt / "first").read_bytes() == b"first"
        proxy.heal()
        done = bucketfs("umount", mnt)
        assert (done.returncode, done.stderr) == (0, "")
    client = moto.client()
    assert client.get_object(Bucket=bucket, Key="second")["Body"].read() == b"second"


def test_a_forced_umount_says_what_is_lost(
    tmp_path: Path, moto: RunningS3, mnt: Path, options: str
) -> None:
    bucket = moto.make_bucket()
    with faulty(moto.endpoint) as proxy:
        place = f"endpoint={proxy.url},region=us-east-1,addressing=path,timeout=1"
        done = bucketfs(
            "mount", f"s3://{bucket}", mnt, "-o", place, "-o", options, **moto.environment
        )
        assert done.returncode == 0, done.stderr
        proxy.fail_always("403", "PUT")
        assert error_of((mnt / "f").write_bytes, b"unsaved") == "EACCES"
        done = bucketfs("umount", "--force", mnt)
        assert done.returncode == 1
        assert "/f" in done.stderr
        assert not is_mounted(mnt)
    assert "/f" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("given", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(
    tmp_path: Path, bucket_folder: Path, given: signal.Signals
) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"written and not closed")
        mount.process.send_signal(given)
        assert mount.process.wait(30) == 0
        assert not is_mounted(mount.path)
        error_of(os.close, fd)
    assert (bucket_folder / "f").read_bytes() == b"written and not closed"


def test_a_killed_mount_can_be_replaced(
    tmp_path: Path, bucket_folder: Path, mnt: Path, options: str
) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, name="mnt") as mount:
        (mount.path / "f").write_bytes(b"saved")
        mount.process.kill()
        mount.process.wait(30)
        assert error_of(os.listdir, mnt) == "ENOTCONN"
        done = bucketfs("umount", mnt)
        assert done.returncode == 1
        assert "is gone" in done.stderr
        assert not is_mounted(mnt)
    assert bucketfs("mount", f"file://{bucket_folder}", mnt, "-o", options).returncode == 0
    assert (mnt / "f").read_bytes() == b"saved"
    assert bucketfs("umount", mnt).returncode == 0


def test_secrets_are_nowhere_to_be_seen(
    radosgw: RunningS3, tmp_path: Path, mnt: Path, options: str
) -> None:
    bucket = radosgw.make_bucket()
    options = f"{s3_options(radosgw)},{options}"
    command = ("mount", f"s3://{bucket}", mnt, "--debug", "-o", options)
    assert bucketfs(*command, **radosgw.environment).returncode == 0
    (mnt / "f").write_bytes(b"x" * 1000)
    assert (mnt / "f").read_bytes() == b"x" * 1000
    seen = Path("/proc/self/mountinfo").read_text()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"bucketfs" in (words := process.read_bytes()) and bytes(mnt) in words:
                seen += words.decode(errors="replace")
    assert str(mnt) in seen
    assert bucketfs("umount", mnt).returncode == 0
    log = (tmp_path / "log").read_text()
    assert bucket in log, "--debug logs requests"
    for text in (radosgw.secret_key, "Signature=", "Credential="):
        assert text not in seen + log


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="scripts/test makes .venv")
def test_quickstart() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "quickstart"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "All of it worked" in done.stdout
