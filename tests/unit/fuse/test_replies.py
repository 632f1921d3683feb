"""What the kernel is told of a node, and for how long."""

from __future__ import annotations

import os

import trio

from bucketfs.fuse.replies import entry_attributes, file_system

from .fakes import FakeContent, FakeTree


async def test_attributes_arrive_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeTree().add(7, "f", mode=0o104755)
    node.content = FakeContent(node.info, b"x" * 513)  # type: ignore[assignment]
    node.attributes.mtime_ns = 1_700_000_000_123_456_789
    entry = entry_attributes(node, 5)
    assert (entry.st_ino, entry.generation) == (7, 0)
    assert entry.st_mode == 0o104755
    assert (entry.st_size, entry.st_blocks) == (513, 2)
    assert (entry.st_uid, entry.st_gid, entry.st_nlink) == (1, 2, 1)
    assert entry.st_mtime_ns == 1_700_000_000_123_456_789
    assert (entry.st_ctime_ns, entry.st_atime_ns) == (
        node.attributes.ctime_ns,
        node.attributes.atime_ns,
    )


async def test_valid_for_what_is_left_of_the_time(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeTree().add(7, "f")
    node.fresh_until_s = trio.current_time() + 2
    entry = entry_attributes(node, 5)
    assert 1.9 < entry.entry_timeout <= 2
    assert 1.9 < entry.attr_timeout <= 2
    await trio.sleep(3)
    entry = entry_attributes(node, 5)
    assert (entry.entry_timeout, entry.attr_timeout) == (0, 0)


async def test_what_only_this_mount_changes_is_valid_all_the_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeTree().add(7, "f")
    node.writers = 1
    assert entry_attributes(node, 5).attr_timeout == 5


async def test_a_removed_file_has_no_links_and_no_entry(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeTree().add(7, "f")
    node.is_removed = True
    node.fresh_until_s = trio.current_time() + 2
    entry = entry_attributes(node, 5)
    assert entry.st_nlink == 0
    assert entry.entry_timeout == 0


async def test_times_before_1970(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeTree().add(7, "f")
    node.attributes.mtime_ns = -1
    assert entry_attributes(node, 5).st_mtime_ns == -1


def test_the_file_system_is_never_full() -> None:
    data = file_system()
    assert data.f_bavail * data.f_frsize == 1 << 50
    assert data.f_namemax == os.pathconf("/", "PC_NAME_MAX")
