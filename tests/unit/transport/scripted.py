"""A small HTTP server in threads on 127.0.0.1, whose answers and failures a test writes itself."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

STRANGER = Path(__file__).parent / "stranger.pem"
"""Key and certificate of 127.0.0.1 that no authority vouches for."""


@dataclass(frozen=True)
class Heard:
    """A request as it came over the wire; header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket, Heard], bool]
"""Answers on the socket; returns whether the connection stays open."""


def reply(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, is_kept: bool = True
) -> Answer:
    """Return an Answer with a Content-Length."""

    def answer(connection: socket.socket, heard: Heard) -> bool:
        lines = {"Content-Length": str(len(body)), **(headers or {})}
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        connection.sendall(
            head.encode("latin-1") + b"\r\n" + (b"" if heard.method == "HEAD" else body)
        )
        return is_kept

    return answer


def raw(data: bytes) -> Answer:
    """Return an Answer that sends `data` and closes."""

    def answer(connection: socket.socket, heard: Heard) -> bool:
        connection.sendall(data)
        return False

    return answer


class ScriptedServer:
    """Gives the answers of `script` in order (the last again and again); keeps what it heard.

    `certificate`: speak TLS with this.
    """

    def __init__(
        self,
        *script: Answer,
        before_body: Answer | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.script = list(script)
        self.heard: list[Heard] = []
        self.connections = 0
        self._before_body = before_body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        scheme = "http" if certificate is None else "https"
        self.origin = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> ScriptedServer:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with connection, connection.makefile("rb") as file, suppress(OSError):
            while line := file.readline():
                method, target, _ = line.decode("latin-1").split()
                headers = {}
                while (line := file.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                heard = Heard(method, target, headers, b"")
                if self._before_body is not None:
                    self._before_body(connection, heard)
                    return
                body = file.read(int(headers.get("content-length", "0")))
                self.heard.append(Heard(method, target, headers, body))
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not answer(connection, self.heard[-1]):
                    return
