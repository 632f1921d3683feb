"""Draw what `top`, `status`, `stats`, `bench` and the quickstart show, as SVG.

Figures are those of the machine that runs this, of a bucket in memory; only the mount point has
another name in the pictures than the temporary folder that it was.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bucketfs.cli.asking import asked
from bucketfs.cli.benching import bench_table
from bucketfs.cli.profiling import with_histograms
from bucketfs.cli.stats import print_tables
from bucketfs.cli.status import all_states, status_table
from bucketfs.cli.top import screen

ROOT = Path(__file__).parents[2]
URL = "memory://photos"
SHOWN_AS = "/mnt/photos"
LOAD_S = 3.0


def main() -> None:
    """Draw all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs")
    parser.add_argument("--only", default=",".join(PICTURES), help="names with commas between")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bucketfs-screens-") as work:
        for name in names:
            draw(arguments.folder / f"screen-{name}.svg", PICTURES[name], Path(work))


def draw(target: Path, show: Callable[[Console, Path], str], work: Path) -> None:
    """Write one picture."""
    console = Console(record=True, width=80, file=io.StringIO(), highlight=False)
    title = show(console, work)
    target.write_text(console.export_svg(title=title, unique_id=target.stem), "utf-8")
    sys.stderr.write(f"written: {target}\n")


@contextmanager
def mounted(work: Path) -> Iterator[Path]:
    """Mount a bucket in memory."""
    place = Path(tempfile.mkdtemp(dir=work))
    bucketfs("mount", URL, place, "-o", f"cache_dir={place}.cache,log_file={place}.log,ttl=1")
    try:
        yield place
    finally:
        bucketfs("umount", place)


def bucketfs(*arguments: str | Path) -> str:
    """Run a command of bucketfs and return what it printed."""
    command = [sys.executable, "-m", "bucketfs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@contextmanager
def used(place: Path) -> Iterator[None]:
    """Let programs use a mount as long as the block lasts."""
    ended = threading.Event()

    def work(*command: str) -> None:
        while not ended.is_set():
            subprocess.run(["sh", "-c", " ".join(command)], cwd=place, check=True)

    jobs = (
        ("rm -rf a", f"&& cp -r {ROOT / 'bucketfs' / 'cli'} a", "&& tar cf a.tar a"),
        ("head -c 20M /dev/urandom > large", "&& cat large > /dev/null"),
        ("find . -type f > /dev/null", "; sleep 0.2"),
    )
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        time.sleep(LOAD_S)
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def named(report: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return a report under the name that the pictures have."""
    found: dict[str, Any] = json.loads(json.dumps(report).replace(str(place), SHOWN_AS))
    return found


def show_top(console: Console, work: Path) -> str:
    """Show one screen of `top` under load."""
    with mounted(work) as place, used(place):
        before = asked(place, with_histograms)
        time.sleep(LOAD_S)
        after = asked(place, with_histograms)
    console.print(screen(named(before, place), named(after, place)))
    return f"bucketfs top {SHOWN_AS}"


def show_status(console: Console, work: Path) -> str:
    """Show `status` of one mount with something unsaved."""
    with mounted(work) as place, used(place):
        states = [named(state, place) for state in all_states([str(place)])]
    console.print(status_table(states))
    return "bucketfs status"


def show_stats(console: Console, work: Path) -> str:
    """Show `stats` after some load."""
    with mounted(work) as place:
        with used(place):
            time.sleep(LOAD_S)
        report = asked(place, with_histograms)
    print_tables(console, named(report, place))
    return f"bucketfs stats {SHOWN_AS}"


def show_bench(console: Console, work: Path) -> str:
    """Show `bench` of a mount."""
    with mounted(work) as place:
        document = json.loads(bucketfs("bench", "--json", place))
    console.print(bench_table(named(document, place)))
    return f"bucketfs bench {SHOWN_AS}"


def show_quickstart(console: Console, work: Path) -> str:
    """Show what the quickstart prints."""
    command = [ROOT / "scripts" / "quickstart"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    first = done.stdout.find("== ")
    for line in done.stdout[first:].splitlines():
        console.print(Text(line.replace(f"{ROOT}/.venv/bin/", "").replace(str(ROOT), ".")))
    return "scripts/quickstart"


PICTURES: Mapping[str, Callable[[Console, Path], str]] = {
    "top": show_top,
    "status": show_status,
    "stats": show_stats,
    "bench": show_bench,
    "quickstart": show_quickstart,
}

if __name__ == "__main__":
    main()
