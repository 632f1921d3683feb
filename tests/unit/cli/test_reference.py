"""Documents and manual pages are those of the program: made from its tables, and well-formed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bucketfs.cli import reference
from bucketfs.cli.main import app  # every command registers itself
from bucketfs.cli.manpages import PAGES, escaped, page, write_pages
from bucketfs.cli.profiles import Profile
from bucketfs.cli.resolving import resolve_profile
from bucketfs.errors import ConfigurationError
from bucketfs.options import OPTIONS

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"
NAMES = [name for name, _ in PAGES]
assert app is not None


def test_the_document_is_that_of_the_program() -> None:
    text = DOCUMENT.read_text("utf-8")
    for part in reference.PARTS:
        assert f"<!-- made: {part} -->" in text
    assert reference.with_parts(text) == text, "run python -m bucketfs.cli.reference FILE"


def test_the_generator_writes_what_is_between_markers(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("prose\n<!-- made: layers -->\nold\n<!-- end -->\nmore\n")
    command = [sys.executable, "-m", "bucketfs.cli.reference", str(file)]
    subprocess.run(command, check=True, timeout=30)
    text = file.read_text()
    assert text.startswith("prose\n<!-- made: layers -->\n1. **command line**")
    assert text.endswith("\n<!-- end -->\nmore\n")
    assert "old" not in text


def test_the_example_is_a_file_that_works(tmp_path: Path) -> None:
    tables = tomllib.loads(reference.EXAMPLE)
    defaults = tables.pop("defaults")
    for name, table in tables.items():
        profile = Profile(name, tmp_path, table, defaults)
        assert resolve_profile(profile, has_environment=False).settings().memory_bytes == 256 << 20


def plain(roff: str) -> str:
    return roff.replace("\\fB", "").replace("\\fR", "").replace("\\-", "-").replace("\\(aq", "'")


def test_every_option_and_command_has_its_place_in_the_pages() -> None:
    text = plain(page("bucketfs"))
    for option in OPTIONS:
        assert f".TP\n{option.usage}\n" in text
    for command in ("mount", "umount", "probe", "sync", "stats", "config show", "configure", "man"):
        assert f".SS bucketfs {command}\n" in text
    file = plain(page("bucketfs.toml"))
    for key in ("url", "mountpoint", "secret_key", 'memory = "SIZE"', "writeback = true"):
        assert f".TP\n{key}\n" in file
    assert "/etc/fstab" in page("mount.bucketfs")
    assert "-N NAMESPACE" in plain(page("mount.bucketfs"))
    assert "mount-helper" not in text, "nobody types it"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed(name: str) -> None:
    lines = page(name).splitlines()
    assert lines[0].startswith(f".TH {name.upper()} ")
    assert lines[1] == ".SH NAME"
    assert lines[2].startswith(f"{escaped(name)} \\- ")
    known = (".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi")
    assert {line.split()[0] for line in lines if line.startswith(".")} <= set(known)
    assert lines.count(".nf") == lines.count(".fi")
    assert [line for line in lines if line.startswith("'")] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_finds_no_mistake(name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint"], input=page(name), capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if "STYLE" not in line]
    assert [line for line in found if "missing date" not in line] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_warns_of_nothing(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z"], input=page(name), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_pages_are_printed_and_installed(tmp_path: Path) -> None:
    assert run("man", "bucketfs.toml").stdout == page("bucketfs.toml")
    done = run("man", "--output", str(tmp_path / "man"))
    files = ["man1/bucketfs.1", "man8/mount.bucketfs.8", "man5/bucketfs.toml.5"]
    assert done.stdout.splitlines() == [f"{tmp_path}/man/{file}" for file in files]
    assert (tmp_path / "man" / files[0]).read_text() == page("bucketfs")


def test_a_page_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run("man", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "bucketfs: error: there is no page 'nothing'; there are bucketfs, mount.bucketfs, "
        "bucketfs.toml\n"
    )
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_pages(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
