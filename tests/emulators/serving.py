"""Emulators of clouds as real HTTP servers on 127.0.0.1: what was asked, knobs, start and stop.

An emulator is a pure function from a request to an answer (`Emulator.answer`); this file puts it
behind cheroot, a threaded server with persistent connections. Requests are kept as they came: raw
target, raw header bytes (as latin-1), because signatures are over exactly that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest
from werkzeug.wrappers import Response

THREADS = 24


@dataclass(frozen=True)
class Ask:
    """One request. Names of headers are lower-case, values latin-1 text of the bytes that came.

    `target` is what stood in the request line, without scheme and host where it had these;
    `path` its path, percent-decoded once; `query` its pairs, decoded, in their order.
    """

    method: str
    host: str
    target: str
    path: bytes
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """Return the path without its first slash; bytes that are no UTF-8 are escaped."""
        return self.path[1:].decode("utf-8", "surrogateescape")

    def parameter(self, name: str) -> str | None:
        """Return the value of a query parameter, None where it is not there."""
        return dict(self.query).get(name)


@dataclass
class Knobs:
    """What a test may turn: the server's clock, refusals, lies; and what it may look at.

    `refuse` is asked first: an answer of its own goes out instead of the emulator's. `spoil` may
    change an answer before it goes out. `seen` are the requests so far.
    """

    skew_s: float = 0.0
    refuse: Callable[[Ask], Response | None] | None = None
    spoil: Callable[[Ask, Response], Response] | None = None
    seen: list[Ask] = field(default_factory=list)

    def now_s(self) -> float:
        """Return the server's time in seconds since 1970."""
        return time.time() + self.skew_s

    def refuse_next(self, count: int, answer: Callable[[Ask], Response], method: str = "") -> None:
        """Give `answer` to the next `count` requests (of `method`, if given)."""
        left = [count]
        lock = threading.Lock()

        def refuse(ask: Ask) -> Response | None:
            with lock:
                if left[0] <= 0 or (method and ask.method != method):
                    return None
                left[0] -= 1
            return answer(ask)

        self.refuse = refuse

    def reset(self) -> None:
        """Turn everything back, and forget what was seen."""
        self.skew_s, self.refuse, self.spoil = 0.0, None, None
        self.seen.clear()


class Emulator(Protocol):
    """A cloud in memory. `make()` of each package `tests.emulators.CLOUD` returns one."""

    knobs: Knobs

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that give a client keys which this cloud knows."""

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses; return its name as it stands in a URL."""

    def answer(self, ask: Ask) -> Response:
        """Answer a request; called from many threads at once."""


@dataclass(frozen=True)
class RunningEmulator:
    """An emulator that listens at `endpoint` (http://127.0.0.1:port)."""

    name: str
    endpoint: str
    emulator: Any

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables that give a process the right keys and no others."""
        found: Mapping[str, str] = self.emulator.environment
        return found

    @property
    def knobs(self) -> Knobs:
        """Return what a test may turn."""
        found: Knobs = self.emulator.knobs
        return found

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses and return its name."""
        name: str = self.emulator.make_bucket()
        return name


def parse(environ: Mapping[str, Any]) -> Ask:
    """Return the request that a WSGI environment stands for, its body read to the end."""
    target: str = environ["REQUEST_URI"]
    host = environ.get("HTTP_HOST", "")
    if not target.startswith("/"):
        # The absolute form, as to a proxy: its host counts (RFC 9112, 3.2.2).
        host, slash, rest = target.partition("://")[2].partition("/")
        target = slash + rest or "/"
    path, _, query = target.partition("?")
    return Ask(
        environ["REQUEST_METHOD"],
        host,
        target,
        unquote_to_bytes(path.encode("latin-1")),
        tuple(parse_qsl(query, keep_blank_values=True, errors="surrogateescape")),
        environ["emulator.headers"],
        _whole_body(environ),
    )


def _whole_body(environ: Mapping[str, Any]) -> bytes:
    """Read the body. Raises: ConnectionError, where the client died before it had sent it all."""
    body: bytes = environ["wsgi.input"].read()
    if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
        raise ConnectionError("the client died in the middle of a request")
    return body


def application(emulator: Emulator) -> Callable[[Any, Any], Iterable[bytes]]:
    """Return the WSGI application of an emulator, with its knobs."""

    def respond(environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            ask = parse(environ)
        except ConnectionError:
            nobody: Iterable[bytes] = Response(status=400)(environ, start_response)
            return nobody
        knobs = emulator.knobs
        knobs.seen.append(ask)
        response = knobs.refuse(ask) if knobs.refuse is not None else None
        if response is None:
            response = emulator.answer(ask)
        if knobs.spoil is not None:
            response = knobs.spoil(ask, response)
        found: Iterable[bytes] = response(environ, start_response)
        return found

    return respond


class _Gateway(wsgi.Gateway_10):
    def get_environ(self) -> Any:
        """Add the headers as they are: WSGI's names do not tell `_` from `-`."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ["emulator.headers"] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self.req.inheaders.items()
        }
        return environ


class _Request(HTTPRequest):
    def __init__(self, server: Any, connection: Any) -> None:
        """Accept absolute targets: official SDKs are pointed here as at a proxy."""
        super().__init__(server, connection, proxy_mode=True)


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    nodelay = True
    keep_alive_conn_limit = 512
    timeout = 60


@contextmanager
def serving(emulator: Emulator, port: int = 0) -> Iterator[str]:
    """Serve `emulator` on 127.0.0.1 for the time of the block; yield http://127.0.0.1:port."""
    server = _Server(
        ("127.0.0.1", port), application(emulator), numthreads=THREADS, request_queue_size=256
    )
    server.gateway = _Gateway
    server.prepare()
    thread = threading.Thread(target=server.serve, name="emulator", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join(10)
