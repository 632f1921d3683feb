"""sync, pending, umount and SIGTERM while the server is slow, away, or says no."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import wait_until
from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounts.mounting import Mount, error_of, is_mounted, mounted
from tests.servers.s3_server import RunningS3


@dataclass
class Gate:
    """Requests that write wait here until they may go on."""

    proxy: FaultyServer
    opened: threading.Event

    def shut(self) -> None:
        """Let them wait."""

        def rule(method: str, path: str) -> str | None:
            if method in ("PUT", "POST"):
                self.opened.wait(60)
            return None

        self.proxy.rule = rule


@dataclass
class World:
    """A bucket, the proxy before it, and how it is mounted."""

    server: RunningS3
    bucket: str
    proxy: FaultyServer
    folder: Path

    def mounted(self, *options: str, **environment: str) -> AbstractContextManager[Mount]:
        """Mount the bucket through the proxy, with write-back."""
        place = f"endpoint={self.proxy.url},region=us-east-1,addressing=path"
        return mounted(
            f"s3://{self.bucket}",
            self.folder,
            *(place, "writeback", *options),
            environment={**self.server.environment, **environment},
        )

    @property
    def cache(self) -> Path:
        return self.folder / "mnt.cache"

    def listed(self) -> set[str]:
        found = self.server.client().list_objects_v2(Bucket=self.bucket)
        return {item["Key"] for item in found.get("Contents", ())}

    def data(self, key: str) -> bytes:
        data: bytes = self.server.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data


@pytest.fixture
def world(moto: RunningS3, tmp_path: Path) -> Iterator[World]:
    with faulty(moto.endpoint) as proxy:
        yield World(moto, moto.make_bucket(), proxy, tmp_path)


@pytest.fixture
def gate(world: World) -> Iterator[Gate]:
    """A gate that is open at the end, so that no thread waits any more."""
    gate = Gate(world.proxy, threading.Event())
    yield gate
    gate.opened.set()


def pending(place: Path) -> list[dict[str, object]]:
    done = bucketfs("pending", "--json", place)
    assert done.returncode == 0, done.stderr
    listed: list[dict[str, object]] = json.loads(done.stdout)
    return listed


def opening(file: Path) -> str:
    """Return the error of opening a file for writing, which needs no request, or "ok"."""
    return error_of(lambda: os.close(os.open(file, os.O_WRONLY)))


def test_sync_waits_for_the_bucket(world: World) -> None:
    with world.mounted() as mount:
        (mount.path / "d").mkdir()
        for number in range(20):
            (mount.path / "d" / str(number)).write_bytes(b"x" * number)
        done = bucketfs("sync", mount.path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert world.listed() == {"d/", *(f"d/{number}" for number in range(20))}
        assert pending(mount.path) == []


def test_sync_names_what_could_not_be_saved_at_and_below_its_path(world: World) -> None:
    with world.mounted() as mount:
        world.proxy.rule = lambda method, path: "403" if "bad" in path else None
        (mount.path / "good").mkdir()
        for name in ("good.txt", "bad.txt", "good/f"):
            (mount.path / name).write_bytes(b"x")
        for place in ("good.txt", "good"):
            assert bucketfs("sync", mount.path / place).returncode == 0
        (mount.path / "link").symlink_to("bad.txt")
        for place in ("bad.txt", "link", ""):
            done = bucketfs("sync", mount.path / place)
            assert done.returncode == 1
            failed, summary = done.stderr.splitlines()
            assert failed.startswith("bucketfs: not saved: /bad.txt: ")
            assert summary.startswith("bucketfs: error: 1 could not be saved; they are tried again")
            assert f"bucketfs recover {world.cache}" in summary
        world.proxy.heal()
        assert bucketfs("sync", mount.path).returncode == 0
        assert "bad.txt" in world.listed()


@pytest.mark.parametrize("place", ["none", "/usr/bin"])
def test_sync_of_what_is_no_mount_is_one_line(world: World, place: str) -> None:
    with world.mounted() as mount:
        done = bucketfs("sync", mount.path / place)
        assert done.returncode == 1
        assert done.stderr.startswith("bucketfs: error: ")
        assert len(done.stderr.splitlines()) == 1


def test_pending_shows_an_upload_and_outlives_the_mount(world: World, gate: Gate) -> None:
    with world.mounted() as mount:
        gate.shut()
        (mount.path / "f").write_bytes(b"x" * 100_000)
        wait_until(lambda: pending(mount.path)[0]["state"] == "uploading", "the upload")
        (file,) = pending(mount.path)
        assert {name: file[name] for name in ("path", "size", "unsaved_bytes", "is_kept")} == {
            "path": "/f",
            "size": 100_000,
            "unsaved_bytes": 100_000,
            "is_kept": True,
        }
        assert pending(world.cache)[0]["state"] == "uploading", "its owner was asked"
        plain = bucketfs("pending", mount.path).stdout.split("\t")
        assert plain[:3] == ["/f", "100000", "100000"]

        mount.process.send_signal(signal.SIGSTOP)
        stopped = bucketfs("pending", "--json", mount.path)
        mount.process.send_signal(signal.SIGCONT)
        assert "does not answer" in stopped.stderr
        assert json.loads(stopped.stdout)[0]["path"] == "/f"

        mount.process.kill()
        mount.process.wait(30)
        dead = bucketfs("pending", mount.path)
        assert "is gone; this is what it had kept in" in dead.stderr
        assert dead.stdout.startswith("/f\t100000\t100000\t")
        assert bucketfs("sync", mount.path).stderr.startswith("bucketfs: error: the mount process")
        done = bucketfs("umount", mount.path)
        assert (done.returncode, is_mounted(mount.path)) == (1, False)
        assert f"bucketfs recover {world.cache}" in done.stderr
        assert [file["path"] for file in pending(world.cache)] == ["/f"]


def test_umount_lets_no_changes_in_while_it_saves(world: World, gate: Gate) -> None:
    with world.mounted() as mount:
        (mount.path / "old").write_bytes(b"old")
        assert bucketfs("sync", mount.path).returncode == 0
        gate.shut()
        (mount.path / "f").write_bytes(b"slow")
        command = [sys.executable, "-m", "bucketfs", "umount", str(mount.path)]
        ending = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: opening(mount.path / "old") == "EROFS", "the drain")
            assert error_of((mount.path / "g").write_bytes, b"x") == "EROFS"
            assert error_of(os.truncate, mount.path / "old", 0) == "EROFS"
            assert error_of(os.unlink, mount.path / "old") == "EROFS"
            assert error_of(os.chmod, mount.path / "old", 0o600) == "EROFS"
            assert (mount.path / "old").read_bytes() == b"old"
            assert ending.poll() is None
            gate.opened.set()
            assert (ending.wait(60), ending.communicate()[1]) == (0, "")
        finally:
            ending.kill()
            ending.wait()
        assert mount.process.wait(30) == 0
    assert world.data("f") == b"slow"
    assert world.listed() == {"f", "old"}


def test_two_umounts_at_once_wait_for_the_same_end(world: World, gate: Gate) -> None:
    with world.mounted() as mount:
        gate.shut()
        (mount.path / "f").write_bytes(b"slow")
        command = [sys.executable, "-m", "bucketfs", "umount", str(mount.path)]
        endings = [
            subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
        ]
        try:
            time.sleep(2)
            assert [ending.poll() for ending in endings] == [None, None]
            gate.opened.set()
            ends = [(ending.wait(60), ending.communicate()[1]) for ending in endings]
            assert ends == [(0, ""), (0, "")]
        finally:
            for ending in endings:
                ending.kill()
                ending.wait()
        assert mount.process.wait(30) == 0
    assert bucketfs("umount", mount.path).returncode == 1, "nothing is mounted there any more"
    assert world.data("f") == b"slow"


def test_an_umount_that_is_interrupted_lets_changes_in_again(world: World, gate: Gate) -> None:
    with world.mounted() as mount:
        (mount.path / "old").write_bytes(b"old")
        assert bucketfs("sync", mount.path).returncode == 0
        gate.shut()
        (mount.path / "f").write_bytes(b"slow")
        command = [sys.executable, "-m", "bucketfs", "umount", str(mount.path)]
        ending = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: opening(mount.path / "old") == "EROFS", "the drain")
        finally:
            ending.terminate()
            ending.wait()
        wait_until(lambda: opening(mount.path / "old") == "ok", "the open door")
        gate.opened.set()
        (mount.path / "g").write_bytes(b"x")
        assert bucketfs("umount", mount.path).returncode == 0
    assert world.listed() >= {"f", "g"}


def unsaved_file(world: World, mount: Mount) -> None:
    """Leave a file that the bucket refuses."""
    world.proxy.fail_always("403", "PUT")
    (mount.path / "f").write_bytes(b"unsaved")
    wait_until(lambda: bool(pending(mount.path)[0]["attempts"]), "the first attempt")


def test_a_forced_umount_keeps_what_is_left_for_the_next_mount(world: World) -> None:
    with world.mounted() as mount:
        unsaved_file(world, mount)
        tries = len([method for method, _ in world.proxy.seen if method == "PUT"])
        done = bucketfs("umount", "--force", mount.path)
        assert (done.returncode, is_mounted(mount.path)) == (1, False)
        failed, summary = done.stderr.splitlines()
        assert failed.startswith("bucketfs: not saved: /f: ")
        assert f"{mount.path} is unmounted; their bytes are kept in {world.cache}" in summary
        assert mount.process.wait(30) == 1
        after = len([method for method, _ in world.proxy.seen if method == "PUT"])
        assert after - tries <= 2, "it was tried once more, by umount, or the background just did"
    world.proxy.heal()
    assert [file["path"] for file in pending(mount.path)] == ["/f"], "where it was mounted"
    with world.mounted() as mount:
        assert (mount.path / "f").read_bytes() == b"unsaved"
        assert bucketfs("sync", mount.path).returncode == 0
    assert world.data("f") == b"unsaved"


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_names_what_could_not_be_saved(world: World, signals: int) -> None:
    with world.mounted() as mount:
        unsaved_file(world, mount)
        for _ in range(signals):
            mount.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert mount.process.wait(30) == 1
        assert not is_mounted(mount.path)
        log = mount.log_text()
        assert "not in the bucket: /f: " in log
        assert "(kept for the next mount)" in log
        assert str(world.cache) in log
    assert [file["path"] for file in pending(world.cache)] == ["/f"]


def test_a_second_sigterm_does_not_wait_for_the_server(world: World, gate: Gate) -> None:
    with world.mounted() as mount:
        gate.shut()
        (mount.path / "f").write_bytes(b"slow")
        wait_until(lambda: pending(mount.path)[0]["state"] == "uploading", "the upload")
        for _ in range(2):
            mount.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        # The request that is under way is in a thread, which ends with its answer.
        gate.opened.set()
        assert mount.process.wait(30) in (0, 1)
    left = pending(world.cache)
    assert [file["path"] for file in left] == (["/f"] if left else [])
    with world.mounted() as mount:
        assert (mount.path / "f").read_bytes() == b"slow"


def test_a_service_manager_is_told(world: World, gate: Gate, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        with world.mounted(NOTIFY_SOCKET=str(tmp_path / "notify")) as mount:
            assert manager.recv(4096) == b"READY=1"
            assert manager.recv(4096) == b"STATUS=all is in the bucket"
            gate.shut()
            (mount.path / "f").write_bytes(b"slow")
            mount.process.send_signal(signal.SIGTERM)
            told = manager.recv(4096)
            while told == b"STATUS=1 file (0 MiB) not in the bucket yet":
                told = manager.recv(4096)
            assert told == (
                b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=saving 1 file (0 MiB) into the bucket"
            )
            gate.opened.set()
            assert mount.process.wait(30) == 0
            while told != b"STOPPING=1":
                told = manager.recv(4096)
    assert world.data("f") == b"slow"


def test_recover_exports_what_a_killed_mount_had_acknowledged(world: World, tmp_path: Path) -> None:
    base, large = os.urandom(300_000), os.urandom(3 << 20)
    world.server.client().put_object(Bucket=world.bucket, Key="edited", Body=base)
    with world.mounted("memory=16M") as mount:
        (mount.path / "d").mkdir()
        world.proxy.rule = lambda method, path: "403" if method in ("PUT", "POST") else None
        (mount.path / "d" / "small").write_bytes(b"small")
        (mount.path / "large").write_bytes(large)
        os.chmod(mount.path / "large", 0o640)
        with open(mount.path / "edited", "r+b") as file:
            file.seek(100_000)
            file.write(b"changed")
        mount.kill()
    exported = tmp_path / "out"
    done = bucketfs("recover", world.cache, "--export", tmp_path / "holes")
    assert done.returncode == 1
    assert "not whole: /edited: " in done.stderr
    keys = world.server.environment
    options = "region=us-east-1,addressing=path"
    command = ("recover", world.cache, "--export", exported, "--fetch", "-o", options)
    done = bucketfs(*command, **keys)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"3 files and 1 folder exported to {exported}\n"
    assert (exported / "d" / "small").read_bytes() == b"small"
    assert (exported / "large").read_bytes() == large
    assert (exported / "large").stat().st_mode & 0o777 == 0o640
    assert (exported / "edited").read_bytes() == base[:100_000] + b"changed" + base[100_007:]

    world.proxy.heal()
    with world.mounted() as mount:
        assert bucketfs("sync", mount.path).returncode == 0
    assert world.data("large") == large, "exporting took nothing away"
