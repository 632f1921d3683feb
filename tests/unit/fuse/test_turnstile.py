"""Turns at the kernel's descriptor: one at a time, none lost, nothing starved."""

from __future__ import annotations

import os
import socket

import pyfuse3
import pytest
import trio
import trio.testing

from bucketfs.fuse import turnstile
from bucketfs.fuse.turnstile import Readiness, Turn


async def test_one_has_the_turn_and_the_next_gets_it() -> None:
    turn = Turn()
    inside: list[int] = []
    order: list[int] = []

    async def take(number: int) -> None:
        async with turn:
            assert not inside
            inside.append(number)
            order.append(number)
            await trio.testing.wait_all_tasks_blocked()
            inside.remove(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(take, number)
    assert sorted(order) == list(range(5))


async def test_who_is_cancelled_while_waiting_keeps_nobody_from_it() -> None:
    turn = Turn()
    taken: list[str] = []

    async def take(name: str) -> None:
        async with turn:
            taken.append(name)

    async with trio.open_nursery() as nursery, turn:
        scope = trio.CancelScope()

        async def given_up() -> None:
            with scope:
                await take("given up")

        nursery.start_soon(given_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(take, "patient")
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        # The turn is free, and the cancelled one may have been woken for it.
    assert taken[-1] == "patient"


async def test_what_is_readable_is_not_waited_for_but_lets_others_run() -> None:
    reader, writer = socket.socketpair()
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    with reader, writer:
        writer.send(b"always readable")
        readiness = Readiness()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await readiness.wait(reader.fileno())
            assert others == 0
            for _ in range(100):
                await readiness.wait(reader.fileno())
            assert others > 0
            nursery.cancel_scope.cancel()


async def test_it_waits_for_what_is_not_readable() -> None:
    reader, writer = os.pipe()
    readiness = Readiness()
    try:
        with trio.move_on_after(0.05) as scope:
            await readiness.wait(reader)
        assert scope.cancelled_caught
        os.write(writer, b"x")
        await readiness.wait(reader)
        async with trio.open_nursery() as nursery:
            os.read(reader, 1)

            async def closed() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await readiness.wait(reader)

            nursery.start_soon(closed)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.notify_closing(reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_pyfuse3_finds_all_that_it_uses_of_trio() -> None:
    names = vars(pyfuse3)
    before = names["trio"]
    try:
        turnstile.install()
        installed = names["trio"]
    finally:
        names["trio"] = before
    # What pyfuse3's source says `trio.` of (3.4 to 3.5).
    for name in ("Lock", "open_nursery", "ClosedResourceError"):
        assert hasattr(installed, name)
    for name in ("wait_readable", "notify_closing", "current_trio_token", "current_task"):
        assert hasattr(installed.lowlevel, name)
