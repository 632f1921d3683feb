"""HttpClient: the only importer of requests, and the only threads of the wire.

The session gives pools, TLS settings, certificates and proxies from the environment; `exchange`
does the talking. `urllib3`'s pool methods with an underscore are used on purpose: they are what
its own `urlopen` is made of, and a test here fails if they ever change.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import cast

import requests
import trio
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from bucketfs import __version__
from bucketfs.counting.meter import Asked, Meter
from bucketfs.errors import ConfusedServer, Transient
from bucketfs.transport.exchange import BrokenConnection, Request, Response, exchange
from bucketfs.workers import Workers

_log = logging.getLogger(__name__)

WHAT_VERIFIES = "is the address right, and does REQUESTS_CA_BUNDLE name its authority?"
"""What a person may ask where a certificate cannot be verified."""

LOOKS = 4
"""HEADs at a time for each other request: a look costs a round trip and little else."""

Sign = Callable[[Request], Mapping[str, str]]
"""Makes the headers of a request, in the worker thread (hashing a body takes milliseconds)."""


class HttpClient:
    """Sends requests from worker threads over connections that are kept.

    Two lanes of `concurrency` threads each: answers that go into a sink may block where memory is
    short, and the requests that would free memory must not wait behind them. HEADs, which carry
    nothing, have a lane of `LOOKS` times as many.
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
        self._looks = Workers(LOOKS * concurrency, "look")
        self._session = requests.Session()
        self._session.trust_env = is_environment_trusted
        adapter = HTTPAdapter(pool_connections=8, pool_maxsize=(2 + LOOKS) * concurrency)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._adapter = adapter
        self._pools: dict[str, HTTPConnectionPool] = {}
        self._agent = f"bucketfs/{__version__}"

    async def send(self, request: Request, sign: Sign | None = None) -> Response:
        """Send `request` and return its answer, whatever its status; redirects are answers.

        `sign` makes the headers instead of `request.headers`. Not cancelled half-way: a request
        that has begun is finished first (at most until its timeout). A kept connection that turns
        out to be closed is replaced once, if the request is repeatable.
        Raises: Transient (no connection, no or a short answer), ConfusedServer (not HTTP, a bad
        certificate), and what the body, the intake, the sink or `sign` raise.
        """
        workers = self._looks if request.method == "HEAD" else self._requests
        if request.intake is not None:
            workers = self._streams
        return await workers.run(self._send, request, sign)

    async def aclose(self) -> None:
        """Close every connection that is not in use."""
        await trio.to_thread.run_sync(self._session.close)
        self._streams.close()
        self._requests.close()
        self._looks.close()

    def _send(self, request: Request, sign: Sign | None) -> Response:
        headers = {"User-Agent": self._agent}
        headers.update(request.headers if sign is None else sign(request))
        pool = self._pool(request.origin)
        target = request.target
        if pool.proxy is not None and pool.scheme == "http":
            target = request.origin + target
            headers.update(pool.proxy_headers)
        connection = cast(HTTPConnection, pool._get_conn())
        is_kept = False
        asked = self._meter.begin(request.operation)
        try:
            response, is_kept = self._exchange(pool, connection, request, headers, target, asked)
        except (Transient, ConfusedServer):
            asked.is_failed = True  # though its head may have come
            raise
        finally:
            self._meter.end(asked)
            if not is_kept:
                connection.close()
            pool._put_conn(connection)
        self._meter.note_date(response.headers.get("date"))
        if _log.isEnabledFor(logging.DEBUG):
            took_ms = (time.monotonic() - asked.began_s) * 1000
            _log.debug(
                "%s %s%s: %d in %.1f ms",
                request.method,
                request.host,
                request.target,
                response.status,
                took_ms,
            )
        return response

    def _exchange(
        self,
        pool: HTTPConnectionPool,
        connection: HTTPConnection,
        request: Request,
        headers: Mapping[str, str],
        target: str,
        asked: Asked,
    ) -> tuple[Response, bool]:
        is_fresh = connection.sock is None
        while True:
            if connection.sock is None:
                self._connect(pool, connection)
            try:
                return exchange(connection.sock, request, headers, target, asked)
            except BrokenConnection as exc:
                is_stale = not (is_fresh or exc.is_answered or exc.is_timeout)
                if not (is_stale and request.is_repeatable):
                    raise Transient(f"no answer from {request.host}: {exc}") from exc
            connection.close()
            asked.sent_bytes = 0
            is_fresh = True

    def _connect(self, pool: HTTPConnectionPool, connection: HTTPConnection) -> None:
        try:
            connection.timeout = self._connect_timeout_s
            if pool.proxy is not None and pool.scheme == "https":
                pool._prepare_proxy(connection)
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(self._timeout_s)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            if is_bad_certificate(exc):
                raise ConfusedServer(
                    f"the certificate of {pool.host} cannot be verified: {exc}; {WHAT_VERIFIES}"
                ) from exc
            raise Transient(f"cannot connect to {pool.host}: {exc}", sent=False) from exc

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


def is_bad_certificate(exc: BaseException | None) -> bool:
    """Return whether a certificate that cannot be verified is what `exc` came of."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
