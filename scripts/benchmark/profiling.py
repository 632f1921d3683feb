"""`python -m scripts.benchmark.profiling`: pieces of work, with py-spy at the mount's process."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from scripts.benchmark.results import Results
from scripts.benchmark.servers import SERVERS, Server, started
from scripts.benchmark.tools import Bucketfs
from scripts.benchmark.work import TITLES, Work, title

RATE = 200
SHOWN = 12
"""Places in the table."""


class Profiled(Bucketfs):
    """A mount of bucketfs that is sampled from the moment it is there until it is unmounted."""

    def __init__(self, server: Server, folder: Path, target: Path, kind: str) -> None:
        super().__init__("bucketfs", server, folder)
        self._target = target
        self._kind = kind
        self._sampler: subprocess.Popen[bytes] | None = None

    def mount(self, *, keeps_cache: bool = False) -> None:
        """Mount, and begin."""
        super().mount(keeps_cache=keeps_cache)
        assert self._process is not None
        command = ["py-spy", "record", "--pid", str(self._process.pid), "--rate", str(RATE)]
        command += ["--format", self._kind, "--output", str(self._target), "--nonblocking"]
        self._sampler = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def unmount(self) -> None:
        """End, and unmount."""
        assert self._sampler is not None
        self._sampler.send_signal(signal.SIGINT)
        self._sampler.wait(60)
        super().unmount()


def profile(name: str, server: Server, folder: Path, mib: int, target: Path, kind: str) -> float:
    """Do one piece of work with a fresh bucket and return its figure; samples go to `target`."""
    results = Results("bucketfs")
    tool = Profiled(server, folder, target, kind)
    tool.bucket = f"profile-{name}-{kind}"
    tool.prepare()
    try:
        Work(tool, folder, mib, {name}, results).run()
    finally:
        tool.abandon()
    figure, reason = results.figures[title(name)]
    if figure is None:
        raise SystemExit(f"{title(name)} failed: {reason}")
    return figure


def table(samples: str) -> str:
    """Return which functions most samples were taken in, themselves and not in what they call."""
    own: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        own[stack.rpartition(";")[2].rpartition(":")[0] + ")"] += int(count)
    total = sum(own.values())
    rows = [f"| {place} | {count / total:.0%} |" for place, count in own.most_common(SHOWN)]
    return "\n".join(["| function | samples |", "|---|---:|", *rows])


def main() -> None:
    """Profile what is asked for; print tables, and write pictures where that was wanted."""
    parser = argparse.ArgumentParser(prog="scripts/profile", description=__doc__)
    parser.add_argument("--only", default="r1,r5", help=f"of {','.join(TITLES)}")
    parser.add_argument("--mib", type=int, default=512, help="size of the big file (512)")
    parser.add_argument("--server", choices=sorted(SERVERS), default="juicefs")
    parser.add_argument("--port", type=int, default=9223)
    parser.add_argument("--pictures", type=Path, help="folder for profile-WORK.svg")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bucketfs-profile."))
    try:
        with started(arguments.server, folder, arguments.port) as server:
            for name in arguments.only.split(","):
                raw = folder / "samples"
                figure = profile(name, server, folder, arguments.mib, raw, "raw")
                print(f"\n{title(name)}: {figure:.0f}\n{table(raw.read_text())}", flush=True)
                if arguments.pictures is not None:
                    picture = arguments.pictures / f"profile-{name}.svg"
                    profile(name, server, folder, arguments.mib, picture, "flamegraph")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
