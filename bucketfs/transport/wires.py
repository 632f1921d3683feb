"""The two ways over a socket: by a thread that waits for it, or by a task of trio's.

A thread costs the hand-over there and back, four times what a task costs that waits in trio's own
loop; but it may block: for memory, for a disk, for the hash of a large body.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio

T = TypeVar("T")

_NOT_READY = (BlockingIOError, ssl.SSLWantReadError)


class BlockingWire:
    """A socket with a timeout, for a worker thread: what is awaited here has been done already."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises: OSError."""
        self._socket.sendall(data)

    async def receive(self, most: int) -> bytes:
        """Return 1 to `most` bytes; none at the end. Raises: OSError."""
        return self._socket.recv(most)

    async def receive_into(self, view: memoryview) -> int:
        """Fill `view` until the first pause; return the count, 0 at the end. Raises: OSError."""
        return self._socket.recv_into(view)


def done(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing but a `BlockingWire`."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("something waited in a thread")


class TaskWire:
    """A socket in non-blocking mode (TLS or not), for a task.

    `progressed` is called at each step.
    """

    def __init__(self, sock: socket.socket, progressed: Callable[[], None]) -> None:
        self._socket = sock
        self._progressed = progressed
        self._is_answer_far = False

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises: OSError."""
        view = memoryview(data)
        while view.nbytes:
            try:
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self._socket)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._socket)
            self._progressed()
        self._is_answer_far = True

    async def receive(self, most: int) -> bytes:
        """Return 1 to `most` bytes; none at the end. Raises: OSError."""
        return await self._received(lambda: self._socket.recv(most))

    async def receive_into(self, view: memoryview) -> int:
        """Fill `view` until the first pause; return the count, 0 at the end. Raises: OSError."""
        return await self._received(lambda: self._socket.recv_into(view))

    async def _received(self, receive: Callable[[], T]) -> T:
        if self._is_answer_far:
            # It cannot be here already: to try would cost a call of the system.
            self._is_answer_far = False
            await trio.lowlevel.wait_readable(self._socket)
        while True:
            try:
                received = receive()
            except _NOT_READY:
                await trio.lowlevel.wait_readable(self._socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._socket)
            else:
                self._progressed()
                return received
