"""The cache folder: one owner, and nothing of a dead one is deleted."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import pytest

from bucketfs.errors import CacheDirectoryError
from bucketfs.pagecache.folder import CacheFolder, is_taken


def test_a_second_mount_is_told_who_has_the_folder(tmp_path: Path) -> None:
    folder = CacheFolder.open(tmp_path / "new" / "cache", "s3://bucket on /mnt")
    with pytest.raises(CacheDirectoryError, match=rf"s3://bucket on /mnt pid={os.getpid()}"):
        CacheFolder.open(tmp_path / "new" / "cache", "other")
    folder.close()
    CacheFolder.open(tmp_path / "new" / "cache", "other").close()


def test_who_only_looks_whether_it_is_taken_keeps_no_mount_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_taken(tmp_path)
    (tmp_path / "lock").touch()
    looking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            os.close(looking)

    monkeypatch.setattr("bucketfs.pagecache.folder.time.sleep", pause)
    folder = CacheFolder.open(tmp_path)
    assert len(pauses) == 2
    assert is_taken(tmp_path)
    folder.close()
    assert not is_taken(tmp_path)


def test_spill_paths_differ_and_lie_in_the_folder(tmp_path: Path) -> None:
    folder = CacheFolder.open(tmp_path)
    paths = {folder.spill_path / folder.new_spill_name() for _ in range(3)}
    assert len(paths) == 3
    assert {path.parent for path in paths} == {tmp_path / "spill"}
    folder.close()


@pytest.mark.allows_warnings
def test_what_a_dead_mount_left_is_kept_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for content in (b"first", b"second"):
        folder = CacheFolder.open(tmp_path)
        (folder.spill_path / folder.new_spill_name()).write_bytes(content)
        folder.close()
    caplog.set_level(logging.WARNING)
    folder = CacheFolder.open(tmp_path)
    assert folder.new_spill_name() == "00000003.spill"
    folder.rescue(kept={"00000002.spill"})
    folder.close()
    assert [path.read_bytes() for path in (tmp_path / "spill").iterdir()] == [b"second"]
    folder = CacheFolder.open(tmp_path)
    folder.rescue()
    folder.close()
    rescued = sorted((tmp_path / "lost+found").glob("*/*.spill"))
    assert {path.read_bytes() for path in rescued} == {b"first", b"second"}
    assert list((tmp_path / "spill").iterdir()) == []
    assert "00000001.spill" in caplog.text
    assert str(rescued[-1].parent) in caplog.text


def test_a_temporary_folder_vanishes() -> None:
    folder = CacheFolder.open(None)
    assert folder.path.is_dir()
    folder.close()
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheDirectoryError, match="file"):
        CacheFolder.open(tmp_path / "file" / "cache")
