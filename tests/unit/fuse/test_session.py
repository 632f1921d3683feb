"""The session: what libfuse is asked for, and mount points that are refused before mounting."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest
import trio

from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable
from bucketfs.fuse.session import (
    Session,
    check_mountpoint,
    end_on_signal,
    mount_options,
    tune,
)


def test_options_for_libfuse() -> None:
    options = mount_options(
        "s3://bucket/a,b\\c\u00e9",
        is_read_only=True,
        allow_other=True,
        kernel_options=("nosuid",),
    )
    assert options == {
        "fsname=s3://bucket/a\\,b\\\\c\\\\xc3\\\\xa9",
        "subtype=bucketfs",
        "default_permissions",
        "ro",
        "allow_other",
        "nosuid",
    }
    assert mount_options("memory://x").isdisjoint({"ro", "allow_other"})


async def test_a_free_folder_is_fine(tmp_path: Path) -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse here")
    await check_mountpoint(tmp_path)


async def test_mount_points_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, words in (
        (tmp_path / "missing", "mkdir -p"),
        (tmp_path / "file", "not a directory"),
        (tmp_path, "not an empty directory"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            await check_mountpoint(place)


async def test_a_mount_in_the_way_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("40 22 0:51 / /nowhere rw - fuse.sshfs host:/x rw\n")
    monkeypatch.setattr(mounttable, "MOUNTINFO", table)
    with pytest.raises(ConfigurationError, match="fusermount3 -u /nowhere"):
        await check_mountpoint(Path("/nowhere"))


def test_tuning_without_rights_is_no_error() -> None:
    tune(mounttable.MountEntry("/nowhere", "4095:1048575", "fuse.bucketfs", "x"))


class FakeSession:
    """Notes that it was stopped."""

    def __init__(self) -> None:
        self.stopped = trio.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_signal_drains_and_a_second_one_does_not_wait(signals: int) -> None:
    session = FakeSession()
    may_end = trio.Event()
    draining = trio.Event()

    async def drain() -> None:
        draining.set()
        await may_end.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_on_signal, cast("Session", session), drain, may_end.set)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGTERM)
        await draining.wait()
        assert not session.stopped.is_set()
        if signals == 2:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            may_end.set()
        with trio.fail_after(5):
            await session.stopped.wait()
        nursery.cancel_scope.cancel()
