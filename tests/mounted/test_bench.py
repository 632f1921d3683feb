"""`bucketfs bench` measures a folder, compares runs, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.cli import benching
from bucketfs.errors import ConfigurationError
from tests.mounted.conftest import wait_until
from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounts.mounting import mounted

STEPS = [
    *("large write", "large read", "small write", "small read", "list and stat", "rename"),
    "remove",
]
SMALL = ("--size", "3M", "--files", "20")


@pytest.mark.mounted
def test_a_mount_is_measured_and_compared(bucket_folder: Path, tmp_path: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        done = bucketfs("bench", "--json", *SMALL, mount.path)
        saved = tmp_path / "saved.json"
        saved.write_text(done.stdout)
        compared = bucketfs("bench", "--compare", saved, *SMALL, mount.path)
        other = bucketfs("bench", "--compare", saved, "--size", "1M", "--files", "5", mount.path)
        lines = bucketfs("bench", *SMALL, mount.path).stdout.splitlines()
        assert os.listdir(mount.path) == []
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert (document["url"], document["size"]) == (f"file://{bucket_folder}", 3 << 20)
    assert [row["name"] for row in document["results"]] == STEPS
    for row in document["results"]:
        assert row["rate"] == pytest.approx(row["amount"] / row["seconds"], rel=0.01)
        assert row["amount"] == (3 << 20 if row["unit"] == "B" else 20)
    rows = [line.split("\t") for line in compared.stdout.splitlines()]
    assert [row[0] for row in rows] == STEPS
    assert all(float(row[3]) > 0 for row in rows)
    assert "different sizes" in other.stderr
    assert [line.split("\t")[0] for line in lines] == STEPS


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bucketfs", "bench", "--files", "100000", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    wait_until(lambda: any(tmp_path.glob("bucketfs-bench-*/small/*")), limit_s=60)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_fill_a_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    done = bucketfs("bench", "--size", str(free), tmp_path)
    assert done.returncode == 1
    assert "choose less by --size" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "said"), [("{}", "nothing that bench"), ("[", "nothing that")])
def test_what_is_no_run_is_not_compared(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        benching.read_document(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        benching.read_document(tmp_path / "none")
