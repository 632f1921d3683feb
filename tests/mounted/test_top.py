"""`bucketfs top` and `bucketfs profile`: what a mount did in a time, and nothing of before."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounts.mounting import mounted


@contextmanager
def load(place: Path) -> Iterator[None]:
    """Let a program of its own read and write there as long as the block lasts."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            (place / "load").write_bytes(b"x" * 100_000)
            subprocess.run(["cat", place / "load"], stdout=subprocess.DEVNULL, check=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.mounted
def test_one_screen_fits_on_a_small_terminal(bucket_folder: Path, tmp_path: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount, load(mount.path):
        done = bucketfs("top", "--once", "--interval", "1", mount.path, COLUMNS="80", LINES="24")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for words in ("up ", "store ", "kernel ", "p99", "memory     ", "kernel flush", "store write"):
        assert words in done.stdout
    asked_by = done.stdout[done.stdout.index("asked for by") :]
    assert "cat " in asked_by


@contextmanager
def live(place: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `top` on a terminal of 80 x 24; yield it and the terminal's other end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "bucketfs", "top", "--interval", "0.2", str(place)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    )
    try:
        yield process, master
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def shown(terminal: int, words: bytes, limit_s: float = 30.0) -> bytes:
    """Return what appears on a terminal until `words` are seen."""
    text, ends_s = b"", time.monotonic() + limit_s
    while words not in text:
        assert time.monotonic() < ends_s, text
        if select.select([terminal], [], [], 0.2)[0]:
            text += os.read(terminal, 65536)
    return text


@pytest.mark.mounted
@pytest.mark.parametrize("how", ["q", "interrupt", "unmount"])
def test_a_key_leaves_the_live_screen(bucket_folder: Path, tmp_path: Path, how: str) -> None:
    with (
        mounted(f"file://{bucket_folder}", tmp_path) as mount,
        live(mount.path) as (process, terminal),
    ):
        shown(terminal, b"asked for by")
        shown(terminal, b"asked for by")
        if how == "q":
            os.write(terminal, b"q")
        elif how == "interrupt":
            process.send_signal(signal.SIGINT)
        else:
            mount.unmount()
        shown(terminal, b"\x1b[?1049l")  # the screen of before comes back
        assert process.wait(30) == 0


@pytest.mark.mounted
def test_a_profile_is_of_its_time_only(bucket_folder: Path, tmp_path: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        (mount.path / "before").mkdir()
        with load(mount.path):
            done = bucketfs("profile", "--seconds", "1.5", "--json", mount.path)
            lines = bucketfs("profile", "--seconds", "0.5", mount.path).stdout.splitlines()
        assert (done.returncode, done.stderr) == (0, "")
        quiet = json.loads(bucketfs("profile", "--seconds", "0.2", "--json", mount.path).stdout)
    found = json.loads(done.stdout)
    assert 1.5 <= found["seconds"] < 10
    kernel = {row["operation"]: row for row in found["kernel"]}
    store = {row["operation"]: row for row in found["requests"]}
    assert {"write", "flush", "open", "read"} <= kernel.keys()
    assert "mkdir" not in kernel
    assert "write" in store
    totals = [row["total"] for row in found["kernel"]]
    assert totals == sorted(totals, reverse=True)
    for row in kernel.values():
        assert row["mean"] == pytest.approx(row["total"] / row["count"], rel=0.01, abs=1e-6)
        assert row["p50"] <= row["p99"] * 1.05
        assert row["mean"] <= row["max"] * 1.01
    assert {line.split("\t")[0] for line in lines} == {"kernel", "requests"}
    assert "write" not in {row["operation"] for row in quiet["kernel"]}
