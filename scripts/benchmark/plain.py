"""Plain HTTP: presigned requests over kept connections, with as little work as Python allows.

What this reaches is what the server gives: about 0.05 ms of CPU a request are the client's own.
"""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED_END = b"\r\n0\r\n\r\n"
_READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Call:
    """One request; `url` is presigned."""

    method: str
    url: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self) -> bytes:
        """Return the bytes that are sent."""
        parts = urlsplit(self.url)
        lines = [f"{self.method} {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class _Connection:
    """One connection with the answer that is coming."""

    def __init__(self, netloc: str) -> None:
        host, _, port = netloc.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending: Call | None = None
        self._answer = b""

    def send(self, call: Call) -> None:
        self._pending, self._answer = call, b""
        self.socket.sendall(call.encoded())

    def receive(self) -> bytes | None:
        """Return the body once all of it is here. Raises: OSError (a refusal)."""
        assert self._pending is not None
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError(f"{self._pending.url}: the server closed the connection")
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = _LENGTH.search(head)
        if self._pending.method == "HEAD" or head[9:12] == b"204":
            is_whole = True
        elif length is not None:
            is_whole = len(body) >= int(length[1])
        else:
            is_whole = body.endswith(_CHUNKED_END)
        if is_whole and not head[9:10] == b"2":
            raise OSError(f"{self._pending.method} {self._pending.url}: {head[:60]!r}")
        return body if is_whole else None


def carry_out(calls: Iterable[Call], connections: int = 1) -> list[bytes]:
    """Make all calls over so many connections; return the bodies as they came.

    Raises: OSError (a status that is none of success, a broken connection).
    """
    bodies: list[bytes] = []
    left: Iterator[Call] = iter(calls)
    selector = selectors.DefaultSelector()
    try:
        for call in islice(left, connections):
            connection = _Connection(urlsplit(call.url).netloc)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(call)
        while selector.get_map():
            for key, _ in selector.select():
                body = key.data.receive()
                if body is None:
                    continue
                bodies.append(body)
                following = next(left, None)
                if following is None:
                    selector.unregister(key.fileobj)
                    key.data.socket.close()
                else:
                    key.data.send(following)
    finally:
        for key in list(selector.get_map().values()):
            key.data.socket.close()
        selector.close()
    return bodies
