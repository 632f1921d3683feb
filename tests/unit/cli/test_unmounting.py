"""`bucketfs umount` against a stand-in of the mount process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketfs.cli import unmounting
from bucketfs.cli.progress import describe_left, last_of
from bucketfs.control import Report
from bucketfs.errors import ConfigurationError


class FakeMount:
    """A mount process that answers as it was told, and what was done to it."""

    def __init__(self, failed: list[str] | None, exit_status: int = 0) -> None:
        self.failed = failed
        self.exit_status = exit_status
        self.is_freed = False

    def drain(self) -> Iterator[Report]:
        if self.failed is None:
            raise ConnectionRefusedError
        return iter([{"dirty_files": 1}, {"dirty_files": 0, "failed": self.failed}])

    def watch(self) -> Iterator[Report]:
        return iter([{"dirty_files": 0}, {"exit_status": self.exit_status}])


def install(monkeypatch: pytest.MonkeyPatch, mount: FakeMount) -> None:
    def free(place: Path, *, is_lazy: bool = False) -> None:
        mount.is_freed = True

    monkeypatch.setattr(unmounting, "mounted_at", lambda path: path)
    monkeypatch.setattr(unmounting, "ControlClient", lambda place: mount)
    monkeypatch.setattr(unmounting, "_free", free)


@pytest.mark.parametrize(
    ("failed", "exit_status", "is_forced", "status", "is_freed"),
    [
        ([], 0, False, 0, True),
        ([], 1, False, 1, True),
        (["a: no space"], 0, False, 1, False),
        (["a: no space"], 0, True, 1, True),
        (None, 0, False, 1, True),
    ],
)
def test_unmount(
    monkeypatch: pytest.MonkeyPatch,
    failed: list[str] | None,
    exit_status: int,
    is_forced: bool,
    status: int,
    is_freed: bool,
) -> None:
    mount = FakeMount(failed, exit_status)
    install(monkeypatch, mount)
    assert unmounting.unmount(Path("/m"), is_forced=is_forced) == status
    assert mount.is_freed == is_freed


def test_what_was_not_saved_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, FakeMount(["dir/a: access denied"]))
    unmounting.unmount(Path("/m"))
    text = capsys.readouterr().err
    assert "not saved: dir/a: access denied" in text
    assert "still mounted" in text


def test_a_place_where_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing is mounted"):
        unmounting.unmount(tmp_path)


def test_the_bar_passes_every_report_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    reports = [{"dirty_files": 2, "dirty_bytes": left} for left in (30, 20, 10, 0)]
    assert last_of(iter(reports), "saving") == reports[-1]
    assert last_of(iter([]), "saving") == {}


def test_what_is_left_in_words() -> None:
    assert describe_left({"dirty_files": 1}, "saving") == "saving 1 file"
    assert describe_left({}, "ending") == "ending 0 files"
