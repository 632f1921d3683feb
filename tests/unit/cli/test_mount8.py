"""What mount(8) says to its helper, and what that makes of a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketfs.cli import mount8
from bucketfs.settings import MountSettings


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[MountSettings]:
    """Two profiles; what is mounted is only noted."""
    file = tmp_path / "config.toml"
    file.write_text('[a]\nurl = "memory://a"\nro = true\n[b]\nurl = "memory://b"\n')
    monkeypatch.setenv("BUCKETFS_CONFIG", str(file))
    found: list[MountSettings] = []

    def mount(settings: MountSettings) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(mount8, "mount_bucket", mount)
    return found


@pytest.mark.parametrize(
    ("profile", "options", "is_writable", "is_read_only"),
    [
        ("a", ["rw,_netdev"], False, True),
        ("a", [], False, True),
        ("a", ["rw"], True, False),
        ("b", ["rw,memory=64M"], False, False),
        ("b", ["ro"], False, True),
        ("b", ["ro,rw"], False, False),
        ("b", ["rw", "ro"], False, True),
    ],
)
def test_the_rw_of_mount_does_not_overrule_a_profile(
    mounted: list[MountSettings],
    tmp_path: Path,
    profile: str,
    options: list[str],
    is_writable: bool,
    is_read_only: bool,
) -> None:
    status = mount8.mount_for_fstab(
        profile,
        tmp_path,
        options,
        kind="bucketfs",
        namespace=None,
        is_writable=is_writable,
        is_sloppy=False,
        is_fake=False,
        is_verbose=False,
    )
    assert status == 0
    assert [settings.is_read_only for settings in mounted] == [is_read_only]
