"""What other clients do to the bucket while it is mounted, and what they see of what we do."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

from tests.mounts.mounting import error_of, mounted

TTL_S = 1.0


def _eventually(condition: object, limit_s: float = TTL_S + 8) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it was not seen in time"
        time.sleep(0.1)


def test_objects_of_others_appear_and_vanish(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "first").write_text("1")
    with mounted(f"file://{bucket_folder}", tmp_path, f"ttl={TTL_S}") as mount:
        assert os.listdir(mount.path) == ["first"]
        assert not (mount.path / "second").exists()
        (bucket_folder / "second").write_text("22")
        (bucket_folder / "folder" / "deep").mkdir(parents=True)
        (bucket_folder / "folder" / "deep" / "third").write_text("333")
        _eventually(lambda: sorted(os.listdir(mount.path)) == ["first", "folder", "second"])
        assert (mount.path / "second").read_text() == "22"
        assert (mount.path / "folder" / "deep" / "third").read_text() == "333"
        (bucket_folder / "first").unlink()
        _eventually(lambda: not (mount.path / "first").exists())
        assert sorted(os.listdir(mount.path)) == ["folder", "second"]


def test_objects_without_attributes_get_sane_ones(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "d").mkdir()
    (bucket_folder / "d" / "f").write_text("plain")
    options = ("uid=1234", "gid=2345", "fmask=137", "dmask=027", "allow_other")
    with mounted(f"file://{bucket_folder}", tmp_path, *options) as mount:
        found = os.lstat(mount.path / "d" / "f")
        assert stat.filemode(found.st_mode) == "-rw-r-----"
        assert (found.st_uid, found.st_gid, found.st_size) == (1234, 2345, 5)
        assert abs(found.st_mtime - time.time()) < 60
        assert stat.filemode(os.lstat(mount.path / "d").st_mode) == "drwxr-x---"


def test_a_replaced_object_is_seen_at_the_next_open(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "f").write_bytes(b"old" * 1000)
    with mounted(f"file://{bucket_folder}", tmp_path, f"ttl={TTL_S}") as mount:
        assert (mount.path / "f").read_bytes() == b"old" * 1000
        (bucket_folder / "new").write_bytes(b"fresh")
        (bucket_folder / "new").rename(bucket_folder / "f")
        _eventually(lambda: (mount.path / "f").read_bytes() == b"fresh")
        assert (mount.path / "f").stat().st_size == 5


def test_a_reader_of_a_replaced_object_gets_estale(tmp_path: Path, bucket_folder: Path) -> None:
    size = 40 << 20
    (bucket_folder / "f").write_bytes(b"1" * size)
    with mounted(f"file://{bucket_folder}", tmp_path, "memory=16M") as mount:
        fd = os.open(mount.path / "f", os.O_RDONLY)
        try:
            assert os.pread(fd, 4096, 0) == b"1" * 4096
            (bucket_folder / "new").write_bytes(b"2" * size)
            (bucket_folder / "new").rename(bucket_folder / "f")
            assert error_of(_read_all_ones, fd, size) == "ESTALE"
        finally:
            os.close(fd)


def _read_all_ones(fd: int, size: int) -> None:
    offset = 0
    while offset < size:
        data = os.pread(fd, 1 << 20, offset)
        assert data, "the end came early"
        assert data.count(b"1") == len(data), "bytes of two versions"
        offset += len(data)


def test_a_lost_update_is_refused(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "f").write_text("base")
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        fd = os.open(mount.path / "f", os.O_RDWR)
        os.write(fd, b"ours")
        (bucket_folder / "new").write_text("theirs, longer")
        (bucket_folder / "new").rename(bucket_folder / "f")
        assert error_of(os.fsync, fd) == "ESTALE"
        assert os.pread(fd, 10, 0) == b"ours"
        assert error_of(os.close, fd) == "ESTALE"
        assert (bucket_folder / "f").read_text() == "theirs, longer"
        mount.kill()


def test_directories_are_markers_and_may_be_implicit(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "implicit" / "inner").mkdir(parents=True)
    (bucket_folder / "implicit" / "inner" / "f").write_text("x")
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        (mount.path / "implicit" / "inner" / "f").unlink()
        assert os.listdir(mount.path / "implicit" / "inner") == []
        (mount.path / "made").mkdir(mode=0o750)
    with mounted(f"file://{bucket_folder}", tmp_path, name="second") as mount:
        assert os.listdir(mount.path / "implicit" / "inner") == []
        assert stat.S_IMODE((mount.path / "made").stat().st_mode) == 0o750


def test_a_read_only_mount_changes_nothing(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "f").write_text("kept")
    with mounted(f"file://{bucket_folder}", tmp_path, "ro") as mount:
        assert (mount.path / "f").read_text() == "kept"
        for attempt in (
            lambda: (mount.path / "f").write_text("x"),
            lambda: (mount.path / "f").unlink(),
            lambda: (mount.path / "d").mkdir(),
            lambda: os.chmod(mount.path / "f", 0o600),
            lambda: os.rename(mount.path / "f", mount.path / "g"),
        ):
            assert error_of(attempt) == "EROFS"
    assert (bucket_folder / "f").read_text() == "kept"


def test_a_prefix_mount_shows_only_its_prefix(tmp_path: Path, bucket_folder: Path) -> None:
    (bucket_folder / "in" / "sub").mkdir(parents=True)
    (bucket_folder / "in" / "sub" / "f").write_text("inside")
    (bucket_folder / "out").write_text("outside")
    with mounted(f"file://{bucket_folder}/in", tmp_path) as mount:
        assert os.listdir(mount.path) == ["sub"]
        (mount.path / "new").write_text("made")
    assert (bucket_folder / "in" / "new").read_text() == "made"


def test_acls_by_option(tmp_path: Path, bucket_folder: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, "acl,allow_other") as mount:
        path = mount.path / "f"
        path.write_text("x")
        path.chmod(0o640)
        subprocess.run(["setfacl", "-m", "u:65534:r", path], check=True)
        shown = subprocess.run(["getfacl", "-cn", path], check=True, capture_output=True, text=True)
        assert "user:65534:r--" in shown.stdout
    with mounted(f"file://{bucket_folder}", tmp_path, "acl,allow_other", name="second") as mount:
        path = mount.path / "f"
        shown = subprocess.run(["getfacl", "-cn", path], check=True, capture_output=True, text=True)
        assert "user:65534:r--" in shown.stdout
    with mounted(f"file://{bucket_folder}", tmp_path, name="third") as mount:
        done = subprocess.run(["setfacl", "-m", "u:1:r", mount.path / "f"], capture_output=True)
        assert done.returncode != 0
