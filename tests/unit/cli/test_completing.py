"""What the shell offers: profiles where a URL goes, option names after -o, mount points."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.cli import completing
from bucketfs.fuse import mounttable


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[photos]\nurl = "memory://a"\n[phones]\nurl = "memory://b"\n')
    path.chmod(0o600)
    monkeypatch.setenv("BUCKETFS_CONFIG", str(path))
    return path


def offered(*words: str) -> list[str]:
    """Return what bash gets when the last word is half typed."""
    program = "import sys; sys.argv = ['bucketfs']; from bucketfs.cli.main import main; main()"
    asked = {
        "_BUCKETFS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["bucketfs", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **asked},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["mount", "pho"], ["photos", "phones"]),
        (["probe", "phot"], ["photos"]),
        (["mount", "co"], ["cos://"]),
        (["config", "show", "phot"], ["photos"]),
        (["config", "che"], ["check"]),
        (["configure", "phot"], ["photos"]),
        (["configure", "--set", "mountp"], ["mountpoint="]),
        (["mount", "photos", "/mnt", "-o", "mem"], ["memory="]),
        (["mount", "photos", "/mnt", "-o", "ro,memory=1G,write"], ["ro,memory=1G,writeback"]),
        (["probe", "photos", "-o", "noe"], ["noexec"]),
        (["configu"], ["configure"]),
    ],
)
def test_the_shell_is_offered(words: list[str], completions: list[str]) -> None:
    assert offered(*words) == completions


def test_an_option_is_not_offered_twice() -> None:
    assert "ro,ro" not in completing.options("ro,r")
    assert "ro,rw" in completing.options("ro,r")


def test_a_file_that_is_wrong_offers_nothing(config: Path) -> None:
    config.write_text("broken")
    assert completing.profile_names("") == []
    config.unlink()
    assert completing.sources("s3") == ["s3://"]


def test_mount_points_are_those_of_bucketfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "30 1 0:40 / /mnt/a rw - fuse.bucketfs s3://b rw\n"
        "31 1 0:41 / /mnt/b rw - ext4 /dev/sda rw\n"
        "32 1 0:42 / /mnt/c\\040d rw - fuse.bucketfs s3://c rw\n"
    )
    monkeypatch.setattr(mounttable, "MOUNTINFO", table)
    assert completing.mountpoints("/mnt/") == ["/mnt/a", "/mnt/c d"]
    assert completing.mountpoints("/mnt/a") == ["/mnt/a"]
