"""A machine without FUSE: which package brings it is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.cli.requirements import needing_fuse
from bucketfs.errors import ConfigurationError


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bucketfs: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("flags", [[], ["--foreground"]])
def test_without_fusermount3(tmp_path: Path, flags: list[str]) -> None:
    text = said(run("mount", "memory://x", str(tmp_path), *flags, PATH=str(tmp_path)))
    for words in ("fusermount3 is missing", "Debian, Ubuntu: apt install fuse3", "Fedora", "Arch"):
        assert words in text


@pytest.mark.parametrize(
    "command", [["mount", "memory://x", "MNT"], ["mount", "-f", "memory://x", "MNT"], ["probe"]]
)
def test_without_libfuse3(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "pyfuse3.py").write_text(
        "raise ImportError('libfuse3.so.3: cannot open shared object file', name='pyfuse3')\n"
    )
    arguments = [str(tmp_path / "mnt") if word == "MNT" else word for word in command]
    if command == ["probe"]:
        arguments.append("memory://x")
    text = said(run(*arguments, PYTHONPATH=str(tmp_path), XDG_STATE_HOME=str(tmp_path)))
    for words in ("libfuse3.so.3: cannot open", "libfuse3-dev", "fuse3-devel", "pacman -S fuse3"):
        assert words in text


def test_another_missing_module_is_not_blamed_on_fuse() -> None:
    with pytest.raises(ImportError, match="nothing_like_it"), needing_fuse():
        import nothing_like_it  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ConfigurationError, match="missing or broken"), needing_fuse():
        raise ImportError("x", name="pyfuse3")
