"""What a service manager is told, on a socket of its own and a clock that jumps."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from bucketfs.fuse.supervising import (
    INTERVAL_S,
    STALLED_S,
    Supervised,
    Supervisor,
)

EXTENDED = b"EXTEND_TIMEOUT_USEC=60000000\n"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        yield manager


def told(manager: socket.socket) -> list[bytes]:
    """Return what has been told so far, and is taken away."""
    lines = []
    while True:
        try:
            lines.append(manager.recv(4096))
        except BlockingIOError:
            return lines


async def reported(
    manager: socket.socket, folder: Path, states: list[Supervised], seconds: float = 20
) -> list[bytes]:
    """Report `states` one after the other, the last one again and again; return what is told."""
    heard = []

    def look() -> Supervised:
        heard.extend(told(manager))  # a queue of ten is all that there is
        return states.pop(0) if len(states) > 1 else states[0]

    with trio.move_on_after(seconds + 1):
        await Supervisor(str(folder / "notify")).report(look)
    return heard + told(manager)


async def test_the_status_is_told_when_it_changes(
    manager: socket.socket, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    states = [Supervised("a"), Supervised("a"), Supervised("b\nX=1"), Supervised("b\nX=1")]
    assert await reported(manager, tmp_path, states) == [b"STATUS=a", b"STATUS=b X=1"]


async def test_an_end_is_held_off_while_something_moves(
    manager: socket.socket, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    saving = [Supervised("saving", (number,), is_ending=True) for number in range(300)]
    heard = await reported(manager, tmp_path, [Supervised("up"), *saving], 300 * INTERVAL_S)
    assert heard == [b"STATUS=up", *[EXTENDED + b"STATUS=saving"] * 300]


async def test_an_end_at_which_nothing_moves_is_not_held_off_for_ever(
    manager: socket.socket, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    stuck = [Supervised("saving", (1,), is_ending=True)]
    heard = await reported(manager, tmp_path, stuck, 3 * STALLED_S)
    assert abs(len(heard) - STALLED_S / INTERVAL_S) <= 1


async def test_signs_of_life_come_only_after_answers(
    manager: socket.socket, tmp_path: Path
) -> None:
    service = Supervisor(str(tmp_path / "notify"), watchdog_s=0.3)
    may_answer, asked = threading.Event(), 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise OSError("not connected")
        if asked > 3:
            may_answer.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.feed, ask)
        await trio.sleep(2)
        assert (asked, told(manager)) == (4, [b"WATCHDOG=1"] * 2)
        may_answer.set()
        await trio.sleep(0.5)
        assert told(manager)[0] == b"WATCHDOG=1"
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_the_mount_is_not_asked(tmp_path: Path) -> None:
    await Supervisor(str(tmp_path / "notify")).feed(lambda: pytest.fail("asked"))


def test_an_abstract_address_is_one(tmp_path: Path) -> None:
    address = f"@bucketfs-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:])
        manager.settimeout(5)
        Supervisor(address).tell("READY=1", "STATUS=x")
        assert manager.recv(1000) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize("address", [None, "", "/no/such/socket"])
def test_without_a_service_manager_nothing_happens(address: str | None) -> None:
    Supervisor(address).tell("READY=1")
