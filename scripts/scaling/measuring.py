"""A mount of the computed bucket, and what work on it costs: time, requests, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.scaling.keyspace import KeySpace
from scripts.scaling.server import COUNTS
from scripts.scaling.works import Done, Work

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
START_S = 60.0
END_S = 60.0
QUIET_S = 0.3
FORGETTING_S = 3.0


@dataclass(frozen=True)
class Server:
    """A running server of `count` keys of each shape."""

    endpoint: str
    count: int

    def counts(self) -> Mapping[str, int]:
        """Return how many requests of each kind came so far."""
        with urllib.request.urlopen(self.endpoint + COUNTS) as answer:
            found: Mapping[str, int] = json.load(answer)
        return found


@contextmanager
def served(count: int, delay_ms: float = 0) -> Iterator[Server]:
    """Run a server for the time of the block, in a process of its own."""
    command = [sys.executable, "-m", "scripts.scaling.server", "--keys", str(count)]
    process = subprocess.Popen(
        [*command, "--delay-ms", str(delay_ms)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Server(f"http://127.0.0.1:{port}", count)
    finally:
        process.kill()
        process.wait(END_S)


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost. CPU and memory (at its peak, and held after it) are the mount's.

    `left_mib` is what it held when the kernel had forgotten all names; None: we may not make it.
    """

    seconds: float
    cpu_s: float
    done: Done
    requests: Mapping[str, int]
    peak_mib: float
    held_mib: float
    left_mib: float | None = None

    @property
    def asked(self) -> int:
        """How many requests in all."""
        return sum(self.requests.values())

    @property
    def pace(self) -> float:
        """Entries a second."""
        return self.done.entries / self.seconds


@dataclass(frozen=True)
class Mount:
    """A mount of the server's bucket."""

    path: Path
    pid: int

    def memory_mib(self, field_name: str = "VmRSS") -> float:
        """Return the resident memory of the mount's process (`VmHWM`: its peak)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field_name)) / 1024

    def cpu_s(self) -> float:
        """Return the CPU time that its process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def mounted(server: Server, *options: str) -> Iterator[Mount]:
    """Mount the server's bucket for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bucketfs-scale.") as name:
        given = (f"endpoint={server.endpoint}", "region=us-east-1", "addressing=path", *options)
        with mounted_at(Path(name), "s3://b", *given) as mount:
            yield mount


@contextmanager
def mounted_at(folder: Path, url: str, *options: str) -> Iterator[Mount]:
    """Mount `url` below `folder` for the time of the block."""
    path = folder / "mnt"
    path.mkdir()
    given = ",".join([*options, f"cache_dir={folder / 'cache'}"])
    command = [sys.executable, "-m", "bucketfs", "mount", url, str(path), "--foreground"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, "-o", given],
            env={**os.environ, **KEYS},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait_until_mounted(path, process, folder / "log")
        yield Mount(path, process.pid)
    finally:
        subprocess.run(["fusermount3", "-u", path], capture_output=True, check=False)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            subprocess.run(["fusermount3", "-uz", path], capture_output=True, check=False)
            process.kill()
            process.wait(END_S)


def _wait_until_mounted(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not os.path.ismount(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"not mounted: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.05)


def measure(
    server: Server, mount: Mount, keys: KeySpace, work: Work, *, forgets: bool = False
) -> Cost:
    """Return what `work` costs on a mount; `forgets`: and what is left once the kernel forgot."""
    before, cpu_s = dict(server.counts()), mount.cpu_s()
    began = time.perf_counter()
    done = work(mount.path, keys)
    seconds = time.perf_counter() - began
    cpu_s = mount.cpu_s() - cpu_s
    _settle(server)
    asked = {kind: count - before.get(kind, 0) for kind, count in server.counts().items()}
    return Cost(
        seconds,
        cpu_s,
        done,
        {kind: count for kind, count in asked.items() if count},
        mount.memory_mib("VmHWM"),
        mount.memory_mib(),
        _forgotten(mount) if forgets else None,
    )


def _forgotten(mount: Mount) -> float | None:
    """Have the kernel forget every name; return what the mount holds then."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("2")
    except OSError:
        return None
    time.sleep(FORGETTING_S)
    return mount.memory_mib()


def _settle(server: Server) -> None:
    """Wait until nothing is asked any more that the work has begun."""
    seen: Mapping[str, int] = {}
    while (now := server.counts()) != seen:
        seen = now
        time.sleep(QUIET_S)
