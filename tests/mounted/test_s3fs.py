"""s3fs mounts the same bucket: each sees what the other wrote, as the other wrote it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.conftest import Place, wait_until
from tests.mounts.mounting import is_mounted
from tests.servers.starting import program


@pytest.fixture
def theirs(place: Place, tmp_path: Path) -> Iterator[Path]:
    """The directory of `place`, mounted by s3fs."""
    (s3fs,) = program("s3fs")
    path = tmp_path / "s3fs"
    path.mkdir()
    passwords = tmp_path / "s3fs.passwords"
    passwords.write_text(f"{place.server.access_key}:{place.server.secret_key}")
    passwords.chmod(0o600)
    options = f"url={place.server.endpoint},use_path_request_style,passwd_file={passwords}"
    options += ",use_xattr,stat_cache_expire=1"
    bucket = f"{place.bucket}:/{place.prefix.rstrip('/')}"
    subprocess.run([s3fs, bucket, path, "-o", options], check=True, timeout=30)
    try:
        wait_until(lambda: is_mounted(path), "the mount of s3fs")
        yield path
    finally:
        subprocess.run(["fusermount3", "-uz", path], check=False)


def tree_of(top: Path) -> dict[str, object]:
    """Return what a person sees of each entry: type, mode, owner, size, mtime, target or bytes."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        is_link, is_file = path.is_symlink(), stat.S_ISREG(state.st_mode)
        content = os.readlink(path) if is_link else path.read_bytes() if is_file else None
        times = state.st_mtime_ns if is_file else None
        noted = [] if is_link else [(n, os.getxattr(path, n)) for n in sorted(os.listxattr(path))]
        # Who makes a symlink has no say in its mode.
        mode = stat.S_IFMT(state.st_mode) if is_link else state.st_mode
        name = path.relative_to(top).as_posix()
        found[name] = (mode, state.st_uid, state.st_gid, times, noted, content)
    return found


def are_equal(ours: Path, theirs: Path) -> bool:
    """Tell whether both see the same; not yet, where a name of the one is gone for the other."""
    try:
        return tree_of(ours) == tree_of(theirs)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise


def write_a_tree(top: Path) -> None:
    """Write one entry of each kind, with attributes that nobody has by chance."""
    (top / "dir" / "inner").mkdir(parents=True)
    (top / "dir").chmod(0o2750)
    (top / "dir" / "empty").write_bytes(b"")
    path = top / "dir" / "file with a space"
    path.write_bytes(b"seen by both")
    os.setxattr(path, "user.note", b"\0\xff bytes")
    os.setxattr(path, "user.second", b"")
    os.chown(path, 1234, 2345)
    path.chmod(0o4604)
    os.utime(path, ns=(1_500_000_000_000_000_000, 1_600_000_000_123_456_789))
    os.symlink("dir/file with a space", top / "link")
    os.symlink("dangling", top / "dir" / "nowhere")
    os.mkfifo(top / "fifo", 0o640)
    (top / "big").write_bytes(b"0123456789abcdef" * (1 << 20))


def test_s3fs_sees_the_same_tree(place: Place, theirs: Path) -> None:
    write_a_tree(place.path)
    wait_until((theirs / "big").exists)
    assert tree_of(theirs) == tree_of(place.path)


def test_the_tree_of_s3fs_is_seen(place: Place, theirs: Path, tmp_path: Path) -> None:
    write_a_tree(theirs)
    expected = tree_of(theirs)
    wait_until(lambda: set(tree_of(place.path)) == set(expected))
    wait_until(lambda: tree_of(place.path) == expected)
    with place.remounted(tmp_path) as cold:
        assert tree_of(cold.path) == expected


def test_changes_go_both_ways(place: Place, theirs: Path) -> None:
    write_a_tree(place.path)
    wait_until((theirs / "big").exists)
    path = theirs / "dir" / "file with a space"
    # A change of attributes alone in the very second of our own write would not be seen
    # (docs/semantics.md): Last-Modified has seconds.
    time.sleep(1.1)
    path.chmod(0o611)
    os.utime(path, (1_500_000_001, 1_600_000_001))
    (theirs / "dir" / "empty").rename(theirs / "renamed by them")
    wait_until(lambda: are_equal(place.path, theirs))
    (place.path / "dir").rename(place.path / "renamed by us")
    (place.path / "renamed by us" / "file with a space").chmod(0o600)
    (place.path / "link").unlink()
    wait_until(lambda: are_equal(place.path, theirs))
    assert (theirs / "renamed by us" / "inner").is_dir()
