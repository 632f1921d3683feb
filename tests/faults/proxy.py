"""An HTTP proxy in front of a test server that fails on demand.

Faults: "403", "500", "503" (answers instead of the server's), "reset" (nothing is forwarded),
"lost" (carried out, then reset), "late" (carried out, then silence for LATE_S), "cut" (half an
answer), "hang" (silence), "etag" (carried out, answered with another ETag), "error200" (a copy or
a commit is answered by 200 and an error as its body), "doubled" (each entry of a listing comes
twice). A fault that has no meaning for a request lets it pass.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please</Message></Error>"

DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No</Message></Error>"

INTERNAL = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>Oh</Message></Error>"

ANSWERS = {"403": DENIED, "500": INTERNAL, "503": SLOW_DOWN}

INTERNAL_JSON = b'{"code":"InternalError","message":"Oh","requestId":"none"}'

LATE_S = 5.0

SKIPPED = ("connection", "transfer-encoding", "content-length")

Rule = Callable[[str, str], str | None]
"""From method and path to None (forward) or the name of a fault."""


@dataclass
class FaultyServer:
    """Where the proxy listens, and the rule that it follows; `seen` are the requests so far.

    `received_bytes` is what their bodies were long, `answered_bytes` what those of answers were.
    """

    url: str
    rule: Rule = field(default=lambda method, path: None)
    seen: list[tuple[str, str]] = field(default_factory=list)
    received_bytes: int = 0
    answered_bytes: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def fail_next(self, count: int, fault: str, method: str = "") -> None:
        """Let the next `count` requests (of `method`, if given) meet `fault`."""
        left = [count]
        lock = threading.Lock()

        def rule(this: str, path: str) -> str | None:
            with lock:
                if left[0] <= 0 or (method and this != method):
                    return None
                left[0] -= 1
                return fault

        self.rule = rule

    def fail_always(self, fault: str, method: str = "") -> None:
        """Let every request (of `method`, if given) meet `fault` until `heal`."""
        self.rule = lambda this, path: fault if not method or this == method else None

    def heal(self) -> None:
        """Forward everything again."""
        self.rule = lambda method, path: None


def doubled(listing: bytes) -> bytes:
    """Return a listing in which every object and common prefix comes twice; else what it was."""
    if listing.startswith(b"{"):
        return re.sub(rb'"contents":\s*\[(.+)\]', rb'"contents":[\1,\1]', listing, flags=re.DOTALL)
    if b"ListBucket" not in listing:
        return listing
    entry = rb"(<(Contents|CommonPrefixes)>.*?</\2>)"
    return re.sub(entry, rb"\1\1", listing, flags=re.DOTALL)


def _other(etag: str) -> str:
    """Return an ETag of the same form that no object has."""
    return etag.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))


@contextmanager
def faulty(backend: str, port: int = 0) -> Iterator[FaultyServer]:
    """Run a proxy before `backend` (http://host:port) for the time of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    state = FaultyServer(f"http://127.0.0.1:{server.server_address[1]}")
    server.state = state  # type: ignore[attr-defined]
    server.backend = urlsplit(backend).netloc  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        state: FaultyServer = self.server.state  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.seen.append((self.command, self.path))
        state.received_bytes += len(body)
        fault = state.rule(self.command, self.path)
        if fault in ANSWERS:
            self._answer(int(fault), [("Content-Type", "application/xml")], ANSWERS[fault])
        elif fault == "error200" and self._is_slow():
            is_json = any(name.lower().startswith("x-bce") for name in self.headers)
            self._answer(200, [], INTERNAL_JSON if is_json else INTERNAL)
        elif fault == "reset":
            self._reset()
        elif fault == "hang":
            state.released.wait(60)
            self._reset()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _forward(self, body: bytes, fault: str | None) -> None:
        state: FaultyServer = self.server.state  # type: ignore[attr-defined]
        backend: str = self.server.backend  # type: ignore[attr-defined]
        connection = http.client.HTTPConnection(backend, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            state.answered_bytes += len(data)
            headers = answer.getheaders()
        finally:
            connection.close()
        if fault == "late":
            state.released.wait(LATE_S)
        if fault in ("lost", "late"):
            self._reset()
        elif fault == "cut" and len(data) > 1:
            self._answer(answer.status, headers, data, cut=len(data) // 2)
        elif fault == "etag":
            other = [(n, _other(v) if n.lower() == "etag" else v) for n, v in headers]
            self._answer(answer.status, other, data)
        elif fault == "doubled" and self.command == "GET":
            self._answer(answer.status, headers, doubled(data))
        else:
            self._answer(answer.status, headers, data)

    def _is_slow(self) -> bool:
        """Return whether a server may answer this by 200 before it knows the outcome."""
        is_commit = self.command == "POST" and "uploadId=" in self.path
        return is_commit or any(name.lower().endswith("copy-source") for name in self.headers)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, cut: int | None = None
    ) -> None:
        self.send_response_only(status)
        is_head = self.command == "HEAD"
        for name, value in headers:
            if name.lower() not in SKIPPED or (is_head and name.lower() == "content-length"):
                self.send_header(name, value)
        if not is_head and status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not is_head:
            self.wfile.write(data[:cut])
        if cut is not None:
            self._reset()

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
