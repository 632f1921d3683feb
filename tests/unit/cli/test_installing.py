"""Programs for mount(8): made below a folder, run this installation, removed without a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs import __version__
from bucketfs.cli.installing import NAMES, install, uninstall
from bucketfs.errors import ConfigurationError


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_installing_twice_is_as_once(tmp_path: Path) -> None:
    for _ in range(2):
        assert install(tmp_path) == 0
        assert names_in(tmp_path / "sbin") == set(NAMES)
    for name in NAMES:
        program = tmp_path / "sbin" / name
        assert program.stat().st_mode & 0o777 == 0o755
        assert sys.executable in program.read_text()


def test_only_what_install_made_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path)
    (tmp_path / "sbin" / "mount.nfs").write_text("#!/bin/sh\n")
    (tmp_path / "sbin" / "umount.bucketfs").write_text("#!/bin/sh\n# by hand\n")
    assert uninstall(tmp_path) == 0
    assert names_in(tmp_path / "sbin") == {"mount.nfs", "umount.bucketfs"}
    with pytest.raises(ConfigurationError, match="not made by bucketfs"):
        install(tmp_path)
    assert uninstall(tmp_path) == 0
    assert "there was nothing" in capsys.readouterr().out


def test_nothing_is_imported_from_the_folder_where_one_happens_to_be(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "bucketfs").mkdir()
    (tmp_path / "bucketfs" / "__main__.py").write_text("print('trapped')")
    program = (tmp_path / "sbin" / "mount.bucketfs").read_text().splitlines()[-1].split()
    command = [*program[1 : program.index("mount-helper")], "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout == f"bucketfs {__version__}\n"
