"""`bucketfs log` shows what a mount logs, wherever that goes, and changes its level."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


@contextmanager
def daemon(bucket: Path, folder: Path, *options: str) -> Iterator[Path]:
    place = folder / "mnt"
    place.mkdir()
    given = ",".join([f"cache_dir={folder / 'cache'}", f"log_file={folder / 'log'}", *options])
    done = bucketfs("mount", f"file://{bucket}", place, "-o", given)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        yield place
    finally:
        subprocess.run(["fusermount3", "-u", place], capture_output=True)


@contextmanager
def following(place: Path, output: Path) -> Iterator[None]:
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "bucketfs", "log", "-f", str(place)],
            stdout=stream,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def set_level(place: Path, level: str) -> str:
    done = bucketfs("log", "--level", level, place)
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


@pytest.mark.mounted
def test_the_file_of_a_daemon_is_shown_and_followed(bucket_folder: Path, tmp_path: Path) -> None:
    with daemon(bucket_folder, tmp_path) as place:
        set_level(place, "warning")
        set_level(place, "info")
        done = bucketfs("log", place)
        assert (done.returncode, str(tmp_path / "log") in done.stderr) == (0, True)
        assert "level info from now on" in done.stdout
        shown = tmp_path / "shown"
        with following(place, shown):
            wait_until(lambda: "level info" in shown.read_text())
            set_level(place, "debug")
            wait_until(lambda: "level debug" in shown.read_text())
            (tmp_path / "log").rename(tmp_path / "log.1")
            set_level(place, "error")
            set_level(place, "info")
            wait_until(lambda: shown.read_text().count("level info") == 2, "the renamed log")
        assert bucketfs("log", "-n", "1", place).stdout.count("\n") == 1


@pytest.mark.mounted
def test_the_level_is_changed_while_it_serves(moto: RunningS3, tmp_path: Path) -> None:
    url, options = f"s3://{moto.make_bucket()}", s3_options(moto)
    with mounted(url, tmp_path, options, environment=moto.environment) as mount:
        (mount.path / "quiet").write_bytes(b"x")
        assert "logs from debug on" in set_level(mount.path, "debug")
        (mount.path / "loud").write_bytes(b"x")
        set_level(mount.path, "info")
        (mount.path / "still").write_bytes(b"x")
        wrong = bucketfs("log", "--level", "loud", mount.path)
    text = mount.log_text()
    assert "/loud" in text
    assert "/quiet" not in text
    assert "/still" not in text
    assert moto.environment["AWS_SECRET_ACCESS_KEY"] not in text
    assert wrong.returncode == 1
    assert "it is one of debug, info, warning, error" in wrong.stderr


@pytest.mark.mounted
def test_a_mount_in_the_foreground_tells_its_last_lines(
    bucket_folder: Path, tmp_path: Path
) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        set_level(mount.path, "debug")
        done = bucketfs("log", "--lines", "100", mount.path)
        shown = tmp_path / "shown"
        with following(mount.path, shown):
            wait_until(lambda: "level debug" in shown.read_text())
            set_level(mount.path, "info")
            wait_until(lambda: "level info" in shown.read_text())
    assert "its standard error" in done.stderr
    assert "level debug from now on" in done.stdout


@pytest.mark.mounted
def test_the_log_of_a_dead_mount_is_shown(bucket_folder: Path, tmp_path: Path) -> None:
    with daemon(bucket_folder, tmp_path) as place:
        set_level(place, "debug")
        pid = json.loads(bucketfs("status", "--json", place).stdout)[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: bucketfs("status", place).returncode == 1)
        done = bucketfs("log", place)
        assert (done.returncode, str(tmp_path / "log") in done.stderr) == (0, True)
        assert "level debug" in done.stdout


@pytest.mark.mounted
def test_json_lines_are_one_event_each(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        options = s3_options(moto).replace(moto.endpoint, proxy.url)
        url = f"s3://{moto.make_bucket()}"
        log = tmp_path / "log"
        with mounted(
            url,
            tmp_path,
            f"{options},log_format=json,log_file={log},timeout=1",
            environment=moto.environment,
        ) as mount:
            proxy.fail_always("503", "PUT")
            with pytest.raises(OSError, match="temporarily"):
                (mount.path / "f").write_bytes(b"x")
            proxy.heal()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["mount"] for event in events} == {str(mount.path)}
    assert {"info", "warning"} <= {event["level"] for event in events}
    assert all(event["time"].endswith("Z") for event in events)
    failures = [event for event in events if event["message"].startswith("flush(")]
    assert failures
