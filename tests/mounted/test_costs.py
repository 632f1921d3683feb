"""What everyday work costs at the server: requests and bytes, no more than the documents say.

Run with `-s` to see the rows anew. The sizes of the test run are small; `-m campaign` asks the same
of 1 GiB and 1000 files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.counting import settled
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3

KIB, MIB = 1 << 10, 1 << 20
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
HEADING = "## Costs"
CLOUDS = ("s3", "cos", "bos")
TOLERANCE = 1.02
"""Of bytes: sizes of listings and of XML differ a little between runs."""
SLACK_BYTES = 4 * KIB


@dataclass(frozen=True)
class Cost:
    """Requests, and bytes of their bodies to and from the server."""

    requests: int
    up_bytes: int
    down_bytes: int

    def exceeds(self, promised: Cost) -> bool:
        """Return whether it is more than was promised."""
        return self.requests > promised.requests or any(
            mine > theirs * TOLERANCE + SLACK_BYTES
            for mine, theirs in (
                (self.up_bytes, promised.up_bytes),
                (self.down_bytes, promised.down_bytes),
            )
        )

    def cell(self) -> str:
        """Return it as the table has it."""
        return f"{self.requests}, {self.up_bytes / KIB:.0f}, {self.down_bytes / KIB:.0f}"

    @classmethod
    def parsed(cls, cell: str) -> Cost:
        """Read a cell of the table."""
        requests, up_kib, down_kib = (int(text) for text in cell.split(","))
        return cls(requests, up_kib * KIB, down_kib * KIB)


def documented() -> dict[str, dict[str, Cost]]:
    """Return cloud -> work -> cost, from the table in docs/performance.md."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("| ")
    ]
    return {
        cloud.lower(): {row[0]: Cost.parsed(row[place]) for row in rows[1:]}
        for place, cloud in enumerate(rows[0][1:], start=1)
    }


def append_and_sync(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for _ in range(100):
        os.write(descriptor, os.urandom(64 * KIB))
        os.fsync(descriptor)
    os.close(descriptor)


def edit(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(4 * KIB))


def save_by_rename(path: Path) -> None:
    """Save as editors do: a new file beside the old one, synced, then renamed over it."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb") as file:
        file.write(os.urandom(64 * KIB))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def made_tar(folder: Path, files: int) -> Path:
    """Make a tar of small files in ten directories."""
    top = folder / "tree"
    for number in range(files):
        (top / f"d{number % 10}").mkdir(parents=True, exist_ok=True)
        (top / f"d{number % 10}" / f"f{number}").write_bytes(b"%d\n" % number * 20)
    run("tar", "-cf", folder / "tree.tar", "-C", folder, "tree")
    return folder / "tree.tar"


def work(
    top: Path, folder: Path, large_bytes: int, files: int
) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return name -> what is made before, and what is counted, in the order to be done."""
    tar, source = made_tar(folder, files), folder / "source"
    source.write_bytes(os.urandom(MIB))
    os.utime(source, ns=(10**18, 10**18))
    source.chmod(0o640)

    def nothing() -> None:
        """Needs nothing."""

    def make_large() -> None:
        with open(top / "large", "wb") as file:
            for _ in range(large_bytes // MIB):
                file.write(os.urandom(MIB))

    return {
        "append 64 KiB and fsync, 100 times": (nothing, lambda: append_and_sync(top / "log")),
        f"change 4 KiB inside {large_bytes // MIB} MiB": (
            make_large,
            lambda: edit(top / "large", large_bytes // 2 + 5000),
        ),
        "cp -p of 1 MiB": (nothing, lambda: run("cp", "-p", source, top / "copy")),
        "save 64 KiB by a temporary file and rename": (
            lambda: (top / "text").write_bytes(b"old"),
            lambda: save_by_rename(top / "text"),
        ),
        f"tar x of {files} small files": (nothing, lambda: run("tar", "-xf", tar, "-C", top)),
        f"rm -r of {files} files": (nothing, lambda: run("rm", "-r", top / "tree")),
    }


def counted(proxy: FaultyServer, operation: Callable[[], object]) -> Cost:
    """Return what an operation, and what it began, cost."""
    settled(lambda: len(proxy.seen))
    before = len(proxy.seen), proxy.received_bytes, proxy.answered_bytes
    operation()
    settled(lambda: len(proxy.seen))
    after = len(proxy.seen), proxy.received_bytes, proxy.answered_bytes
    return Cost(*(new - old for new, old in zip(after, before, strict=True)))


def measure(
    cloud: str, request: pytest.FixtureRequest, folder: Path, large_bytes: int, files: int
) -> dict[str, Cost]:
    server = request.getfixturevalue("moto" if cloud == "s3" else cloud)
    found = {}
    with faulty(server.endpoint) as proxy:
        options = [f"endpoint={proxy.url}", "ttl=300"]
        if isinstance(server, RunningS3):
            options += ["region=us-east-1", "addressing=path"]
        url = f"{cloud}://{server.make_bucket()}"
        with mounted(url, folder, *options, environment=server.environment) as mount:
            for name, (prepare, do) in work(mount.path, folder, large_bytes, files).items():
                prepare()
                found[name] = counted(proxy, do)
                print(f"{cloud} | {name} | {found[name].cell()} |")
    if not isinstance(server, RunningS3):
        server.knobs.reset()
    return found


def check(cloud: str, found: dict[str, Cost]) -> None:
    promised = documented()[cloud]
    excess = {
        name: (cost.cell(), promised[name].cell())
        for name, cost in found.items()
        if cost.exceeds(promised[name])
    }
    assert excess == {}


def test_every_row_is_measured(tmp_path: Path) -> None:
    sizes = [(64 * MIB, 200), (1 << 30, 1000)]
    names = {
        name
        for place, size in enumerate(sizes)
        for name in work(tmp_path, tmp_path / str(place), *size)
    }
    assert {cloud: set(rows) for cloud, rows in documented().items()} == dict.fromkeys(
        CLOUDS, names
    )


@pytest.mark.mounted
@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_more_than_documented(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    check(cloud, measure(cloud, request, tmp_path, 64 * MIB, 200))


@pytest.mark.campaign
@pytest.mark.parametrize("cloud", CLOUDS)
def test_large_work_costs_no_more_than_documented(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    check(cloud, measure(cloud, request, tmp_path, 1 << 30, 1000))
