"""A mount of the computed bucket, and what work on it costs: time, requests, memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.scaling.keyspace import KeySpace
from scripts.scaling.server import COUNTS

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
START_S = 60.0
END_S = 60.0
STATS = 1000
QUIET_S = 0.3


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


@dataclass
class Cost:
    """What a piece of work cost. CPU and memory (at its peak, and after the work) are the mount's."""

    seconds: float
    cpu_s: float
    first_s: float | None
    requests: Mapping[str, int]
    peak_mib: float
    held_mib: float
    left_mib: float | None = None
    entries: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How many requests in all."""
        return sum(self.requests.values())


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
    """Mount the bucket for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bucketfs-scale.") as name:
        folder = Path(name)
        path = folder / "mnt"
        path.mkdir()
        given = f"endpoint={server.endpoint},region=us-east-1,addressing=path"
        given = ",".join([given, f"cache_dir={folder / 'cache'}", *options])
        command = [sys.executable, "-m", "bucketfs", "mount", "s3://b", str(path), "--foreground"]
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


def count_names(path: Path) -> tuple[int, float]:
    """Do what `ls -f PATH | wc -l` does; return the names, and when the first one came."""
    began = time.perf_counter()
    found, first_s = 0, 0.0
    with os.scandir(path) as entries:
        for _ in entries:
            if not found:
                first_s = time.perf_counter() - began
            found += 1
    return found, first_s


def find(path: Path) -> tuple[int, None]:
    """Do `find PATH | wc -l`."""
    done = subprocess.run(f"find {path} | wc -l", shell=True, check=True, capture_output=True)
    return int(done.stdout), None


def disk_usage(path: Path) -> tuple[int, None]:
    """Do `du -s PATH`; return the KiB."""
    done = subprocess.run(["du", "-s", path], check=True, capture_output=True)
    return int(done.stdout.split()[0]), None


def list_long(path: Path) -> tuple[int, None]:
    """Do `ls -l PATH | wc -l`."""
    done = subprocess.run(f"ls -lU {path} | wc -l", shell=True, check=True, capture_output=True)
    return int(done.stdout) - 1, None


def stat_random(top: Path, keys: KeySpace) -> tuple[int, None]:
    """Stat 1000 files of either shape, taken at random."""
    numbers = random.Random(7).sample(range(len(keys)), STATS)
    for number in numbers:
        os.stat(top / keys[number])
    return STATS, None


def measure(server: Server, mount: Mount, work: Callable[[], tuple[int, float | None]]) -> Cost:
    """Return what `work` costs on a mount."""
    before, cpu_s = dict(server.counts()), mount.cpu_s()
    began = time.perf_counter()
    entries, first_s = work()
    seconds = time.perf_counter() - began
    _settle(server)
    after = server.counts()
    asked = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    asked = {kind: count for kind, count in asked.items() if count}
    peak, held = mount.memory_mib("VmHWM"), mount.memory_mib()
    cpu_s = mount.cpu_s() - cpu_s
    return Cost(seconds, cpu_s, first_s, asked, peak, held, entries=entries)


def _settle(server: Server) -> None:
    """Wait until nothing is asked any more that the work has begun."""
    seen: Mapping[str, int] = {}
    while (now := server.counts()) != seen:
        seen = now
        time.sleep(QUIET_S)
