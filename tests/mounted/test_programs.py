"""Ordinary programs on a mounted bucket: what people do with it, not what is easy to test."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounts.mounting import mounted

REAL_TREES = [Path("/usr/share/perl5"), Path("/usr/share/perl"), Path("/etc")]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-1500:]}"
    return done.stdout


@pytest.fixture(scope="module")
def real_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred real files with their modes, times and links, as a copy that holds still."""
    copy = tmp_path_factory.mktemp("real") / "tree"
    source = next(path for path in REAL_TREES if path.is_dir())
    run("cp", "-a", source, copy)
    for path in sorted(copy.rglob("*"))[600:]:
        if path.is_file() and not path.is_symlink():
            path.unlink()
    (copy / "links").mkdir()
    os.symlink("../links", copy / "links" / "self")
    os.symlink("dangling", copy / "links" / "nowhere")
    return copy


@pytest.fixture
def top(mounted_folder_bucket: Path, request: pytest.FixtureRequest) -> Path:
    """An empty directory of the session's mount."""
    path = mounted_folder_bucket / f"{request.node.name[:60]}-{os.getpid()}-{time.time_ns()}"
    path.mkdir()
    return path


def test_cp_and_diff(top: Path, real_tree: Path) -> None:
    run("cp", "-a", real_tree, top / "copy")
    run("diff", "-r", "--no-dereference", real_tree, top / "copy")
    for path in real_tree.rglob("*"):
        ours, theirs = os.lstat(top / "copy" / path.relative_to(real_tree)), os.lstat(path)
        assert ours.st_mode == theirs.st_mode, path
        assert ours.st_mtime_ns == theirs.st_mtime_ns, path


def test_a_cold_mount_shows_the_same_tree(
    tmp_path: Path, bucket_folder: Path, real_tree: Path
) -> None:
    url = f"file://{bucket_folder}"
    with mounted(url, tmp_path) as mount:
        run("cp", "-a", real_tree, mount.path / "copy")
    with mounted(url, tmp_path, name="second") as mount:
        copy = mount.path / "copy"
        links = run("find", ".", "-type", "l", cwd=copy).splitlines()
        assert sorted(links) == sorted(run("find", ".", "-type", "l", cwd=real_tree).splitlines())
        run("diff", "-r", "--no-dereference", real_tree, copy)
        changes = run("rsync", "-ain", f"{real_tree}/", f"{copy}/")
        assert changes == ""


def test_rsync_twice(top: Path, real_tree: Path) -> None:
    run("rsync", "-a", f"{real_tree}/", top / "copy")
    second = run("rsync", "-ai", f"{real_tree}/", top / "copy")
    assert second == ""
    run("diff", "-r", "--no-dereference", real_tree, top / "copy")


def test_tar(top: Path, real_tree: Path) -> None:
    run("tar", "cf", top / "tree.tar", "-C", real_tree, ".")
    (top / "out").mkdir()
    run("tar", "xf", top / "tree.tar", "-C", top / "out")
    run("diff", "-r", "--no-dereference", real_tree, top / "out")


def test_git(top: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    run("git", "init", "-q", ".", cwd=origin)
    for number in range(40):
        (origin / f"file{number}").write_text(f"{number}\n" * 100)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "first", cwd=origin)
    clone = top / "clone"
    run("git", "clone", "-q", origin, clone)
    (clone / "file3").write_text("changed\n")
    (clone / "new").write_text("new\n")
    run("git", "add", ".", cwd=clone)
    run("git", *identity, "commit", "-qm", "second", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    run("git", "fsck", "--strict", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    assert len(run("git", "log", "--oneline", cwd=clone).splitlines()) == 2


def test_sqlite(top: Path) -> None:
    for mode in ("delete", "truncate", "persist"):
        with sqlite3.connect(top / f"{mode}.db") as base:
            base.execute(f"pragma journal_mode={mode}")
            base.execute("create table t (n integer primary key, text text)")
        for batch in range(5):
            with base:
                base.executemany(
                    "insert into t values (?, ?)",
                    ((batch * 200 + n, "x" * (n % 300)) for n in range(200)),
                )
        with base:
            base.execute("delete from t where n % 3 = 0")
        base.execute("vacuum")
        base.close()
        again = sqlite3.connect(top / f"{mode}.db")
        assert again.execute("pragma integrity_check").fetchone() == ("ok",)
        assert again.execute("select count(*) from t").fetchone() == (666,)
        again.close()


def test_an_editor_saves(top: Path) -> None:
    path = top / "text"
    path.write_text("first\n")
    path.chmod(0o640)
    for version in range(5):
        temporary = top / ".text.swp"
        temporary.write_text(f"version {version}\n")
        shutil.copymode(path, temporary)
        path.rename(top / "text~")
        temporary.rename(path)
        (top / "text~").unlink()
        assert path.read_text() == f"version {version}\n"
    assert os.listdir(top) == ["text"]
    assert path.stat().st_mode & 0o777 == 0o640
    run("sed", "-i", "s/version/edition/", path)
    assert path.read_text() == "edition 4\n"


def test_tail_f_sees_what_is_appended(top: Path, tmp_path: Path) -> None:
    path = top / "log"
    path.write_text("start\n")
    with open(tmp_path / "seen", "wb") as seen:
        tail = subprocess.Popen(["tail", "-n", "+1", "-s", "0.05", "-f", path], stdout=seen)
        try:
            for number in range(20):
                with open(path, "a") as file:
                    file.write(f"line {number}\n")
            expected = "start\n" + "".join(f"line {n}\n" for n in range(20))
            wait_until(lambda: (tmp_path / "seen").read_text() == expected)
        finally:
            tail.kill()
            tail.wait()


def wait_until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    """Poll until `condition` holds; fail after `limit_s`."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("block", ["1", "511", "4097", "65537", "1048575", "3000001"])
def test_dd_with_odd_blocks(top: Path, tmp_path: Path, block: str) -> None:
    size = 20_000 if block == "1" else 5_000_011
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    run("dd", f"if={source}", f"of={top}/copy", f"bs={block}", "conv=fsync")
    run("cmp", source, top / "copy")
    run("dd", f"if={top}/copy", f"of={tmp_path}/back", f"bs={block}")
    run("cmp", source, tmp_path / "back")


def test_mmap(top: Path) -> None:
    path = top / "mapped"
    path.write_bytes(bytes(1_000_000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[500_000:500_005] = b"mmap!"
        mapping.flush()
        assert mapping[499_999:500_006] == b"\0mmap!\0"
    data = path.read_bytes()
    assert data[500_000:500_005] == b"mmap!"
    assert len(data) == 1_000_000


WRITER = """
import os, sys
with open(sys.argv[1], "wb") as file:
    for number in range(40):
        file.write(bytes([int(sys.argv[2])]) * 100_000)
"""


def test_sixteen_writers(top: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(top / f"f{n}"), str(n)])
        for n in range(16)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 16
    for number in range(16):
        assert (top / f"f{number}").read_bytes() == bytes([number]) * 4_000_000


def test_a_sparse_file_of_3_gib(tmp_path: Path, bucket_folder: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        path = mount.path / "sparse"
        with open(path, "wb") as file:
            file.write(b"start")
            file.seek(3 << 30)
            file.write(b"end")
        assert path.stat().st_size == (3 << 30) + 3
        with open(path, "rb") as file:
            assert file.read(6) == b"start\0"
            file.seek(-4, os.SEEK_END)
            assert file.read() == b"\0end"
    assert (bucket_folder / "sparse").stat().st_size == (3 << 30) + 3


def test_ten_thousand_files(top: Path) -> None:
    folder = top / "many"
    folder.mkdir()
    for number in range(10_000):
        os.close(os.open(folder / f"f{number:05d}", os.O_CREAT | os.O_WRONLY))
    expected = [f"f{n:05d}" for n in range(10_000)]
    assert sorted(os.listdir(folder)) == expected
    assert run("ls", folder).split() == expected
    assert run("find", folder, "-type", "f", "-size", "0").count("\n") == 10_000
    run("rm", "-r", folder)
    assert os.listdir(top) == []


ODD_NAMES = [
    b"with space",
    b" leading and trailing ",
    "ünïcödé 日本 🌍".encode(),
    b"new\nline",
    b"tab\there",
    b"quote'\"`$(x)",
    b"back\\slash",
    b"percent%2Fplus+and&equal=",
    b"not utf-8 \xff\xfe\x80",
    b"-rf",
    b"#hash?query",
    b"colon:semi;comma,",
    b"...",
    b"x" * 255,
    "é".encode() * 127,
    b"\x01\x7f",
]


def test_odd_names(tmp_path: Path, bucket_folder: Path) -> None:
    url = f"file://{bucket_folder}"
    with mounted(url, tmp_path) as mount:
        for name in ODD_NAMES:
            folder = os.fsencode(mount.path) + b"/d-" + name[:200]
            os.mkdir(folder)
            with open(os.fsencode(mount.path) + b"/" + name, "wb") as file:
                file.write(name)
            with open(folder + b"/" + name, "wb") as file:
                file.write(name)
    with mounted(url, tmp_path, name="second") as mount:
        top = os.fsencode(mount.path)
        assert sorted(n for n in os.listdir(top) if not n.startswith(b"d-")) == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            with open(top + b"/d-" + name[:200] + b"/" + name, "rb") as file:
                assert file.read() == name
            os.rename(top + b"/" + name, top + b"/renamed")
            os.rename(top + b"/renamed", top + b"/" + name)
            os.unlink(top + b"/" + name)
        assert all(n.startswith(b"d-") for n in os.listdir(top))


def test_locks_between_processes(top: Path) -> None:
    path = top / "lock"
    path.write_text("")
    holder = subprocess.Popen(
        ["flock", path, "sh", "-c", "echo locked; sleep 30"], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert subprocess.run(["flock", "-n", path, "true"]).returncode == 1
    finally:
        holder.kill()
        holder.wait()


def test_a_large_file_streams_and_comes_back(tmp_path: Path, bucket_folder: Path) -> None:
    source = tmp_path / "source"
    with open(source, "wb") as file:
        for _ in range(80):
            file.write(os.urandom(1 << 20))
    url = f"file://{bucket_folder}"
    with mounted(url, tmp_path, "memory=32M") as mount:
        run("cp", source, mount.path / "big")
        run("cmp", source, mount.path / "big")
    with mounted(url, tmp_path, "memory=32M", name="second") as mount:
        run("cmp", source, mount.path / "big")
        with open(mount.path / "big", "r+b") as file:
            file.seek(40 << 20)
            file.write(b"edited")
    expected = bytearray(source.read_bytes())
    expected[40 << 20 : (40 << 20) + 6] = b"edited"
    digest = hashlib.sha256((bucket_folder / "big").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(expected).hexdigest()


def test_df_and_statfs(mounted_folder_bucket: Path) -> None:
    found = os.statvfs(mounted_folder_bucket)
    assert found.f_namemax == 255
    assert found.f_bavail * found.f_frsize > 1 << 40
    assert run("df", mounted_folder_bucket)


def test_what_the_kernel_does_without_handlers(top: Path) -> None:
    path = top / "f"
    path.write_bytes(b"0123456789" * 1000)
    with open(path, "r+b") as file:
        with pytest.raises(OSError, match="not supported"):
            _fallocate(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 10_000
        copied = os.copy_file_range(file.fileno(), file.fileno(), 10, 0, 20_000)
        assert copied == 10
    assert path.stat().st_size == 20_010


def _fallocate(fd: int) -> None:
    """Call fallocate(2) itself: glibc's posix_fallocate falls back to writing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(50_000)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
