"""The endpoint for collectors of metrics: one text, by HTTP, for this machine only.

Enough of HTTP/1.1 to answer a GET, and no more: each connection has one answer.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
_HEAD_BYTES = 16 << 10
_AT_ONCE = 8


def parse_address(text: str) -> tuple[str, int] | Path:
    """Return host and port, or the path of a unix socket. Raises: ConfigurationError."""
    if text.startswith("/"):
        return Path(text)
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"metrics={text} is no address: it is 127.0.0.1:PORT, [::1]:PORT or /path/of/a/socket"
        )
    host = "127.0.0.1" if host == "localhost" else host
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ConfigurationError(
            f"metrics={text} is not of this machine only, and nobody is asked for a password there:"
            " it is 127.0.0.1:PORT, [::1]:PORT or /path/of/a/socket (let a proxy show it to others)"
        )
    return host, int(port)


async def serve_metrics(
    address: str,
    content_type: str,
    render: Callable[[], str],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer with what `render` returns, until cancelled. Start it with `start()`.

    Raises: ConfigurationError (the address is wrong or taken).
    """
    place = parse_address(address)
    try:
        listener = await _listening(place)
    except OSError as exc:
        raise ConfigurationError(f"metrics={address} cannot be used: {exc.strerror}") from exc
    limiter = trio.CapacityLimiter(_AT_ONCE)
    handler = partial(_answer, content_type=content_type, render=render, limiter=limiter)
    try:
        task_status.started()
        await trio.serve_listeners(handler, [trio.SocketListener(listener)])
    finally:
        if isinstance(place, Path):
            place.unlink(missing_ok=True)


async def _listening(place: tuple[str, int] | Path) -> trio.socket.SocketType:
    if isinstance(place, Path):
        listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _free(place)
        await listener.bind(os.fspath(place))
        os.chmod(place, 0o600)  # nobody gets in before `listen`
    else:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        listener = trio.socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listener.bind(place)
    listener.listen(16)
    return listener


def _free(place: Path) -> None:
    """Take away the socket of a mount that was killed; anything else is left."""
    if place.is_socket():
        place.unlink()


async def _answer(
    stream: trio.SocketStream,
    *,
    content_type: str,
    render: Callable[[], str],
    limiter: trio.CapacityLimiter,
) -> None:
    """Answer one client; whatever it does, the mount goes on."""
    try:
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            async with limiter:
                await stream.send_all(_response(await _request_line(stream), content_type, render))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("a client of the metrics went away")
    except Exception:
        log.exception("the metrics could not be told")
    finally:
        await trio.aclose_forcefully(stream)


async def _request_line(stream: trio.SocketStream) -> list[str]:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        piece = await stream.receive_some(_HEAD_BYTES)
        if not piece:
            break
        head += piece
    return head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")


def _response(line: list[str], content_type: str, render: Callable[[], str]) -> bytes:
    method, target = (line[0], line[1].partition("?")[0]) if len(line) == 3 else ("", "")
    status, body = "200 OK", b""
    if method not in ("GET", "HEAD"):
        status = "405 Method Not Allowed"
    elif target not in ("/", "/metrics"):
        status = "404 Not Found"
    else:
        body = render().encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)
