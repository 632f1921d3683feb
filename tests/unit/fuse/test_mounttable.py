"""The mount table as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketfs.fuse import mounttable

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:51 / /mnt/a\\040b rw,nosuid,nodev - fuse.bucketfs s3://bucket/pre\\134fix rw,user_id=0
41 22 0:52 / /mnt/twice rw - tmpfs tmpfs rw
42 41 0:53 / /mnt/twice rw master:3 propagate_from:2 - fuse.bucketfs memory://x rw
nonsense
"""


def test_entries_are_read_with_their_escapes() -> None:
    entries = mounttable.parse(TABLE)
    assert len(entries) == 4
    entry = entries[1]
    assert entry.mountpoint == "/mnt/a b"
    assert entry.source == "s3://bucket/pre\\fix"
    assert entry.type == "fuse.bucketfs"
    assert entry.device == "0:51"
    assert entry.minor == 51
    assert [entry.owner_uid for entry in entries] == [None, 0, None, None]


def test_what_is_on_top_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    monkeypatch.setattr(mounttable, "MOUNTINFO", table)
    top = mounttable.find(Path("/mnt/twice"))
    assert top is not None
    assert top.source == "memory://x"
    assert mounttable.find(Path("/mnt")) is None
