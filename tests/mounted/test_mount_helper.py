"""fstab, mount(8) and umount(8), through the programs that `bucketfs install` makes in /sbin."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bucketfs.cli.installing import FOLDER, NAMES
from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import wait_until
from tests.mounted.test_command_line import bucketfs
from tests.mounted.test_waiting import Gate
from tests.mounts.mounting import END_S, error_of, is_mounted
from tests.servers.s3_server import RunningS3
from tests.servers.starting import free_port

NETWORK_S = 5.0
"""When the network of a booting machine is up."""
FAILED = 32
"""The exit status of mount(8) and umount(8) for "it did not work"."""


@pytest.fixture
def helpers() -> Iterator[None]:
    """The programs in /sbin, for the time of one test; only one session at a time has them."""
    if os.geteuid() != 0:
        pytest.skip("only root can install programs for mount(8)")
    with open(Path(tempfile.gettempdir()) / "bucketfs-tests-sbin.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = [name for name in NAMES if is_of_others(FOLDER / name)]
        if others:
            pytest.skip(f"another bucketfs is installed here: {', '.join(others)}")
        assert bucketfs("install").returncode == 0
        try:
            yield
        finally:
            bucketfs("uninstall")


def is_of_others(path: Path) -> bool:
    return path.exists() and sys.executable not in path.read_text()


@dataclass
class Table:
    """An fstab of our own, and what is mounted by it."""

    folder: Path
    place: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "fstab"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def write(self, url: str, options: str = "") -> None:
        """Write the one line, as a person would: with spaces escaped."""
        given = f"_netdev,nofail,comment=x,x-systemd.automount,cache_dir={self.cache}"
        given += f",log_file={self.folder / 'log'}" + (options and f",{options}")
        words = [word.replace(" ", r"\040") for word in (url, str(self.place), given)]
        self.path.write_text(f"# a comment\n{words[0]} {words[1]} bucketfs {words[2]} 0 0\n")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the system, in a folder where nothing is to be imported from."""
        return subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            timeout=END_S,
            check=False,
            cwd=self.folder,
            env={**os.environ, **self.environment},
        )

    def mount(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Mount by the table: one place, or with -a all of it."""
        place = [] if "-a" in flags else [str(self.place)]
        return self.run("mount", *flags, "-T", self.path, *place)

    def umount(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return self.run("umount", *flags, self.place)

    @property
    def pid(self) -> int:
        """Return the mount's process, which says who it is in its cache folder."""
        (word,) = (w for w in (self.cache / "lock").read_text().split() if w.startswith("pid="))
        return int(word.removeprefix("pid="))


@pytest.fixture
def table(helpers: None, tmp_path: Path) -> Iterator[Table]:
    place = tmp_path / "a mount"
    place.mkdir()
    table = Table(tmp_path, place)
    yield table
    while is_mounted(place):
        subprocess.run(["fusermount3", "-uz", place], check=False)
    with suppress(FileNotFoundError, ValueError):
        wait_until(lambda: not is_process(table), "the end of the mount's process", END_S)


def is_process(table: Table) -> bool:
    """Return whether the process of the mount lives, which locks its folder."""
    with open(table.cache / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A folder that is a bucket, with a name that fstab and shells take for something else."""
    path = tmp_path / "a b#c?d=e"
    path.mkdir()
    return path


def test_a_line_of_fstab_mounts_and_umount_saves(table: Table, bucket: Path) -> None:
    table.write(f"file://{bucket}", "user,noatime")
    done = table.mount("-v")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"file://{bucket} is mounted at {table.place}" in done.stdout
    (table.place / "f").write_bytes(b"kept")
    assert table.mount("-a").returncode == 0, "what is mounted is not mounted once more"
    done = table.umount("-v")
    assert (done.returncode, done.stderr) == (0, "")
    assert "is unmounted" in done.stdout
    assert not is_mounted(table.place)
    assert not is_process(table)
    assert (bucket / "f").read_bytes() == b"kept"


def test_a_profile_of_fstab_keeps_what_it_says(table: Table, bucket: Path) -> None:
    """Also by `mount -t bucketfs PROFILE DIR`; mount(8) adds rw to both."""
    (bucket / "f").write_bytes(b"kept")
    config = table.folder / "config.toml"
    config.write_text(f'[photos]\nurl = "file://{bucket}"\nro = true\n')
    table.environment["BUCKETFS_CONFIG"] = str(config)
    table.write("photos")
    by_hand = ("mount", "-t", "bucketfs", "-o", f"cache_dir={table.cache}", "photos", table.place)
    for is_in_fstab in (True, False):
        done = table.mount() if is_in_fstab else table.run(*by_hand)
        assert (done.returncode, done.stderr) == (0, "")
        assert (table.place / "f").read_bytes() == b"kept"
        assert error_of(lambda: (table.place / "g").touch()) == "EROFS"
        assert table.umount().returncode == 0


def test_mount_all_and_unmount_by_source(table: Table, bucket: Path) -> None:
    table.write(f"file://{bucket}")
    assert table.mount("-a").returncode == 0
    assert is_mounted(table.place)
    assert table.run("umount", f"file://{bucket}").returncode == 0
    assert not is_mounted(table.place)
    table.write(f"file://{bucket}", "noauto")
    assert table.mount("-a").returncode == 0
    assert not is_mounted(table.place)


@pytest.mark.parametrize("kind", ["bucketfs", "fuse.bucketfs"])
def test_a_command_line_without_fstab(table: Table, bucket: Path, kind: str) -> None:
    given = f"ro,cache_dir={table.cache},log_file={table.folder / 'log'}"
    words = [f"file://{bucket}", str(table.place), "-o", given]
    assert table.run("mount", "-f", "-t", kind, *words).returncode == 0
    assert not is_mounted(table.place), "-f does all but the mount"
    assert table.run("mount", "-t", kind, *words).returncode == 0
    assert error_of((table.place / "f").write_bytes, b"") == "EROFS"
    assert table.run("umount", table.place).returncode == 0


def test_unknown_options_fail_but_with_s(table: Table, bucket: Path) -> None:
    table.write(f"file://{bucket}", "wsize=8192")
    done = table.mount()
    assert done.returncode == FAILED
    assert done.stderr.startswith("mount.bucketfs: error: unknown option 'wsize'")
    assert table.mount("-s").returncode == 0
    assert table.run("mount", "-o", "remount,ro", table.place).returncode == FAILED
    assert table.umount("-n").returncode == 0


def test_umount_waits_for_the_bucket_and_names_what_fails(table: Table, moto: RunningS3) -> None:
    with faulty(moto.endpoint) as proxy:
        bucket = write_s3(table, moto, proxy)
        assert table.mount().returncode == 0
        (table.place / "good").write_bytes(b"x")
        assert table.umount().returncode == 0
        assert moto.client().get_object(Bucket=bucket, Key="good")["Body"].read() == b"x"

        assert table.mount().returncode == 0
        proxy.rule = lambda method, path: "403" if method == "PUT" else None
        (table.place / "bad").write_bytes(b"y" * 1000)
        done = table.umount()
        assert done.returncode == FAILED
        assert "bucketfs: not saved: /bad: " in done.stderr
        assert "is still mounted" in done.stderr
        assert is_mounted(table.place)

        done = table.umount("-f")
        assert (done.returncode, is_mounted(table.place)) == (FAILED, False)
        assert f"bucketfs recover {table.cache}" in done.stderr

        proxy.heal()
        assert table.mount().returncode == 0
        assert (table.place / "bad").read_bytes() == b"y" * 1000
        assert table.umount().returncode == 0
        assert moto.client().get_object(Bucket=bucket, Key="bad")["Body"].read() == b"y" * 1000


def write_s3(table: Table, moto: RunningS3, proxy: FaultyServer, options: str = "writeback") -> str:
    """Write the line of a new bucket behind a proxy; return its name."""
    bucket = moto.make_bucket()
    place = f"endpoint={proxy.url},region=us-east-1,addressing=path"
    table.environment |= moto.environment
    table.write(f"s3://{bucket}", f"{place},{options}")
    return bucket


def test_a_lazy_umount_does_not_wait_and_loses_nothing(table: Table, moto: RunningS3) -> None:
    with faulty(moto.endpoint) as proxy:
        gate = Gate(proxy, threading.Event())
        bucket = write_s3(table, moto, proxy)
        assert table.mount().returncode == 0
        gate.shut()
        (table.place / "f").write_bytes(b"slow")
        done = table.umount("-l")
        assert (done.returncode, is_mounted(table.place)) == (0, False)
        assert "still saves 1 file" in done.stderr
        assert is_process(table)
        gate.opened.set()
        wait_until(lambda: not is_process(table), "the end", END_S)
        assert moto.client().get_object(Bucket=bucket, Key="f")["Body"].read() == b"slow"


def test_a_killed_mount_is_taken_over_by_the_next(table: Table, moto: RunningS3) -> None:
    with faulty(moto.endpoint) as proxy:
        bucket = write_s3(table, moto, proxy)
        assert table.mount().returncode == 0
        proxy.fail_always("503", "PUT")
        (table.place / "f").write_bytes(b"acknowledged")
        os.kill(table.pid, 9)
        wait_until(lambda: error_of(os.listdir, table.place) == "ENOTCONN", "the end")
        proxy.heal()
        done = table.mount()
        assert (done.returncode, done.stderr) == (0, "")
        assert (table.place / "f").read_bytes() == b"acknowledged"
        os.kill(table.pid, 9)
        wait_until(lambda: error_of(os.listdir, table.place) == "ENOTCONN", "the end")
        done = table.umount()
        assert (done.returncode, is_mounted(table.place)) == (FAILED, False)
        assert "is gone" in done.stderr
        assert table.mount().returncode == 0
        assert table.umount().returncode == 0
        assert moto.client().get_object(Bucket=bucket, Key="f")["Body"].read() == b"acknowledged"


def test_a_mount_that_lives_is_not_taken_over(table: Table, bucket: Path) -> None:
    table.write(f"file://{bucket}")
    assert table.mount().returncode == 0
    (table.place / "f").write_bytes(b"x")
    done = bucketfs("mount", f"file://{bucket}", table.place, "-o", f"cache_dir={table.folder}/c2")
    assert done.returncode == 1
    assert "is a mount already" in done.stderr
    other = table.folder / "other"
    other.mkdir()
    done = bucketfs("mount", f"file://{bucket}", other, "-o", f"cache_dir={table.cache}")
    assert done.returncode == 1
    assert f"belongs to another mount ({table.place} pid={table.pid} " in done.stderr
    assert (table.place / "f").read_bytes() == b"x"


def test_a_boot_without_network_is_waited_for(table: Table, moto: RunningS3) -> None:
    port = free_port()
    bucket = moto.make_bucket()
    table.environment |= moto.environment
    where = f"endpoint=http://127.0.0.1:{port},region=us-east-1,addressing=path"

    table.write(f"s3://{bucket}", where)
    done = table.mount()
    assert (done.returncode, is_mounted(table.place)) == (FAILED, False)
    assert "cannot be reached" in done.stderr

    table.write(f"s3://{bucket}", f"{where},mount_timeout=40")
    over = threading.Event()

    def come_up() -> None:
        if not over.wait(NETWORK_S):
            with faulty(moto.endpoint, port):
                over.wait(END_S)

    network = threading.Thread(target=come_up)
    network.start()
    try:
        began = time.monotonic()
        done = table.mount()
        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - began >= NETWORK_S
        (table.place / "f").write_bytes(b"x")
        assert table.umount().returncode == 0
    finally:
        over.set()
        network.join()
    assert moto.client().get_object(Bucket=bucket, Key="f")["Body"].read() == b"x"


def test_a_wrong_bucket_is_not_waited_for(table: Table, moto: RunningS3) -> None:
    table.environment |= moto.environment
    where = f"endpoint={moto.endpoint},region=us-east-1,addressing=path"
    table.write("s3://no-such-bucket-here", f"{where},mount_timeout=50")
    began = time.monotonic()
    done = table.mount()
    assert done.returncode == FAILED
    assert "there is no such bucket" in done.stderr
    assert time.monotonic() - began < 20
