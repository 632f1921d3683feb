"""The workload of the crash campaigns while a share of all requests fails (tests/faults).

A round: mount through the faulty proxy, compare what the mount shows with what the last round left,
let the workers work for a while, let the weather clear up, unmount, compare the bucket. A call that
fails must fail with an errno of the table, and ends its worker's round: it may have happened or
not. What was written and not acknowledged when a worker ended is saved by the unmount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.crash.campaign import Campaign, Score
from tests.crash.looking import look_at_bucket, look_at_mount
from tests.crash.oracle import Found
from tests.faults.proxy import FaultyServer
from tests.faults.weather import LIES, PASSING, Weather
from tests.mounts.mounting import Mount

TIMEOUT_S = 3
"""Of a request: shorter than the proxy's late answers."""
LIED = set(LIES) - set(PASSING)
"""With one of these a file may look as if others had replaced it: it is kept, and not saved."""
HONEST = {"EIO", "EAGAIN", "ETIMEDOUT"}
"""What a call may fail with when a server fails for too long."""


@dataclass
class Storm(Campaign):
    """One bucket behind a faulty proxy. The mount dies in no round."""

    proxy: FaultyServer = field(kw_only=True)
    weather: Weather = field(kw_only=True)
    round_s: float = 10.0

    def __post_init__(self) -> None:
        """Begin with empty worlds."""
        super().__post_init__()
        self.more_options = (f"timeout={TIMEOUT_S}", *self.more_options)

    def run(self, rounds: int) -> Score:
        """Work so often; return what was counted."""
        for _ in range(rounds):
            with self._mounted() as mount:
                self._check_mount(mount)
                if self.score.problems:
                    break
                self.proxy.rule = self.weather
                self._work(mount)
                self.proxy.heal()
                status = mount.unmount()
            if status and not self.weather.met.keys() & LIED:
                self.score.problems.append(f"the unmount ended with {status}")
            self._compare(look_at_bucket(self.bucket.client), "the bucket after the unmount")
            if self.score.problems:
                break
        return self.score

    def _look(self, mount: Mount) -> Found:
        """Read all that the mount shows.

        A file that looks as if others had replaced it stays so: what was acknowledged of it must be
        in the bucket. Raises: Unreadable.
        """
        has_lied = bool(self.weather.met.keys() & LIED)
        return look_at_mount(mount.path, self.bucket.client.get if has_lied else None)

    def _work(self, mount: Mount) -> None:
        processes = self._start_workers(self.round_s)
        try:
            self._end(processes)
        except subprocess.TimeoutExpired:
            self.score.problems.append("a call hangs")
        finally:
            for process in processes:
                process.kill()
                process.wait()
        self._read_logs()
        for told in self._told:
            for slot in told.world.slots.values():
                slot.file.offer()

    def _allowed_errors(self) -> Collection[str]:
        return HONEST | ({"ESTALE"} if self.weather.met.keys() & LIED else set())
