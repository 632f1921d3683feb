"""Kill a mount again and again while processes work on it; compare what is left each time.

A round: mount (always with the same cache folder), compare with what the last round must have
left, let the workers work, SIGKILL at a random moment (of the clock, or the very moment at which a
call that promises something returned), let another client of the bucket look, then the next round.
"""

from __future__ import annotations

import pickle
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.logbook import DEATHS, Told, read
from tests.crash.looking import (
    Unreadable,
    look_at_bucket,
    look_at_mount,
    part_of,
    shared_log,
    strangers,
)
from tests.crash.oracle import Found, Rules, adopted, judge, numbers_in_log, problems_of_log
from tests.crash.stores import Bucket
from tests.crash.worker import SHARED
from tests.crash.world import World, alternatives
from tests.mounts.mounting import Mount, mounted

ERRNO = re.compile(r"^.*\[E[A-Z]+\]$", re.MULTILINE)
"""A line of the mount's log that tells of a call that failed."""
ROOT = Path(__file__).parents[2]
DEFAULT, WRITEBACK = "default", "writeback"
RULES = {DEFAULT: Rules(), WRITEBACK: Rules(may_mix=True)}
AFTER_KILL = "the bucket after the kill"
OPTIONS = {DEFAULT: (), WRITEBACK: ("writeback",)}
WORKER_END_S = 120.0
"""A call that has not returned so long after the mount's end, or the server's recovery, hangs."""
FOREVER_S = 3600.0
DRAIN_EVERY = 6
"""Rounds of writeback between two clean ends, after which all must be in the bucket."""


@dataclass
class Score:
    """What a campaign has counted. `problems` tells everything that was lost or not allowed."""

    store: str
    mode: str
    seed: int
    kills: int = 0
    acknowledged: int = 0
    remains: int = 0
    unfinished: int = 0
    """Most uploads that were left in the bucket at once."""
    longest_s: float = 0.0
    problems: list[str] = field(default_factory=list)


@dataclass
class Campaign:
    """One bucket, one mode. `folder` holds the mount point, the cache and the logs."""

    bucket: Bucket
    folder: Path
    mode: str = DEFAULT
    seed: int = 1
    workers: int = 6
    longest_round_s: float = 3.0
    more_options: Sequence[str] = ()
    rounds: int = field(init=False, default=0)
    score: Score = field(init=False)
    _drained_at: int = field(init=False, default=0)
    _chance: random.Random = field(init=False)
    _worlds: list[World] = field(init=False)
    _told: list[Told] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Begin with empty worlds."""
        self.score = Score(self.bucket.store, self.mode, self.seed)
        self._chance = random.Random(self.seed)
        self._worlds = [World(directories={f"w{n}"}) for n in range(self.workers)]

    def run(self, kills: int) -> Score:
        """Kill `kills` times, drain, and return what was counted; ends where something is lost."""
        while self.score.kills < kills and not self.score.problems:
            with self._mounted() as mount:
                self._check_mount(mount)
                if self.score.problems:
                    break
                if self.mode == WRITEBACK and self._is_drain_due():
                    self._drain(mount)
                    continue
                self._work(mount)
            self.score.kills += 1
            if self.mode == DEFAULT:
                self._compare(look_at_bucket(self.bucket.client), AFTER_KILL)
        if not self.score.problems:
            with self._mounted() as mount:
                self._check_mount(mount)
                self._drain(mount)
        return self.score

    def _is_drain_due(self) -> bool:
        """Return whether this mount is to end well, its work being done; once in a while."""
        is_due = self.rounds % DRAIN_EVERY == 0 and self.rounds != self._drained_at
        self._drained_at = self.rounds
        return is_due

    def _mounted(self) -> AbstractContextManager[Mount]:
        options = (*self.bucket.options, "part_size=5M", *OPTIONS[self.mode], *self.more_options)
        environment = self.bucket.environment
        self.bucket.forget()
        return mounted(self.bucket.url, self.folder, *options, environment=environment)

    def _check_mount(self, mount: Mount) -> None:
        """Compare what the mount shows with what the last round left, and go on from that."""
        if not self._told:
            for name in (SHARED, *(f"w{n}" for n in range(self.workers))):
                (mount.path / name).mkdir()
            return
        self.score.unfinished = max(self.score.unfinished, len(self.bucket.client.unfinished("")))
        try:
            found = self._look(mount)
        except Unreadable as exc:
            self.score.problems.append(f"kill {self.score.kills}, the next mount: {exc}")
            return
        (self.folder / "shared-log.found").write_bytes(shared_log(found))
        self._compare(found, "the next mount")
        lines = numbers_in_log(shared_log(found), self.workers)
        self._worlds = [adopted(part_of(found, n), len(lines[n])) for n in range(self.workers)]
        self._told = [Told(world, 0, world.lines) for world in self._worlds]

    def _look(self, mount: Mount) -> Found:
        """Read all that the mount shows. Raises: Unreadable."""
        return look_at_mount(mount.path)

    def _compare(self, found: Found, where: str) -> None:
        """Note what is not as it must be after the last round.

        Only before the next mount has settled it a rename may be half done.
        """
        rules = replace(RULES[self.mode], may_leave_remains=where == AFTER_KILL)
        problems = [f"{path} is nobody's" for path in sorted(strangers(found, self.workers))]
        promised = [(told.world.lines, told.begun_lines) for told in self._told]
        problems += problems_of_log(shared_log(found), promised)
        for number, told in enumerate(self._told):
            worlds = alternatives(told.world, told.under_way)
            part = part_of(found, number)
            verdict = judge(worlds, part, rules, told.under_way)
            problems += verdict.problems
            self.score.remains += verdict.has_remains
        kills = self.score.kills
        self.score.problems += [f"kill {kills}, {where}: {problem}" for problem in problems]

    def _drain(self, mount: Mount) -> None:
        """Unmount, and have another client find exactly what the mount showed."""
        status = mount.unmount()
        if status:
            self.score.problems.append(f"the unmount ended with {status}")
        self._compare(look_at_bucket(self.bucket.client), "the bucket after the unmount")

    def _work(self, mount: Mount) -> None:
        """Let the workers work, kill the mount, and read what they were told."""
        killer = self._chance.randrange(self.workers) if self._chance.random() < 0.4 else None
        kill = () if killer is None else (mount.process.pid, self._chance.randrange(1, 40))
        processes = self._start_workers(FOREVER_S, killer, kill)
        try:
            self._wait_until_begun(mount)
            delay_s = self._chance.uniform(0, self.longest_round_s)
            end_s = time.monotonic() + (delay_s if killer is None else self.longest_round_s)
            while mount.process.poll() is None and time.monotonic() < end_s:
                time.sleep(min(0.02, max(0.0, end_s - time.monotonic())))
            mount.process.kill()
            mount.process.wait()
            self._end(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        mount.kill()
        self._keep_journal()
        self._read_logs()
        told = ERRNO.findall(mount.log_text())
        self.score.problems += [f"a call failed before the kill: {line}" for line in told]

    def _wait_until_begun(self, mount: Mount) -> None:
        """Wait until every worker has a log: on a busy machine a process takes long to start."""
        logs = [self.folder / f"log-{number}" for number in range(self.workers)]
        deadline_s = time.monotonic() + WORKER_END_S
        while not all(log.exists() for log in logs) and mount.process.poll() is None:
            assert time.monotonic() < deadline_s, "workers did not begin"
            time.sleep(0.005)

    def _keep_journal(self) -> None:
        """Copy the journal as the kill left it: it tells how something came about."""
        kept = self.folder / f"journal.{self.rounds - 1:03}"
        kept.mkdir()
        for file in (self.folder / "mnt.cache").glob("journal.db*"):
            shutil.copy(file, kept)

    def _start_workers(
        self, seconds: float, killer: int | None = None, kill: tuple[int, ...] = ()
    ) -> list[subprocess.Popen[bytes]]:
        """Start all workers; `killer` is the number of the one that kills the mount."""
        processes = []
        for number, world in enumerate(self._worlds):
            (self.folder / f"world-{number}.pickle").write_bytes(pickle.dumps(world))
            with suppress(FileNotFoundError):  # the rounds before tell how something came about
                log = self.folder / f"log-{number}"
                log.rename(self.folder / f"log-{number}.{self.rounds - 1:03}")
            seed = self._chance.getrandbits(32)
            arguments = (self.folder, number, seed, seconds, *(kill if number == killer else ()))
            command = [sys.executable, "-m", "tests.crash.worker", *map(str, arguments)]
            processes.append(subprocess.Popen(command, cwd=ROOT))
        self.rounds += 1
        return processes

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Wait until all workers have met the dead mount: one left would write beneath it."""
        for number, process in enumerate(processes):
            status = process.wait(WORKER_END_S)
            if status:
                self.score.problems.append(f"worker {number} ended with {status}")

    def _read_logs(self) -> None:
        self._told = [read(self.folder / f"log-{n}", world) for n, world in enumerate(self._worlds)]
        for number, told in enumerate(self._told):
            self.score.acknowledged += told.acknowledged
            self.score.longest_s = max(self.score.longest_s, told.longest_s)
            if told.error not in (None, *self._allowed_errors()):
                self.score.problems.append(
                    f"worker {number}: {told.under_way} failed with {told.error}"
                )

    def _allowed_errors(self) -> Collection[str]:
        return DEATHS
