"""`bucketfs stats` tells what the server saw, and whose requests they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bucketfs.storage.opening import OPENERS
from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.counting import Counted, counted, settled
from tests.mounted.test_command_line import bucketfs
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20
OPERATIONS_BY_METHOD = {
    "HEAD": {"stat"},
    "GET": {"read_range", "list_page", "list_parts", "list_uploads", "check"},
    "PUT": {"write", "add_part", "copy", "copy_part"},
    "POST": {"begin_upload", "commit", "delete_many", "append"},
    "DELETE": {"delete", "abort"},
}
"""What S3, COS and BOS ask by which method."""


def stats(place: Path) -> dict[str, Any]:
    done = bucketfs("stats", "--json", place)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, timeout=120)


def programs(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["programs"]}


def summed(rows: Any, name: str) -> int:
    return sum(row[name] for row in rows)


def day_of_work(top: Path, source: Path) -> None:
    """Let programs do what people do."""
    run("cp", source / "large", source / "small", top)
    run("cat", top / "small", top / "large")
    run("mkdir", top / "d")
    run("mv", top / "small", top / "d" / "moved")
    run("ls", "-l", top, top / "d")
    run("chmod", "600", top / "d" / "moved")
    run("rm", "-r", top / "d")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(MIB) * 17)
    (folder / "small").write_bytes(b"small")
    return folder


@pytest.mark.mounted
@pytest.mark.parametrize("cloud", OPENERS)
def test_counts_are_what_the_server_saw(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path, source: Path
) -> None:
    with counted(cloud, request) as bucket:
        before = len(bucket.asked())
        with mounted(
            bucket.url, tmp_path, bucket.options, "ttl=1", environment=bucket.environment
        ) as mount:
            day_of_work(mount.path, source)
            settled(lambda: len(bucket.asked()))
            report = stats(mount.path)
            asked = bucket.asked()[before:]
        check_programs_that_read(bucket, tmp_path)
    found, rows = report["requests"], report["programs"]
    assert summed(found.values(), "requests") == len(asked)
    assert summed(rows, "requests") == len(asked)
    assert summed(found.values(), "failures") == summed(found.values(), "in_flight") == 0
    if cloud in ("s3", "cos", "bos"):
        methods = Counter(method for method, _ in asked)
        for method, operations in OPERATIONS_BY_METHOD.items():
            got = sum(found[name]["requests"] for name in operations if name in found)
            assert got == methods[method], (method, found)
    by_name = programs(report)
    assert {"cp", "mkdir", "mv", "chmod", "rm", "mount"} <= by_name.keys()
    large = 17 * MIB
    assert by_name["cp"]["sent_bytes"] >= large
    assert by_name["mount"]["kind"] == "mount"
    assert all(row["kind"] in ("program", "mount") for row in rows)
    assert (report["bill"] is None) == (cloud == "libcloud")


def check_programs_that_read(bucket: Counted, folder: Path) -> None:
    """Count `cat` and `ls` by a mount that knows nothing yet, one after the other."""
    before = len(bucket.asked())
    place = (bucket.url, folder, bucket.options)
    with mounted(*place, environment=bucket.environment, name="cold") as mount:
        settled(lambda: len(bucket.asked()))
        counts = [len(bucket.asked()) - before]
        for program, path in (("cat", mount.path / "large"), ("ls", mount.path)):
            run(program, path)
            settled(lambda: len(bucket.asked()))
            counts.append(len(bucket.asked()) - before)
        rows = programs(stats(mount.path))
    wanted = {"mount": counts[0], "cat": counts[1] - counts[0], "ls": counts[2] - counts[1]}
    assert {name: row["requests"] for name, row in rows.items()} == wanted
    assert rows["cat"]["received_bytes"] >= 17 * MIB


@pytest.fixture
def proxy(moto: RunningS3) -> Iterator[FaultyServer]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


def options(proxy: FaultyServer) -> str:
    return f"endpoint={proxy.url},region=us-east-1,addressing=path"


@pytest.mark.mounted
def test_bytes_failures_and_repetitions_are_those_of_the_wire(
    moto: RunningS3, proxy: FaultyServer, tmp_path: Path, source: Path
) -> None:
    url = f"s3://{moto.make_bucket()}"
    place = (url, tmp_path, options(proxy))
    with mounted(*place, environment=moto.environment) as mount:
        run("cp", source / "large", mount.path)
        settled(lambda: len(proxy.seen))
        written = stats(mount.path)["requests"].get("write", {"requests": 0})["requests"]
        proxy.fail_next(2, "503", "PUT")
        run("cp", source / "small", mount.path)
        settled(lambda: len(proxy.seen))
        found = stats(mount.path)["requests"]
        assert summed(found.values(), "sent_bytes") == proxy.received_bytes
        assert (found["write"]["failures"], found["write"]["retries"]) == (2, 2)
        assert found["write"]["requests"] >= written + 3
        assert found["add_part"]["sent_bytes"] == 17 * MIB
        assert found["add_part"]["latency_s"]["max"] > 0
    proxy.answered_bytes = 0
    with mounted(*place, environment=moto.environment, name="cold") as mount:
        run("cat", mount.path / "large")
        settled(lambda: len(proxy.seen))
        report = stats(mount.path)
        assert summed(report["requests"].values(), "received_bytes") == proxy.answered_bytes
        cat = programs(report)["cat"]
        assert cat["operations"]["read_range"] == report["requests"]["read_range"]["requests"]
        assert cat["received_bytes"] >= 17 * MIB
        read = report["kernel"]["read"]
        assert read["bytes"] == 17 * MIB
        assert 0 < read["hit_bytes"] < read["bytes"], "most of it was read ahead"


@pytest.mark.mounted
def test_what_is_known_costs_no_request_and_is_a_hit(bucket_folder: Path, tmp_path: Path) -> None:
    (bucket_folder / "f").write_bytes(b"data")
    with mounted(f"file://{bucket_folder}", tmp_path, "ttl=300") as mount:
        run("ls", "-l", mount.path)
        run("cat", mount.path / "f")
        before = stats(mount.path)
        for _ in range(3):
            run("cat", mount.path / "f")
        os.stat(mount.path / "f")
        after = stats(mount.path)
    assert after["requests"] == before["requests"]
    assert after["programs"] == before["programs"]
    opens = [report["kernel"]["open"] for report in (before, after)]
    assert opens[1]["requests"] - opens[0]["requests"] == 3
    assert opens[1]["hits"] - opens[0]["hits"] == 3


@pytest.mark.mounted
def test_saves_in_the_background_are_for_whoever_wrote(
    moto: RunningS3, proxy: FaultyServer, tmp_path: Path, source: Path
) -> None:
    url = f"s3://{moto.make_bucket()}"
    with mounted(url, tmp_path, options(proxy), "writeback", environment=moto.environment) as mount:
        run("cp", source / "small", mount.path)
        assert bucketfs("sync", mount.path).returncode == 0
        rows = programs(stats(mount.path))
    wrote = {name for name, row in rows.items() if "write" in row["operations"]}
    # The save runs a tenth of a second after cp has gone, unless sync is faster.
    assert wrote in ({"cp"}, {"sync"})
    assert rows["cp"]["kind"] == "program"


@pytest.mark.mounted
def test_a_save_after_its_program_has_gone_is_still_its_own(
    bucket_folder: Path, tmp_path: Path, source: Path
) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, "writeback") as mount:
        run("cp", source / "small", mount.path)
        deadline = time.monotonic() + 20
        while not (bucket_folder / "small").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "write" in programs(stats(mount.path))["cp"]["operations"]


@pytest.mark.mounted
def test_lines_tables_and_rates(bucket_folder: Path, tmp_path: Path) -> None:
    (bucket_folder / "f").write_bytes(b"data")
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[requests_per_10000]\nlist = 100\n')
    with mounted(f"file://{bucket_folder}", tmp_path, f"prices={prices}") as mount:
        run("ls", mount.path)
        lines = [line.split("\t") for line in bucketfs("stats", mount.path).stdout.splitlines()]
        table = subprocess.run(
            ["script", "-qec", f"{sys.executable} -m bucketfs stats {mount.path}", "/dev/null"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "COLUMNS": "80", "TERM": "dumb"},
        )
        watching = subprocess.Popen(
            [sys.executable, "-m", "bucketfs", "stats", "--json", "-i", "0.2", str(mount.path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        reports = [json.loads(watching.stdout.readline()) for _ in range(2)]
        mount.unmount()
        assert watching.wait(30) == 0, "the mount has ended, and so has this"
    kinds = {line[0] for line in lines}
    assert kinds == {"uptime_s", "store", "program", "kernel", "budget", "bill"}
    (listed,) = [line for line in lines if line[:2] == ["store", "list_page"]]
    assert len(listed) == 11
    assert int(listed[2]) >= 1
    (bill,) = [line for line in lines if line[:2] == ["bill", "so_far"]]
    assert bill[2] == "EUR"
    assert float(bill[5]) == pytest.approx(int(listed[2]) * 100 / 10_000)
    if shutil.which("script"):
        assert table.returncode == 0, table.stderr
        for word in ("asked of the store", "list_page", "for whom", "ls ", "EUR", "not included"):
            assert word in table.stdout
    assert reports[1]["uptime_s"] > reports[0]["uptime_s"]
    assert reports[1]["kernel"]["readdir"] == reports[0]["kernel"]["readdir"]


@pytest.mark.mounted
def test_who_has_counted_nothing(tmp_path: Path, bucket_folder: Path) -> None:
    done = bucketfs("stats", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"nothing is mounted at {tmp_path}" in done.stderr
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        mount.process.kill()
        mount.process.wait()
        done = bucketfs("stats", mount.path)
    assert done.returncode == 1
    assert "is gone, and what it had counted with it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.mounted
def test_wrong_prices_are_said_before_anything_is_mounted(
    bucket_folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("currency = ")
    for file, said in ((wrong, "is no TOML"), (tmp_path / "none", "cannot be read: No such file")):
        given = f"prices={file},cache_dir={tmp_path / 'cache'}"
        done = bucketfs("mount", f"file://{bucket_folder}", place, "-o", given)
        assert done.returncode == 1
        assert f"prices={file}" in done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
