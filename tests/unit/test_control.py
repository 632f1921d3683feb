"""The control socket: reports, saving on request, and the end of the mount."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from bucketfs.control import (
    Answer,
    ControlClient,
    ControlServer,
    cache_folder_of,
    places,
    runtime_folder,
    socket_path,
)
from bucketfs.control.server import Warming
from bucketfs.errors import ConfigurationError

MOUNTPOINT = Path("/somewhere/mounted")


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the sockets of tests apart from those of real mounts; their paths must be short."""
    with tempfile.TemporaryDirectory(prefix="bucketfs-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


class WarmUp:
    """A warm-up of two files."""

    def __init__(self) -> None:
        self.done = 0
        self.may_go_on = trio.Event()
        self.was_cancelled = trio.Event()

    async def run(self) -> None:
        try:
            await self.may_go_on.wait()
            self.done = 2
        except trio.Cancelled:
            self.was_cancelled.set()
            raise

    def report(self) -> dict[str, Any]:
        return {"files": self.done}

    def failures(self) -> list[dict[str, Any]]:
        return [{"path": "/a", "reason": "gone"}]


class Mount:
    """What a mount tells and does."""

    def __init__(self) -> None:
        self.left = 3
        self.failed: list[dict[str, Any]] = []
        self.may_save = trio.Event()
        self.paths: list[list[str]] = []
        self.files: list[dict[str, Any]] = []
        self.endings = 0
        self.ended = trio.Event()
        self.saved = trio.Event()
        self.is_hurried = False
        self.warm_up: WarmUp | None = None

    def report(self, path: Sequence[str] = ()) -> dict[str, Any]:
        return {"pid": os.getpid(), "dirty_files": self.left}

    @property
    def answers(self) -> dict[str, Answer]:
        return {"stats": self.statistics, "refuse": self.refuse}

    async def statistics(self, details: Mapping[str, Any]) -> dict[str, Any]:
        return {"format": 1, "requests": {}}

    async def refuse(self, details: Mapping[str, Any]) -> dict[str, Any]:
        raise ConfigurationError(f"there is no {details['what']}")

    def pending(self) -> list[dict[str, Any]]:
        return self.files

    async def save(self, path: Sequence[str] = ()) -> list[dict[str, Any]]:
        self.paths.append(list(path))
        await self.may_save.wait()
        self.left = len(self.failed)
        self.saved.set()
        return self.failed

    def warming(self, paths: Sequence[Sequence[str]]) -> Warming | None:
        self.paths += [list(path) for path in paths]
        return self.warm_up

    @contextmanager
    def ending(self) -> Iterator[None]:
        self.endings += 1
        try:
            yield
        finally:
            self.endings -= 1
            self.ended.set()

    def hurry(self, is_hurried: bool) -> None:
        self.is_hurried = is_hurried


async def _serving(mount: Mount, ask: Callable[[ControlServer], Any]) -> None:
    server = ControlServer(MOUNTPOINT, mount, Path("/cache"))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await ask(server)
        nursery.cancel_scope.cancel()


FAILED = {"path": "/a", "reason": "no space", "is_kept": True}


async def test_status_is_one_report() -> None:
    async def ask(server: ControlServer) -> None:
        answer = await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).status)
        assert answer == {"pid": os.getpid(), "dirty_files": 3}

    await _serving(Mount(), ask)


async def test_stats_are_one_report() -> None:
    async def ask(server: ControlServer) -> None:
        answer = await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).statistics)
        assert answer == {"format": 1, "requests": {}}

    await _serving(Mount(), ask)


async def test_a_question_that_cannot_be_answered_is_refused_with_the_reason() -> None:
    async def ask(server: ControlServer) -> None:
        client = ControlClient(MOUNTPOINT)
        with pytest.raises(ConfigurationError, match="there is no spoon"):
            await trio.to_thread.run_sync(lambda: client.ask("refuse", what="spoon"))

    await _serving(Mount(), ask)


def test_a_socket_is_looked_for_where_the_mount_may_have_put_it(
    runtime: Path,
) -> None:
    name = socket_path(MOUNTPOINT).name
    own = runtime_folder() / name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(own))
        assert places.find(MOUNTPOINT, ".sock", os.geteuid()) == own
        owner = os.geteuid() + 4711
        assert places.find(MOUNTPOINT, ".sock", owner) == own, "nobody else's is there"
        foreign = Path(f"/tmp/bucketfs-{owner}")
        foreign.mkdir()
        (foreign / name).touch()
        try:
            assert places.find(MOUNTPOINT, ".sock", owner) == own, "a folder of somebody else's"
        finally:
            (foreign / name).unlink()
            foreign.rmdir()


async def test_only_the_owner_may_talk() -> None:
    async def ask(server: ControlServer) -> None:
        path = socket_path(MOUNTPOINT)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    await _serving(Mount(), ask)
    assert not socket_path(MOUNTPOINT).exists()


async def test_a_mount_is_found_from_another_environment(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service has no XDG_RUNTIME_DIR, the login that unmounts what it mounted has one."""
    monkeypatch.setattr(places, "FOLDERS", (f"{runtime}/run-{{uid}}/bucketfs",))
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{runtime}/run-{os.geteuid()}")

    async def ask(server: ControlServer) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "login"))
        answer = await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).status)
        assert answer["pid"] == os.getpid()
        assert cache_folder_of(MOUNTPOINT) is not None
        places.forget(MOUNTPOINT)
        assert cache_folder_of(MOUNTPOINT) is None, "what a dead mount left misleads nobody"

    await _serving(Mount(), ask)


@pytest.mark.parametrize("is_last", [False, True])
async def test_drain_reports_until_all_is_saved(is_last: bool) -> None:
    mount = Mount()
    mount.failed = [FAILED]

    def drain() -> tuple[list[Any], Generator[Any]]:
        answers = cast("Generator[Any]", ControlClient(MOUNTPOINT).drain(is_last=is_last))
        reports = []
        for report in answers:
            reports.append(report)
            trio.from_thread.run_sync(mount.may_save.set)
            if "failed" in report:
                break
        return reports, answers

    async def ask(server: ControlServer) -> None:
        reports, answers = await trio.to_thread.run_sync(drain)
        assert "failed" not in reports[0]
        assert reports[0]["dirty_files"] == 3
        assert reports[-1]["failed"] == [FAILED]
        assert reports[-1]["dirty_files"] == 1
        await trio.testing.wait_all_tasks_blocked()
        assert (mount.endings, mount.is_hurried) == (1, is_last), "until the client goes away"
        answers.close()
        await mount.ended.wait()
        assert not mount.is_hurried

    await _serving(mount, ask)


async def test_who_breaks_a_drain_off_lets_changes_in_while_it_is_saved_on() -> None:
    mount = Mount()

    def drain() -> None:
        answers = cast("Generator[Any]", ControlClient(MOUNTPOINT).drain())
        assert next(answers)["dirty_files"] == 3
        assert mount.endings == 1
        answers.close()

    async def ask(server: ControlServer) -> None:
        await trio.to_thread.run_sync(drain)
        with trio.fail_after(10):
            await mount.ended.wait()
        assert mount.left == 3
        mount.may_save.set()
        await mount.saved.wait()

    await _serving(mount, ask)


async def test_sync_saves_below_a_path_and_goes_on_without_its_client() -> None:
    mount = Mount()

    def sync() -> None:
        answers = cast("Generator[Any]", ControlClient(MOUNTPOINT).sync(["d", "\udcff"]))
        assert next(answers)["dirty_files"] == 3
        answers.close()

    async def ask(server: ControlServer) -> None:
        await trio.to_thread.run_sync(sync)
        mount.may_save.set()
        await mount.saved.wait()
        assert (mount.paths, mount.endings) == ([["d", "\udcff"]], 0)

    await _serving(mount, ask)


@pytest.mark.parametrize("count", [0, 1, 600])
async def test_pending_lists_any_number_of_files(count: int) -> None:
    mount = Mount()
    mount.files = [{"path": f"/{number}"} for number in range(count)]

    async def ask(server: ControlServer) -> None:
        assert await trio.to_thread.run_sync(ControlClient(MOUNTPOINT).pending) == mount.files

    await _serving(mount, ask)


@pytest.mark.parametrize("exit_status", [None, 0, 1])
async def test_the_cache_folder_is_known_until_all_is_saved(exit_status: int | None) -> None:
    async def ask(server: ControlServer) -> None:
        assert cache_folder_of(MOUNTPOINT) == Path("/cache")
        if exit_status is not None:
            await server.finish(exit_status)

    assert cache_folder_of(MOUNTPOINT) is None
    await _serving(Mount(), ask)
    assert cache_folder_of(MOUNTPOINT) == (None if exit_status == 0 else Path("/cache"))


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
        bad = b'{"command": "sync", "path": 3}\n'
        for line in (b'{"command": "rm"}\n', b"no json\n", b"[]\n", bad):
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

    def broken(path: Sequence[str] = ()) -> dict[str, Any]:
        raise ZeroDivisionError("bug")

    async def ask(server: ControlServer) -> None:
        mount.report = broken  # type: ignore[method-assign]
        client = ControlClient(MOUNTPOINT)
        assert await trio.to_thread.run_sync(list, client.watch()) == []
        mount.report = Mount().report  # type: ignore[method-assign]
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


async def test_a_warm_up_tells_how_far_it_is() -> None:
    mount = Mount()
    mount.warm_up = WarmUp()

    async def ask(server: ControlServer) -> None:
        client = ControlClient(MOUNTPOINT)
        reports = await trio.to_thread.run_sync(client.warm_up, [["a", "b"], []])
        assert mount.warm_up is not None
        assert await trio.to_thread.run_sync(next, reports) == {"files": 0}
        mount.warm_up.may_go_on.set()
        rest = await trio.to_thread.run_sync(list, reports)
        assert rest[-1] == {"files": 2, "failed": [{"path": "/a", "reason": "gone"}]}

    await _serving(mount, ask)
    assert mount.paths == [["a", "b"], []]


async def test_a_warm_up_ends_with_its_client() -> None:
    mount = Mount()
    mount.warm_up = WarmUp()

    async def ask(server: ControlServer) -> None:
        client = ControlClient(MOUNTPOINT)
        reports = await trio.to_thread.run_sync(client.warm_up, [[]])
        await trio.to_thread.run_sync(next, reports)
        reports.close()  # type: ignore[attr-defined]  # it is a generator
        assert mount.warm_up is not None
        with trio.fail_after(5):
            await mount.warm_up.was_cancelled.wait()

    await _serving(mount, ask)


async def test_a_mount_without_a_disk_cache_says_how_to_have_one() -> None:
    async def ask(server: ControlServer) -> None:
        client = ControlClient(MOUNTPOINT)
        with pytest.raises(ConfigurationError, match="read_cache=SIZE"):
            await trio.to_thread.run_sync(lambda: list(client.warm_up([[]])))

    await _serving(Mount(), ask)
