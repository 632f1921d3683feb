"""HttpClient: the only importer of requests, and the only threads and sockets of the wire.

The session gives TLS settings, certificates and proxies from the environment; `exchange`
does the talking. Methods of `urllib3`'s pools with an underscore are used on purpose: they are what
its own `urlopen` is made of, and a test here fails if they ever change.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

import requests
import trio
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util.connection import is_connection_dropped

from bucketfs import __version__
from bucketfs.counting.meter import Asked, Meter
from bucketfs.errors import ConfusedServer, Transient
from bucketfs.transport.exchange import BrokenConnection, Request, Response, exchange
from bucketfs.transport.wires import BlockingWire, TaskWire, done
from bucketfs.workers import Workers

_log = logging.getLogger(__name__)

WHAT_VERIFIES = "is the address right, and does REQUESTS_CA_BUNDLE name its authority?"
"""What a person may ask where a certificate cannot be verified."""

_YOUNG_S = 1.0
"""Servers close connections that nobody uses after seconds or minutes, not sooner."""

_IDLE_S = 30.0
"""A connection that nobody has used for so long is one too many."""

_QUICK_BYTES = 64 << 10
"""A body up to this size is hashed and sent in a fraction of a millisecond."""

Sign = Callable[[Request], Mapping[str, str]]
"""Makes the headers of a request, where it is sent (hashing a large body takes milliseconds)."""


_Kept = defaultdict[str, list[tuple[HTTPConnection, float]]]
"""Of each origin the open connections that are not in use, and since when."""


@dataclass(slots=True)
class _Use:
    """One use of a connection: its count, and whether another may follow."""

    of: Asked
    is_kept: bool = False


class HttpClient:
    """Sends requests over connections that are kept.

    What is small is sent by the task that asks. All else goes to worker threads, two lanes of
    `concurrency` each: answers that go into a sink may block where memory is short, and the
    requests that would free memory must not wait behind them.
    """

    def __init__(
        self,
        *,
        concurrency: int = 32,
        connect_timeout_s: float = 10.0,
        timeout_s: float = 60.0,
        verify: bool | str | None = None,
        is_environment_trusted: bool = True,
        meter: Meter | None = None,
    ) -> None:
        """Make a client; `verify` False or a CA file replace the usual check of certificates.

        `is_environment_trusted`: proxies and CA bundles come from the environment's variables.
        `meter` counts what is sent.
        """
        self._meter = meter or Meter()
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._verify = verify
        self._streams = Workers(concurrency, "stream")
        self._requests = Workers(concurrency, "request")
        self._session = requests.Session()
        self._session.trust_env = is_environment_trusted
        adapter = HTTPAdapter(pool_connections=8)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._adapter = adapter
        self._pools: dict[str, HTTPConnectionPool] = {}
        self._kept: _Kept = defaultdict(list)
        self._kept_here: _Kept = defaultdict(list)
        """As `_kept`, in non-blocking mode."""
        self._agent = f"bucketfs/{__version__}"

    async def send(self, request: Request, sign: Sign | None = None) -> Response:
        """Send `request` and return its answer, whatever its status; redirects are answers.

        `sign` makes the headers instead of `request.headers`. Not cancelled half-way: a request
        that has begun is finished first (at most until its timeout). A kept connection that turns
        out to be closed is replaced once, if the request is repeatable.
        Raises: Transient (no connection, no or a short answer), ConfusedServer (not HTTP, a bad
        certificate), and what the body, the intake, the sink or `sign` raise.
        """
        pool = self._pools.get(request.origin)
        if pool is None:
            pool = await self._requests.run(self._pool, request.origin)  # it loads certificates
        # Of a tunnel through a proxy only urllib3 knows what it is.
        if pool.proxy is None and _is_quick(request):
            response = await self._send_here(pool, request, sign)
        else:
            workers = self._requests if request.intake is None else self._streams
            response = await workers.run(self._send, request, sign)
        self._meter.note_date(response.headers.get("date"))
        return response

    async def aclose(self) -> None:
        """Close every connection that is not in use."""
        for kept in (*self._kept.values(), *self._kept_here.values()):
            while kept:
                kept.pop()[0].close()
        await trio.to_thread.run_sync(self._session.close)
        self._streams.close()
        self._requests.close()

    async def _send_here(
        self, pool: HTTPConnectionPool, request: Request, sign: Sign | None
    ) -> Response:
        """Send a request, and wait for its answer, in this task."""
        await trio.lowlevel.checkpoint_if_cancelled()
        headers, target = self._prepared(pool, request, sign)
        with self._using(pool, request, self._kept_here) as (connection, asked):
            while True:
                is_fresh = connection.sock is None
                if is_fresh:
                    await self._requests.run(self._connect, pool, connection)
                    connection.sock.settimeout(0)
                # Begun is finished: the server may carry it out whoever waits.
                scope = trio.CancelScope(shield=True)

                def progressed(scope: trio.CancelScope = scope) -> None:
                    scope.deadline = trio.current_time() + self._timeout_s

                progressed()
                try:
                    with scope:
                        wire = TaskWire(connection.sock, progressed)
                        response, asked.is_kept = await exchange(
                            wire, request, headers, target, asked.of
                        )
                        return response
                    raise Transient(f"no answer from {request.host}: timed out")
                except BrokenConnection as exc:
                    _check_stale(exc, request, is_fresh)
                connection.close()
                asked.of.sent_bytes = 0

    def _send(self, request: Request, sign: Sign | None) -> Response:
        """Send a request, and wait for its answer, in this worker thread."""
        pool = self._pool(request.origin)
        headers, target = self._prepared(pool, request, sign)
        with self._using(pool, request, self._kept) as (connection, asked):
            while True:
                is_fresh = connection.sock is None
                if is_fresh:
                    self._connect(pool, connection)
                    connection.sock.settimeout(self._timeout_s)
                try:
                    wire = BlockingWire(connection.sock)
                    work = exchange(wire, request, headers, target, asked.of)
                    response, asked.is_kept = done(work)
                    return response
                except BrokenConnection as exc:
                    _check_stale(exc, request, is_fresh)
                connection.close()
                asked.of.sent_bytes = 0

    def _prepared(
        self, pool: HTTPConnectionPool, request: Request, sign: Sign | None
    ) -> tuple[dict[str, str], str]:
        """Return the headers to send, and the target as it is written."""
        headers = {"User-Agent": self._agent}
        headers.update(request.headers if sign is None else sign(request))
        if pool.proxy is None or pool.scheme != "http":
            return headers, request.target
        headers.update(pool.proxy_headers)
        return headers, request.origin + request.target

    @contextmanager
    def _using(
        self, pool: HTTPConnectionPool, request: Request, kept: _Kept
    ) -> Iterator[tuple[HTTPConnection, _Use]]:
        """Give a connection for one request, count the request, and take the connection back."""
        connection = self._connection(pool, request, kept)
        asked = self._meter.begin(request.operation)
        use = _Use(asked)
        try:
            yield connection, use
        except (Transient, ConfusedServer):
            asked.is_failed = True  # though its head may have come
            raise
        finally:
            self._meter.end(asked)
            if use.is_kept:
                _keep(kept[request.origin], connection)
            else:
                connection.close()
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s%s: %s in %.1f ms",
                request.method,
                request.host,
                request.target,
                asked.status,
                (time.monotonic() - asked.began_s) * 1000,
            )

    def _connect(self, pool: HTTPConnectionPool, connection: HTTPConnection) -> None:
        try:
            connection.timeout = self._connect_timeout_s
            if pool.proxy is not None and pool.scheme == "https":
                pool._prepare_proxy(connection)
            if connection.sock is None:
                connection.connect()
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            if is_bad_certificate(exc):
                raise ConfusedServer(
                    f"the certificate of {pool.host} cannot be verified: {exc}; {WHAT_VERIFIES}"
                ) from exc
            raise Transient(f"cannot connect to {pool.host}: {exc}", sent=False) from exc

    def _connection(
        self, pool: HTTPConnectionPool, request: Request, kept: _Kept
    ) -> HTTPConnection:
        """Return a connection to use: the kept one that was used last, or a new one.

        A kept one that the server has closed is found out by using it, where the request may be
        repeated and it was not kept for long.
        """
        try:
            connection, since_s = kept[request.origin].pop()  # ATOMIC: in whichever thread
        except IndexError:
            return cast(HTTPConnection, pool._new_conn())
        is_young = time.monotonic() - since_s < _YOUNG_S
        if not (is_young and request.is_repeatable) and is_connection_dropped(connection):
            connection.close()
        return connection

    def _pool(self, origin: str) -> HTTPConnectionPool:
        pool = self._pools.get(origin)
        if pool is None:
            found = self._session.merge_environment_settings(origin, {}, None, self._verify, None)
            pool = cast(
                HTTPConnectionPool,
                self._adapter.get_connection_with_tls_context(
                    requests.Request("GET", origin).prepare(),
                    found["verify"],
                    proxies=found["proxies"],
                    cert=found["cert"],
                ),
            )
            self._pools[origin] = pool
        return pool


def _keep(kept: list[tuple[HTTPConnection, float]], connection: HTTPConnection) -> None:
    """Keep an open connection, and close those that a burst has left: the first are oldest."""
    now_s = time.monotonic()
    kept.append((connection, now_s))
    with suppress(IndexError):  # other threads take from the other end
        while kept[0][1] < now_s - _IDLE_S:
            kept.pop(0)[0].close()  # a younger one would be no loss


def _is_quick(request: Request) -> bool:
    """Whether nothing about a request waits for anything but the server, or takes long itself."""
    if request.intake is not None and not getattr(request.intake, "is_at_hand", False):
        return False
    body = request.body
    if body is None:
        return True
    if isinstance(body, bytes):
        return len(body) <= _QUICK_BYTES
    return body.size <= _QUICK_BYTES and getattr(body, "is_at_hand", False)


def _check_stale(exc: BrokenConnection, request: Request, is_fresh: bool) -> None:
    """Return where a kept connection was closed and the request may be sent over another one.

    Raises: Transient.
    """
    is_stale = not (is_fresh or exc.is_answered or exc.is_timeout)
    if not (is_stale and request.is_repeatable):
        raise Transient(f"no answer from {request.host}: {exc}") from exc


def is_bad_certificate(exc: BaseException | None) -> bool:
    """Return whether a certificate that cannot be verified is what `exc` came of."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
