"""What a service manager is told of the mount: that it is up, that it lives, what it waits for.

The protocol is sd_notify(3): assignments in a datagram to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

log = logging.getLogger(__name__)

EXTENSION_S = 60.0
"""How much longer a service manager shall wait, from each time that it is told so."""
INTERVAL_S = 5.0
"""How often the status is looked at."""
STALLED_S = 600.0
"""An end at which nothing has moved for so long is not held off any more: it is a bug, since every
request has an earlier limit of its own."""
_PINGS = 3
"""So many signs of life in the time that the watchdog allows for one."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """How the mount is: in words, what moves while work is done, and whether it is being ended."""

    status: str
    progress: tuple[int, ...] = ()
    is_ending: bool = False


class Supervisor:
    """What started this process as a service, and wants to be told how it is.

    `address` is what its NOTIFY_SOCKET says; None: there is none, and nothing is done. `watchdog_s`
    is how long it waits for a sign of life. A manager that does not listen is no error. Telling it
    something never waits.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s

    def tell(self, *lines: str) -> None:
        """Send assignments like `READY=1`."""
        if not self._address:
            return
        # "@" stands for the NUL of an abstract name.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode(errors="replace"), address)
        except OSError as exc:
            log.debug("the service manager was not told: %s", exc)

    def hold_off(self, status: str) -> None:
        """Ask for more time, to start or to end, and say what for."""
        self.tell(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * 1e6)}", f"STATUS={_one_line(status)}")

    async def report(self, look: Callable[[], Supervised]) -> None:
        """Tell the status whenever it is another, until cancelled.

        While the mount is being ended more time is asked for, as long as something moves.
        """
        told, moved_at = "", trio.current_time()
        moved: tuple[int, ...] = ()
        while True:
            state = look()
            if not state.is_ending or state.progress != moved:
                moved, moved_at = state.progress, trio.current_time()
            if state.is_ending and trio.current_time() - moved_at < STALLED_S:
                self.hold_off(state.status)
            elif state.status != told:
                self.tell(f"STATUS={_one_line(state.status)}")
            told = state.status
            await trio.sleep(INTERVAL_S)

    async def feed(self, ask: Callable[[], object]) -> None:
        """Give a sign of life each time that the mount has answered, until cancelled.

        `ask` waits, in a thread, for an answer of the mount's own (`ask_through_kernel`). Nothing
        is said until it has come; a mount that serves nobody any more is ended by the watchdog,
        although its timers still run. An `ask` that fails is one that was not answered.
        """
        if self._watchdog_s is None:
            return
        limiter = trio.CapacityLimiter(1)
        while True:
            try:
                await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=limiter)
            except OSError as exc:
                log.debug("the mount did not answer itself: %s", exc)
            else:
                self.tell("WATCHDOG=1")
            await trio.sleep(self._watchdog_s / _PINGS)


def ask_through_kernel(mountpoint: Path) -> None:
    """Return when the mount has answered a question; the kernel takes it to our own loop.

    statfs is never answered from a cache. A process of its own asks: a thread of this process that
    waits for this process keeps it from being killed, because the kernel waits for the answer and
    the connection stays open as long as any thread is there. Raises: OSError (no answer).
    """
    command = ["stat", "--file-system", "--", os.fspath(mountpoint)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())


def _one_line(text: str) -> str:
    return " ".join(text.split())
