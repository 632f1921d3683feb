"""`scripts/bench` does each piece of work alone too, and says why one failed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark import work
from scripts.benchmark.results import Results, table
from scripts.benchmark.tools import Tool

SHORT = {"SMALL": 20, "FOLDERS": 8, "PER_FOLDER": 3, "ENTRIES": 24, "APPENDS": 2}


class FolderTool(Tool):
    """No mount at all: a folder, which is its own bucket."""

    def __init__(self, folder: Path) -> None:
        self.name = "folder"
        self.bucket = "b"
        self.folder = folder
        self.mnt = folder / "mnt"
        self.mnt.mkdir()
        self.s3: Any = self
        self.mounts = 0

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        """Put a file into the bucket."""
        (self.mnt / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.mnt / key)

    def mount(self, *, keeps_cache: bool = False) -> None:
        """Count the mounts."""
        self.mounts += 1

    def unmount(self) -> None:
        """Do nothing."""

    def peak_memory_mib(self) -> float:
        """Return any number."""
        return 7.0

    def etag(self, key: str) -> str | None:
        """Return what changes with the bytes."""
        return str((self.mnt / key).read_bytes())

    def _size(self, key: str) -> int:
        return (self.mnt / key).stat().st_size

    def _count(self, prefix: str) -> int:
        keys = (path.relative_to(self.mnt) for path in self.mnt.rglob("*") if path.is_file())
        return sum(key.as_posix().startswith(prefix) for key in keys)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderTool:
    for name, amount in SHORT.items():
        monkeypatch.setattr(work, name, amount)
    return FolderTool(tmp_path)


def measured(tool: FolderTool, *wanted: str) -> Results:
    results = Results("folder")
    work.Work(tool, tool.folder, 1, set(wanted), results).run()
    return results


@pytest.mark.parametrize("name", work.TITLES)
def test_every_piece_of_work_can_be_done_alone(tool: FolderTool, name: str) -> None:
    found = measured(tool, name)
    assert [title.split()[0] for title in found.figures] == [name, "m1"]
    assert None not in [figure for figure, _ in found.figures.values()]
    assert tool.mounts == (2 if name in work.SECOND_MOUNT else 1)


def test_all_of_it(tool: FolderTool) -> None:
    found = measured(tool)
    assert [title.split()[0] for title in found.figures] == [
        *(name for name in work.TITLES if name not in ("w8", "w9")),
        *("w9", "w8", "m1"),  # the tree is copied before the files are removed
    ]
    assert None not in [figure for figure, _ in found.figures.values()]


def test_a_failure_says_why_and_the_rest_is_done(
    tool: FolderTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, ["dd"], stderr=b"dd: error writing: No space\n")

    monkeypatch.setattr(subprocess, "run", failing)
    found = measured(tool, "w1", "w4")
    shown = table([found])
    assert "| w1 seq write durable | failed |" in shown
    assert "folder failed at w1 seq write durable: CalledProcessError: " in shown
    assert "dd: error writing: No space" in shown
    assert found.figures["w4 append 64K + fsync"][0] is not None


def test_a_mount_that_ended_is_no_figure_of_memory(
    tool: FolderTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> float:
        raise FileNotFoundError("/proc/1/status")

    monkeypatch.setattr(tool, "peak_memory_mib", gone)
    assert measured(tool, "r1").figures[work.MEMORY][0] is None
