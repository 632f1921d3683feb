"""Programs that read whatever they find cause no requests, and are in nobody's way."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.counting import settled
from tests.mounted.test_stats import options, stats
from tests.mounts.mounting import Mount, mounted
from tests.servers.s3_server import RunningS3

pytestmark = pytest.mark.mounted


@pytest.fixture
def crawler(tmp_path: Path) -> Path:
    """A folder with ls and cat under the names of crawlers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program, name in (("ls", "updatedb.plocate"), ("cat", "clamscan"), ("cat", "mine")):
        shutil.copy(str(shutil.which(program)), folder / name)
    return folder


@pytest.fixture
def proxy(moto: RunningS3) -> Iterator[FaultyServer]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


@pytest.fixture
def url(moto: RunningS3) -> str:
    bucket, client = moto.make_bucket(), moto.client()
    for name in ("a", "b", "d/c"):
        client.put_object(Bucket=bucket, Key=name, Body=b"data of " + name.encode())
    return f"s3://{bucket}"


def run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.returncode, done.stdout + done.stderr


def requests_of(proxy: FaultyServer, *command: str | Path) -> tuple[int, str]:
    """Return how many requests a command causes, and what it says."""
    settled(lambda: len(proxy.seen))
    before = len(proxy.seen)
    _, said = run(*command)
    settled(lambda: len(proxy.seen))
    return len(proxy.seen) - before, said


def told(mount: Mount) -> list[str]:
    return [line for line in mount.log_text().splitlines() if "is a crawler" in line]


DENIED = os.strerror(errno.EACCES)


def test_crawlers_are_refused_without_a_request(
    moto: RunningS3, proxy: FaultyServer, url: str, tmp_path: Path, crawler: Path
) -> None:
    with mounted(url, tmp_path, options(proxy), environment=moto.environment) as mount:
        for command in (
            (crawler / "updatedb.plocate", mount.path),
            (crawler / "updatedb.plocate", mount.path / "d"),
            (crawler / "updatedb.plocate", "-d", mount.path / "b"),
            (crawler / "clamscan", mount.path / "a"),
        ):
            count, said = requests_of(proxy, *command)
            assert (count, DENIED in said) == (0, True), (command, said)
        assert run("ls", mount.path) == (0, "a\nb\nd\n"), "nobody else is refused anything"
        assert run("cat", mount.path / "a") == (0, "data of a")
        # What is known now is refused as well.
        assert DENIED in requests_of(proxy, crawler / "updatedb.plocate", mount.path)[1]
        assert DENIED in requests_of(proxy, crawler / "clamscan", mount.path / "a")[1]
        refused = stats(mount.path)["crawlers"]
        assert len(told(mount)) == 2, "one line for each program"
    assert refused["mode"] == "refuse"
    assert refused["refused"].keys() == {"updatedb.plocat", "clamscan"}
    assert refused["refused"]["updatedb.plocat"] >= 4


def test_cached_shows_what_is_known_and_asks_for_nothing(
    moto: RunningS3, proxy: FaultyServer, url: str, tmp_path: Path, crawler: Path
) -> None:
    given = (options(proxy), "ttl=300,crawlers=cached")
    with mounted(url, tmp_path, *given, environment=moto.environment) as mount:
        count, said = requests_of(proxy, crawler / "updatedb.plocate", mount.path)
        assert (count, DENIED in said) == (0, True)
        run("ls", "-l", mount.path)
        count, said = requests_of(proxy, crawler / "updatedb.plocate", mount.path)
        assert (count, said) == (0, "a\nb\nd\n")
        count, said = requests_of(proxy, crawler / "updatedb.plocate", mount.path / "d")
        assert (count, DENIED in said) == (0, True)
        assert len(told(mount)) == 1
        # A small file whose bytes came with its attributes is read, another one is not.
        assert run("cat", mount.path / "a") == (0, "data of a")
        assert requests_of(proxy, crawler / "clamscan", mount.path / "a") == (0, "data of a")
        count, said = requests_of(proxy, crawler / "clamscan", mount.path / "d" / "c")
        assert (count, DENIED in said) == (0, True)


def test_allowed_ones_are_programs_like_others(
    moto: RunningS3, proxy: FaultyServer, url: str, tmp_path: Path, crawler: Path
) -> None:
    given = (options(proxy), "crawlers=allow")
    with mounted(url, tmp_path, *given, environment=moto.environment) as mount:
        assert run(crawler / "clamscan", mount.path / "a") == (0, "data of a")
        rows = {row["name"]: row["requests"] for row in stats(mount.path)["programs"]}
        assert told(mount) == []
    assert rows["clamscan"] > 0


def test_more_of_them_can_be_named(
    moto: RunningS3, proxy: FaultyServer, url: str, tmp_path: Path, crawler: Path
) -> None:
    given = (options(proxy), "crawler_names=other:mine")
    with mounted(url, tmp_path, *given, environment=moto.environment) as mount:
        count, said = requests_of(proxy, crawler / "mine", mount.path / "a")
        assert (count, DENIED in said) == (0, True)
        target = mount.path / "new"
        script = f"exec {crawler / 'mine'} /dev/null > {target}"
        # The shell opens it before it becomes a crawler: what was let in is kept.
        assert run("bash", "-c", script)[0] == 0
        assert run("cat", target) == (0, "")


def test_the_line_for_updatedb_conf_names_the_type_of_the_mount(
    bucket_folder: Path, tmp_path: Path
) -> None:
    document = Path(__file__).parents[2] / "docs" / "operations.md"
    text = document.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("sudo sed -i")]
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        found = Path("/proc/self/mountinfo").read_text().splitlines()
        (entry,) = [entry for entry in found if f" {mount.path} " in entry]
    kind = entry.partition(" - ")[2].split()[0]
    assert f"{kind} " in line
    config = tmp_path / "updatedb.conf"
    config.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs"\nPRUNEPATHS="/tmp"\n')
    command = line.replace("sudo ", "").replace("/etc/updatedb.conf", str(config))
    for _ in range(2):  # twice is no harm
        subprocess.run(["sh", "-c", command], check=True)
        wanted = f'PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="{kind} NFS nfs"\nPRUNEPATHS="/tmp"\n'
        assert config.read_text() == wanted
