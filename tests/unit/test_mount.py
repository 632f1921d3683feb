"""The composition root: what is refused before mounting, and what a mount says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from bucketfs.errors import BucketfsError, BucketNotFound, CacheDirectoryError, ConfigurationError
from bucketfs.layers import build
from bucketfs.mount import run_mount
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.journal import Journal
from bucketfs.served import report
from bucketfs.settings import MountSettings
from bucketfs.storage.memory import MemoryStore


def _never_ready() -> NoReturn:
    raise AssertionError("a mount that must fail became ready")


async def _refused(settings: MountSettings) -> BucketfsError:
    """Return why `settings` cannot be mounted."""
    try:
        await run_mount(settings, _never_ready)
    except BucketfsError as exc:
        return exc
    raise AssertionError("it was mounted")


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse here")
    place = tmp_path / "m"
    place.mkdir()
    return place


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def test_a_missing_mount_point_is_said(tmp_path: Path, cache: Path) -> None:
    error = await _refused(
        MountSettings(url="memory://x", mountpoint=tmp_path / "none", cache_dir=cache)
    )
    assert isinstance(error, ConfigurationError)
    assert "mkdir" in str(error)


async def test_a_missing_bucket_is_said(tmp_path: Path, mountpoint: Path, cache: Path) -> None:
    folder = tmp_path / "no bucket"
    error = await _refused(
        MountSettings(url=f"file://{folder}", mountpoint=mountpoint, cache_dir=cache)
    )
    assert isinstance(error, BucketNotFound)
    assert str(folder) in str(error)


async def test_a_cache_folder_that_cannot_be_is_said(tmp_path: Path, mountpoint: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    error = await _refused(
        MountSettings(url="memory://x", mountpoint=mountpoint, cache_dir=occupied)
    )
    assert isinstance(error, CacheDirectoryError)


async def test_a_mount_must_not_wait_for_itself(tmp_path: Path, mountpoint: Path) -> None:
    cases = (
        MountSettings(url="memory://x", mountpoint=mountpoint, cache_dir=mountpoint / "cache"),
        MountSettings(
            url=f"file://{tmp_path}", mountpoint=mountpoint, cache_dir=tmp_path / "cache"
        ),
    )
    for settings in cases:
        assert isinstance(await _refused(settings), ConfigurationError)


async def test_a_mount_says_what_is_left(mountpoint: Path, cache: Path) -> None:
    settings = MountSettings(url="memory://x", mountpoint=mountpoint, cache_dir=cache)
    async with trio.open_nursery() as nursery:
        store = MemoryStore()
        pages = PageCache(
            store,
            nursery,
            memory_bytes=settings.memory_bytes,
            disk_bytes=settings.disk_bytes,
            folder=cache,
            part_size=settings.part_size,
            concurrency=settings.concurrency,
        )
        journal = Journal.open(cache, settings.url)
        said = report(settings, build(settings, store, pages, journal, nursery))
        assert said["pid"] == os.getpid()
        assert said["url"] == "memory://x"
        assert (said["dirty_files"], said["dirty_bytes"], said["in_flight"]) == (0, 0, [])
        await journal.aclose()
        await pages.aclose()
        nursery.cancel_scope.cancel()
