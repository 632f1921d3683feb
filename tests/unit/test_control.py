"""The control socket: reports, saving on request, and the end of the mount."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from bucketfs.control import ControlClient, ControlServer, runtime_folder, socket_path
from bucketfs.errors import ConfigurationError

MOUNTPOINT = Path("/somewhere/mounted")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the sockets of tests apart from those of real mounts."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class Mount:
    """What a mount tells and does."""

    def __init__(self) -> None:
        self.left = 3
        self.failed: list[str] = []
        self.may_save = trio.Event()

    def report(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "dirty_files": self.left}

    async def drain(self) -> list[str]:
        await self.may_save.wait()
        self.left = len(self.failed)
        return self.failed


async def _serving(mount: Mount, ask: Callable[[ControlServer], Any]) -> None:
    server = ControlServer(MOUNTPOINT, mount.report, mount.drain)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await ask(server)
        nursery.cancel_scope.cancel()


async def test_status_is_one_report() -> None:
    async def ask(server: ControlServer) -> None:
        answer = await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).status)
        assert answer == {"pid": os.getpid(), "dirty_files": 3}

    await _serving(Mount(), ask)


async def test_only_the_owner_may_talk() -> None:
    async def ask(server: ControlServer) -> None:
        path = socket_path(MOUNTPOINT)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    await _serving(Mount(), ask)
    assert not socket_path(MOUNTPOINT).exists()


async def test_drain_reports_until_all_is_saved() -> None:
    mount = Mount()
    mount.failed = ["/a: no space"]

    def drain() -> list[Any]:
        reports = []
        for report in ControlClient(MOUNTPOINT).drain():
            reports.append(report)
            trio.from_thread.run_sync(mount.may_save.set)
        return reports

    async def ask(server: ControlServer) -> None:
        reports = await trio.to_thread.run_sync(drain)
        assert "failed" not in reports[0]
        assert reports[0]["dirty_files"] == 3
        assert reports[-1]["failed"] == ["/a: no space"]
        assert reports[-1]["dirty_files"] == 1

    await _serving(mount, ask)


async def test_watch_tells_the_exit_status() -> None:
    async def ask(server: ControlServer) -> None:
        reports = ControlClient(MOUNTPOINT).watch()
        first = await trio.to_thread.run_sync(next, reports)
        assert first["dirty_files"] == 3
        await server.finish(1)
        rest = await trio.to_thread.run_sync(list, reports)
        assert rest[-1] == {"exit_status": 1}

    await _serving(Mount(), ask)


async def test_an_unknown_command_is_refused() -> None:
    async def ask(server: ControlServer) -> None:
        stream = await trio.open_unix_socket(str(socket_path(MOUNTPOINT)))
        for line in (b'{"command": "rm"}\n', b"no json\n", b"[]\n"):
            stream = await trio.open_unix_socket(str(socket_path(MOUNTPOINT)))
            async with stream:
                await stream.send_all(line)
                assert b"unknown command" in await stream.receive_some()

    await _serving(Mount(), ask)


async def test_a_left_over_socket_does_not_hinder() -> None:
    socket_path(MOUNTPOINT).touch()

    async def ask(server: ControlServer) -> None:
        assert await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).is_alive)

    await _serving(Mount(), ask)


@pytest.mark.allows_warnings
async def test_a_bug_in_a_report_does_not_end_the_server() -> None:
    mount = Mount()

    def broken() -> dict[str, Any]:
        raise ZeroDivisionError("bug")

    async def ask(server: ControlServer) -> None:
        server._report = broken
        client = ControlClient(MOUNTPOINT)
        assert await trio.to_thread.run_sync(list, client.watch()) == []
        server._report = Mount().report
        assert await trio.to_thread.run_sync(client.is_alive)

    await _serving(mount, ask)


def test_without_a_mount_nothing_answers() -> None:
    client = ControlClient(MOUNTPOINT)
    assert not client.is_alive()
    with pytest.raises(OSError, match="No such file"):
        client.drain()


def test_a_folder_that_others_may_write_to_is_refused(runtime: Path) -> None:
    folder = runtime / "bucketfs"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="only you"):
        runtime_folder()
