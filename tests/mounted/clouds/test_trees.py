"""Over every cloud: whole trees, by the programs that people use on them."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from tests.mounted.clouds import exceptions
from tests.mounted.clouds.places import Place


def test_a_rename_of_a_tree(place: Place, tmp_path: Path) -> None:
    top = place.path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o700)
    for number in range(30):
        (top / "a" / f"f{number}").write_bytes(b"x" * number)
    (top / "a" / "b" / "deep").write_bytes(b"deep")
    (top / "a" / "b" / "deep").chmod(0o755)
    place.put("top/implicit/theirs", b"theirs", {"project": "apollo"})
    top.rename(place.path / "new")
    assert not top.exists()
    assert all(name.startswith("new/") for name in place.names())
    with place.remounted(tmp_path) as cold:
        new = cold.path / "new"
        assert sorted(os.listdir(new)) == ["a", "empty", "implicit"]
        assert len(os.listdir(new / "a")) == 31
        assert (new / "a" / "f29").read_bytes() == b"x" * 29
        if not place.lacks(exceptions.METADATA):
            assert place.head("new/implicit/theirs").metadata["project"] == "apollo"
            assert stat.S_IMODE((new / "a" / "b" / "deep").stat().st_mode) == 0o755
        if not place.lacks(exceptions.DIRECTORY_METADATA):
            assert stat.S_IMODE((new / "empty").stat().st_mode) == 0o700


def test_a_real_tree_on_a_cold_mount(place: Place, tmp_path: Path) -> None:
    """Where no attributes are kept there are no symlinks, and all but bytes and names is new."""
    has_attributes = not place.lacks(exceptions.METADATA)
    source = tmp_path / "source"
    real = next(path for path in (Path("/usr/share/perl5"), Path("/etc")) if path.is_dir())
    run("cp", "-a", real, source)
    for path in sorted(path for path in source.rglob("*") if not path.is_dir())[40:]:
        path.unlink()
    if has_attributes:
        (source / "links").mkdir()
        os.symlink("../links", source / "links" / "self")
        os.symlink("dangling", source / "links" / "nowhere")
    kept = "-a" if has_attributes else "-r"
    run("rsync", kept, f"{source}/", place.path / "copy")
    with place.remounted(tmp_path) as cold:
        copy = cold.path / "copy"
        changes = ["rsync", f"{kept}ic", *_without_directories(place)]
        assert run(*changes, f"{source}/", f"{copy}/") == ""
        run("diff", "-r", "--no-dereference", source, copy)
        assert sorted(run("find", ".", "-type", "l", cwd=copy).split()) == sorted(
            run("find", ".", "-type", "l", cwd=source).split()
        )
        run("tar", "cf", tmp_path / "tree.tar", "-C", copy, ".")
    (tmp_path / "out").mkdir()
    run("tar", "xf", tmp_path / "tree.tar", "-C", tmp_path / "out")
    run("diff", "-r", "--no-dereference", source, tmp_path / "out")


def _without_directories(place: Place) -> list[str]:
    if place.lacks(exceptions.DIRECTORY_METADATA):
        return ["--omit-dir-times", "--no-perms"]
    return []


def test_a_git_clone(place: Place, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    run("git", "init", "-q", origin)
    for number in range(10):
        (origin / f"file{number}").write_text(f"{number}\n" * 100)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "first", cwd=origin)
    run("git", "clone", "-q", origin, place.path / "clone")
    with place.remounted(tmp_path) as cold:
        clone = cold.path / "clone"
        (clone / "file3").write_text("changed\n")
        run("git", *identity, "commit", "-qam", "second", cwd=clone)
        run("git", "fsck", "--strict", cwd=clone)
        assert run("git", "status", "--porcelain", cwd=clone) == ""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-1500:]}"
    return done.stdout
