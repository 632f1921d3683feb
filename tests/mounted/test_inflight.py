"""`bucketfs inflight`: who waits, for what, and what that waits for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounted.test_command_line import bucketfs
from tests.mounted.test_status import on_a_terminal
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


def in_flight(place: Path) -> dict[str, Any]:
    done = bucketfs("inflight", "--json", place)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.mounted
def test_a_program_that_waits_is_shown_with_the_calls_that_it_waits_for(
    moto: RunningS3, tmp_path: Path
) -> None:
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="d/f", Body=b"x" * (4 << 20))
    with faulty(moto.endpoint) as proxy:
        options = s3_options(moto).replace(moto.endpoint, proxy.url)
        url = f"s3://{bucket}"
        with mounted(url, tmp_path, options, environment=moto.environment) as mount:
            assert [path.name for path in (mount.path / "d").iterdir()] == ["f"]
            proxy.fail_always("503", "GET")
            reading = subprocess.Popen(["cat", mount.path / "d" / "f"], stdout=subprocess.DEVNULL)
            try:
                wait_until(
                    lambda: any(call["attempt"] > 1 for call in in_flight(mount.path)["store"]),
                    "a second attempt",
                )
                report = in_flight(mount.path)
                lines = bucketfs("inflight", mount.path).stdout.splitlines()
                table = on_a_terminal("inflight", mount.path)
            finally:
                proxy.heal()
                assert reading.wait(60) == 0
            wait_until(lambda: in_flight(mount.path) == {"kernel": [], "store": []}, "quiet")
    reads = [row for row in report["kernel"] if row["operation"] == "read"]
    assert reads
    assert {row["path"] for row in reads} == {"/d/f"}
    assert {(row["program"], row["pid"]) for row in reads} == {("cat", reading.pid)}
    assert all(row["seconds"] > 0 for row in reads)
    calls = {row["number"]: row for row in report["store"]}
    for row in reads:
        assert row["waits_for"]
        for number in row["waits_for"]:
            call = calls[number]
            assert (call["operation"], call["key"]) == ("read_range", "d/f")
            assert call["program"] == "cat"
            assert call["again_in_s"] is None or call["again_in_s"] < 12
    kinds = {line.split("\t")[0] for line in lines}
    assert kinds == {"kernel", "store"}
    if table is not None:
        for words in ("programs wait for", "/d/f", f"cat [{reading.pid}]", "asked of the store"):
            assert words in table


@pytest.mark.mounted
def test_names_that_are_looked_up_are_told(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        options = s3_options(moto).replace(moto.endpoint, proxy.url)
        url = f"s3://{moto.make_bucket()}"
        with mounted(url, tmp_path, options, environment=moto.environment) as mount:
            proxy.fail_always("503")
            looking = subprocess.Popen(["stat", mount.path / "name"], stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: bool(in_flight(mount.path)["kernel"]), "the look-up")
                (row,) = in_flight(mount.path)["kernel"]
            finally:
                proxy.heal()
                looking.wait(60)
    assert (row["operation"], row["path"], row["program"]) == ("lookup", "/name", "stat")
    assert row["waits_for"]
