"""`bucketfs umount` against a stand-in of the mount process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketfs.cli import unmounting
from bucketfs.cli.progress import _Sent, describe_left, last_of
from bucketfs.control import Report
from bucketfs.errors import ConfigurationError


class FakeMount:
    """A mount process that answers as it was told, and what was done to it."""

    def __init__(
        self, failed: list[Report] | None, exit_status: int = 0, open_handles: int = 0
    ) -> None:
        self.failed = failed
        self.exit_status = exit_status
        self.open_handles = open_handles
        self.is_freed = False
        self.is_draining = False
        self.is_last: bool | None = None

    def status(self) -> Report:
        return {"open_handles": self.open_handles}

    def drain(self, *, is_last: bool) -> Iterator[Report]:
        if self.failed is None:
            raise ConnectionRefusedError
        self.is_last = is_last
        return self._drain(self.failed)

    def _drain(self, failed: list[Report]) -> Iterator[Report]:
        self.is_draining = True
        try:
            yield {"dirty_files": 1}
            yield {"dirty_files": 0, "failed": failed, "cache_folder": "/cache"}
            pytest.fail("nothing comes after the last report until the mount ends")
        finally:
            self.is_draining = False

    def watch(self) -> Iterator[Report]:
        return iter([{"dirty_files": 0}, {"exit_status": self.exit_status}])


def failure(path: str, reason: str, *, is_kept: bool = True) -> Report:
    return {"path": path, "reason": reason, "is_kept": is_kept}


def install(monkeypatch: pytest.MonkeyPatch, mount: FakeMount) -> None:
    def free(place: Path, *, is_lazy: bool = False) -> None:
        assert mount.is_draining or mount.failed is None, "changes are let in before the end"
        mount.is_freed = True

    monkeypatch.setattr(unmounting, "mounted_at", lambda path: path)
    monkeypatch.setattr(unmounting, "client_of", lambda place: mount)
    monkeypatch.setattr(unmounting, "cache_folder_of", lambda place, uid: Path("/cache"))
    monkeypatch.setattr(unmounting, "CLOSING_S", 0)
    monkeypatch.setattr(unmounting, "_free", free)


@pytest.mark.parametrize(
    ("failed", "exit_status", "is_forced", "status", "is_freed"),
    [
        ([], 0, False, 0, True),
        ([], 1, False, 1, True),
        ([failure("/a", "no space")], 0, False, 1, False),
        ([failure("/a", "no space")], 1, True, 1, True),
        (None, 0, False, 1, True),
    ],
)
def test_unmount(
    monkeypatch: pytest.MonkeyPatch,
    failed: list[Report] | None,
    exit_status: int,
    is_forced: bool,
    status: int,
    is_freed: bool,
) -> None:
    mount = FakeMount(failed, exit_status)
    install(monkeypatch, mount)
    assert unmounting.unmount(Path("/m"), is_forced=is_forced) == status
    assert mount.is_freed == is_freed
    assert not mount.is_draining, "changes are let in again"
    assert mount.is_last == (None if failed is None else is_forced)


@pytest.mark.parametrize(
    ("is_kept", "words"),
    [
        ([True, True], "their bytes are kept in /cache: the next mount"),
        ([True, False], "the bytes of the others are kept in /cache"),
        ([False, False], "nothing of it could be kept on this machine"),
    ],
)
def test_what_was_not_saved_is_listed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_kept: list[bool],
    words: str,
) -> None:
    files = zip(("/dir/a\n", "/b"), is_kept, strict=True)
    failed = [failure(path, "access denied", is_kept=kept) for path, kept in files]
    install(monkeypatch, FakeMount(failed))
    unmounting.unmount(Path("/m"))
    first, second, summary = capsys.readouterr().err.splitlines()
    assert first.startswith("bucketfs: not saved: /dir/a\\n: access denied")
    assert second.startswith("bucketfs: not saved: /b: access denied")
    assert ("memory only" in second) != is_kept[1]
    assert summary.startswith("bucketfs: error: 2 could not be saved; /m is still mounted")
    assert words in summary


def test_a_dead_process_leaves_its_files_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, FakeMount(None))
    assert unmounting.unmount(Path("/m")) == 1
    assert "is gone; what it had not saved is in /cache" in capsys.readouterr().err


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_process_that_hangs_is_left_alone_but_by_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_forced: bool
) -> None:
    mount = FakeMount([])
    install(monkeypatch, mount)

    def hang() -> Report:
        mount.is_draining = True  # as far as the test is concerned
        raise TimeoutError

    monkeypatch.setattr(mount, "status", hang)
    if is_forced:
        assert unmounting.unmount(Path("/m"), is_forced=True) == 1
        assert "does not answer; what it had not saved is in /cache" in capsys.readouterr().err
    else:
        with pytest.raises(ConfigurationError, match="does not answer"):
            unmounting.unmount(Path("/m"))
    assert mount.is_freed == is_forced


def test_a_busy_mount_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = FakeMount([], open_handles=2)
    install(monkeypatch, mount)
    with pytest.raises(ConfigurationError, match="busy"):
        unmounting.unmount(Path("/m"))
    assert (mount.is_freed, mount.is_last) == (False, None)


def test_a_place_where_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing is mounted"):
        unmounting.unmount(tmp_path)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_last_report_is_not_read_over(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    reports: list[Report] = [{"dirty_files": 2, "dirty_bytes": left} for left in (30, 20, 10, 0)]
    reports.append({"failed": []})
    assert last_of(iter(reports), "saving", "failed") == reports[-1]
    assert last_of(iter([]), "saving", "failed") == {}


def test_parts_of_a_large_file_move_the_bar() -> None:
    sent = _Sent()
    states = [(100, 7), (100, 47), (60, 47), (60, 200), (0, 200)]
    done = []
    for left, sent_bytes in states:
        sent.note({"dirty_bytes": left, "statistics": {"sent_bytes": sent_bytes}})
        done.append((sent.completed, sent.total))
    assert done == [(0, 100), (40, 100), (40, 100), (100, 100), (100, 100)]


def test_what_is_left_in_words() -> None:
    assert describe_left({"dirty_files": 1}, "saving") == "saving 1 file"
    assert describe_left({}, "ending") == "ending 0 files"
