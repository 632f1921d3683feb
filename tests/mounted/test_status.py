"""`bucketfs status` tells how mounts are, also of those that hang or are dead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bucketfs.cli.status import COLUMNS
from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounted.test_command_line import bucketfs
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


def status(*places: Path) -> tuple[int, list[dict[str, Any]]]:
    done = bucketfs("status", "--json", *places)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.mounted
def test_a_mount_that_is_well_is_shown_with_its_figures(
    bucket_folder: Path, tmp_path: Path
) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, "writeback") as mount:
        file = (mount.path / "open").open("wb")
        file.write(b"x" * 1000)
        file.flush()
        status_code, (state,) = status(mount.path)
        everything = json.loads(bucketfs("status", "--json").stdout)
        lines = bucketfs("status", mount.path).stdout.splitlines()
        file.close()
    assert status_code == 0
    assert (state["health"], state["url"]) == ("answers", f"file://{bucket_folder}")
    assert state["mountpoint"] == str(mount.path)
    assert state["pid"] == mount.process.pid
    assert (state["dirty_files"], state["dirty_bytes"], state["failed_files"]) == (1, 1000, 0)
    assert state["errors"] == {"store_failures": 0}
    assert 0 < state["uptime_s"] < 60
    memory = state["budgets"]["memory_bytes"]
    assert 0 < memory["used"] < memory["limit"]
    assert str(mount.path) in [each["mountpoint"] for each in everything]
    (line,) = lines
    row = dict(zip(COLUMNS, line.split("\t"), strict=True))
    assert row["health"] == "answers"
    assert (row["dirty_files"], row["dirty_bytes"]) == ("1", "1000")


@pytest.mark.mounted
def test_mounts_that_hang_or_are_dead_are_told_and_hold_nobody_up(
    bucket_folder: Path, tmp_path: Path
) -> None:
    url = f"file://{bucket_folder}"
    with (
        mounted(url, tmp_path, name="dead") as dead,
        mounted(url, tmp_path, name="hung") as hung,
        mounted(url, tmp_path, name="well") as well,
    ):
        dead.process.kill()
        dead.process.wait()
        hung.process.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        try:
            code, states = status(dead.path, hung.path, well.path)
            took_s = time.monotonic() - began_s
            table = on_a_terminal("status", dead.path, hung.path)
        finally:
            hung.process.send_signal(signal.SIGCONT)
    assert code == 1
    found = {state["mountpoint"]: state["health"] for state in states}
    assert found == {
        str(dead.path): "dead",
        str(hung.path): "does not answer",
        str(well.path): "answers",
    }
    assert took_s < 20, "5 s for the one that hangs, on a busy machine"
    (state,) = [state for state in states if state["health"] == "dead"]
    assert state["cache_folder"] == str(tmp_path / "dead.cache")
    if table is not None:
        assert f"bucketfs umount {dead.path}" in table
        assert str(tmp_path / "dead.cache") in table


def on_a_terminal(*command: str | Path) -> str | None:
    """Return what a command shows on a terminal, in one line; None: there is no script(1)."""
    if not shutil.which("script"):
        return None
    text = " ".join([sys.executable, "-m", "bucketfs", *map(str, command)])
    done = subprocess.run(
        ["script", "-qec", text, "/dev/null"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
    )
    return " ".join(done.stdout.split())


@pytest.mark.mounted
def test_what_could_not_be_saved_is_counted(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        url, options = f"s3://{moto.make_bucket()}", s3_options(moto)
        options = options.replace(moto.endpoint, proxy.url)
        with mounted(
            url, tmp_path, options, "timeout=1", "writeback", environment=moto.environment
        ) as mount:
            proxy.fail_always("503", "PUT")
            (mount.path / "f").write_bytes(b"data")
            wait_until(lambda: status(mount.path)[1][0]["failed_files"] == 1, limit_s=30)
            code, (state,) = status(mount.path)
            proxy.heal()
    assert (code, state["health"]) == (0, "answers"), "the mount is well, its server is not"
    assert state["dirty_files"] == 1
    assert state["errors"]["store_failures"] >= 3


@pytest.mark.mounted
def test_where_nothing_is_mounted_is_an_error(tmp_path: Path) -> None:
    done = bucketfs("status", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"nothing is mounted at {tmp_path}" in done.stderr
