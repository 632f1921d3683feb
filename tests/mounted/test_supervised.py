"""A mount as a service: what its manager hears, what it does with it, and users without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bucketfs.cli.units import CAPABILITIES, template
from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import wait_until
from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounted.test_waiting import Gate
from tests.mounts.mounting import END_S, error_of, is_mounted
from tests.mounts.supervisor import Supervisor
from tests.servers.s3_server import RunningS3

WATCHDOG_S = 2.0
MIB = 1 << 20


@dataclass
class Service:
    """A bucket behind a proxy, mounted with write-back by a service manager."""

    server: RunningS3
    bucket: str
    proxy: FaultyServer
    folder: Path

    @property
    def place(self) -> Path:
        return self.folder / "mnt"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def command(self, *options: str) -> list[str]:
        where = f"endpoint={self.proxy.url},region=us-east-1,addressing=path"
        given = ",".join([where, f"cache_dir={self.cache}", "writeback", *options])
        program = [sys.executable, "-m", "bucketfs", "mount", f"s3://{self.bucket}"]
        return [*program, str(self.place), "--foreground", "-o", given]

    @contextmanager
    def running(self, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[Supervisor]:
        command = [*prefix, *self.command(*options)]
        with Supervisor(command, self.folder, WATCHDOG_S, self.server.environment) as supervisor:
            supervisor.wait_heard("READY=1")
            yield supervisor

    def data(self, key: str) -> bytes:
        found = self.server.client().get_object(Bucket=self.bucket, Key=key)
        data: bytes = found["Body"].read()
        return data


@pytest.fixture
def service(moto: RunningS3, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "mnt").mkdir()
    with faulty(moto.endpoint) as proxy:
        yield Service(moto, moto.make_bucket(), proxy, tmp_path)
        # Its process is gone by now.
        while is_mounted(tmp_path / "mnt"):
            subprocess.run(["fusermount3", "-uz", tmp_path / "mnt"], check=False)


def test_the_manager_hears_how_the_mount_is(service: Service) -> None:
    gate = Gate(service.proxy, threading.Event())
    with service.running() as supervisor:
        assert is_mounted(service.place), "READY=1 comes when the mount answers"
        after = supervisor.wait_heard("STATUS=all is in the bucket")
        supervisor.wait_heard("WATCHDOG=1")
        gate.shut()
        (service.place / "f").write_bytes(b"x" * 3 * MIB)
        after = supervisor.wait_heard("STATUS=1 file (3 MiB) not in the bucket yet", after=after)
        gate.opened.set()
        after = supervisor.wait_heard("STATUS=all is in the bucket", after=after)
        assert supervisor.stop(END_S) == 0
        supervisor.wait_heard("STOPPING=1", after=after)
    assert "(killed by the watchdog)" not in supervisor.heard
    assert service.data("f") == b"x" * 3 * MIB


def test_a_stop_saves_what_is_pending_however_long_it_takes(service: Service) -> None:
    gate = Gate(service.proxy, threading.Event())
    contents = {f"f{number}": os.urandom(8 * MIB) for number in range(8)}
    with service.running() as supervisor:
        gate.shut()
        for name, content in contents.items():
            (service.place / name).write_bytes(content)
        threading.Timer(8, gate.opened.set).start()
        assert supervisor.stop(END_S) == 0
        extended = supervisor.wait_heard("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=saving 8 files (64")
        stopping = supervisor.wait_heard("STOPPING=1")
        assert extended < stopping
        assert not is_mounted(service.place)
    assert {name: service.data(name) for name in contents} == contents


def test_a_server_that_goes_during_the_stop_is_told(service: Service) -> None:
    with service.running("timeout=1") as supervisor:
        service.proxy.fail_always("reset", "PUT")
        (service.place / "one").write_bytes(b"1" * MIB)
        (service.place / "two").write_bytes(b"2" * MIB)
        assert supervisor.stop(END_S * 2) == 1
        for name in ("/one", "/two"):
            assert f"not in the bucket: {name}: " in supervisor.log
        assert f"kept in {service.cache}" in supervisor.log
    service.proxy.heal()
    with service.running() as supervisor:
        assert (service.place / "one").read_bytes() == b"1" * MIB
        assert supervisor.stop(END_S) == 0
    assert service.data("two") == b"2" * MIB


def test_a_mount_that_hangs_is_killed_and_started_anew(service: Service) -> None:
    with service.running() as supervisor:
        service.proxy.fail_always("503", "PUT")
        (service.place / "f").write_bytes(b"acknowledged")
        first = supervisor.pid
        after = supervisor.wait_heard("WATCHDOG=1")
        os.kill(first, signal.SIGSTOP)
        after = supervisor.wait_heard("(killed by the watchdog)", after=after)
        service.proxy.heal()
        after = supervisor.wait_heard("READY=1", after=after)
        assert supervisor.exits == [-signal.SIGKILL]
        assert supervisor.pid != first
        assert (service.place / "f").read_bytes() == b"acknowledged"
        supervisor.wait_heard("WATCHDOG=1", after=after)
        assert supervisor.stop(END_S) == 0
    assert service.data("f") == b"acknowledged"


def test_the_watchdog_is_not_fed_while_the_kernel_is_not_served(
    service: Service, tmp_path: Path
) -> None:
    """The loop runs and its timers too, but no request of the kernel is answered any more."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(DEAF)
    path = {"PYTHONPATH": str(hook), "DEAF": str(tmp_path / "deaf")}
    environment = {**service.server.environment, **path}
    with Supervisor(service.command(), tmp_path, WATCHDOG_S, environment) as supervisor:
        after = supervisor.wait_heard("WATCHDOG=1")
        supervisor.wait_heard("WATCHDOG=1", after=after)
        (tmp_path / "deaf").touch()
        after = supervisor.wait_heard("(killed by the watchdog)", after=after)
        (tmp_path / "deaf").unlink()
        supervisor.wait_heard("READY=1", after=after)
        assert supervisor.stop(END_S) == 0


DEAF = """
import os, trio
import bucketfs.fuse.operations as operations

served = operations.Operations.statfs

async def statfs(self, ctx):
    while os.path.exists(os.environ["DEAF"]):
        await trio.sleep(0.1)
    return await served(self, ctx)

operations.Operations.statfs = statfs
"""


def test_the_mount_works_with_what_the_unit_leaves_it(service: Service) -> None:
    """As root, without the capabilities that the unit takes away, and no new privileges."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can give capabilities up (by setpriv)")
    assert f"CapabilityBoundingSet={CAPABILITIES}\n" in template()
    assert "NoNewPrivileges=yes\n" in template()
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in CAPABILITIES.split())
    prefix = ("setpriv", "--no-new-privs", f"--bounding-set=-all,{kept}", "--inh-caps=-all")
    with service.running(prefix=prefix) as supervisor:
        status = Path(f"/proc/{supervisor.pid}/status").read_text()
        (bounding,) = re.findall(r"^CapBnd:\s*(\w+)$", status, re.MULTILINE)
        assert int(bounding, 16).bit_count() == len(CAPABILITIES.split())
        (service.place / "d").mkdir()
        (service.place / "d" / "f").write_bytes(b"x" * MIB)
        os.chmod(service.place / "d" / "f", 0o640)
        os.chown(service.place / "d" / "f", 1, 1)
        assert bucketfs("sync", service.place).returncode == 0
        supervisor.wait_heard("WATCHDOG=1")
        assert supervisor.stop(END_S) == 0
        assert not is_mounted(service.place)
    assert service.data("d/f") == b"x" * MIB


@dataclass(frozen=True)
class User:
    """A user of this machine, with a home that others can enter."""

    name: str
    uid: int
    gid: int
    home: Path
    python: str = sys.executable

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run something as that user."""
        return subprocess.run(
            list(map(str, command)),
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": os.environ["PATH"],
                "USER": self.name,
                "PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()]),
            },
            capture_output=True,
            text=True,
            timeout=END_S,
            check=False,
        )

    def bucketfs(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-P", "-m", "bucketfs", *arguments)


def python_for(user: User) -> str:
    """Return a Python of this version that a user may run, with the packages of this one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        with contextlib.suppress(OSError):
            if user.run(python, "-P", "-c", "import bucketfs.mount").returncode == 0:
                return python
    pytest.skip("other users can run neither this Python nor one of the system")


def processes_of(uid: int) -> list[int]:
    """Return the processes of a user that was made for one test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == uid:
                found.append(int(folder.name))
    return found


@pytest.fixture
def users() -> Iterator[tuple[User, User]]:
    """Two users without rights, made for one test."""
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("only root can make users (by useradd)")
    if os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        pytest.skip("/dev/fuse is not for users here")
    made: list[User] = []
    try:
        for letter in "ab":
            name = f"bfs-{letter}-{os.getpid()}"
            home = Path("/tmp") / name
            command = ["useradd", "--create-home", "--home-dir", str(home), "--no-log-init", name]
            subprocess.run(command, check=True, capture_output=True)
            entry = pwd.getpwnam(name)
            home.chmod(0o755)
            made.append(User(name, entry.pw_uid, entry.pw_gid, home))
        python = python_for(made[0])
        yield replace(made[0], python=python), replace(made[1], python=python)
    finally:
        for user in made:
            while is_mounted(user.home / "mnt"):
                subprocess.run(["fusermount3", "-uz", user.home / "mnt"], check=False)
            for pid in processes_of(user.uid):
                os.kill(pid, signal.SIGKILL)
            subprocess.run(["userdel", "--remove", user.name], check=False, capture_output=True)
            shutil.rmtree(f"/tmp/bucketfs-{user.uid}", ignore_errors=True)


def test_a_user_without_rights_mounts_and_others_see_nothing(users: tuple[User, User]) -> None:
    user, other = users
    place, bucket = user.home / "mnt", user.home / "bucket"
    for folder in (place, bucket):
        assert user.run("mkdir", folder).returncode == 0
    url, options = f"file://{bucket}", f"log_file={user.home}/log,writeback"

    refused = user.bucketfs("mount", url, place, "-o", f"{options},allow_other")
    if "\nuser_allow_other" not in Path("/etc/fuse.conf").read_text():
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "allow_other" in line
        assert "user_allow_other" in line
        assert "/etc/fuse.conf" in line
        assert not is_mounted(place)

    done = user.bucketfs("mount", url, place, "-o", options)
    assert (done.returncode, done.stderr) == (0, "")
    assert user.run("sh", "-c", f"echo kept > {place}/f && cat {place}/f").stdout == "kept\n"
    assert other.run("ls", place).returncode, "the kernel keeps others out"
    assert error_of(os.listdir, place) == "EACCES", "even root"
    sockets = Path(f"/tmp/bucketfs-{user.uid}")
    caches = user.home / ".cache" / "bucketfs"
    (cache,) = caches.iterdir()
    assert (cache.stat().st_mode & 0o777, sockets.stat().st_mode & 0o777) == (0o700, 0o700)
    for folder in (sockets, cache):
        assert os.listdir(folder)
        assert other.run("ls", folder).returncode
    (socket_file,) = sockets.glob("*.sock")
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    assert "PermissionError" in other.run(other.python, "-c", connect, socket_file).stderr
    assert other.bucketfs("umount", place).returncode == 1
    assert is_mounted(place)

    assert user.bucketfs("umount", place).returncode == 0
    assert (bucket / "f").read_text() == "kept\n"

    assert user.bucketfs("mount", url, place, "-o", options).returncode == 0
    assert user.run("sh", "-c", f"echo more > {place}/g").returncode == 0
    done = bucketfs("umount", place)
    assert (done.returncode, done.stderr) == (0, ""), "root finds the process of another user"
    assert (bucket / "g").read_text() == "more\n"

    assert user.bucketfs("mount", url, place, "-o", options).returncode == 0
    assert user.run("fusermount3", "-u", place).returncode == 0
    wait_until(lambda: not list(sockets.glob("*.sock")), "the end of the process", END_S)
