"""One HTTP/1.1 exchange on one open connection.

Why not all of `requests` for every request: its stack costs about a millisecond of Python per
call, which is what a small object costs in all. The connection (pool, TLS, proxies) stays
urllib3's; only the bytes that go over it are written and read here, and the body of an answer goes
straight into the caller's buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bucketfs.counting.meter import Asked
from bucketfs.errors import ConfusedServer

_JOINED_BYTES = 64 << 10
"""Head and body go out in one packet train up to here; copying more costs more than a syscall."""
_SEND_BYTES = 512 << 10
"""One `sendall`: a socket's timeout counts for the whole call, so calls have to stay short."""
_TAKE_BYTES = 256 << 10
"""One piece of an answer, after which its sink hears of progress."""
_READ_BUFFER_BYTES = 16 << 10
_HEAD_BYTES = 64 << 10
_PROTOCOL = b"HTTP/1."
_MOST_HEADERS = 256
_MOST_MEMORY_BYTES = 64 << 20
"""The largest body that is kept in memory (a listing of 1000 long keys is about 3 MiB)."""


class BodySource(Protocol):
    """Bytes to send; may be iterated again from its start.

    Iterated in a worker thread, unless it has an attribute `is_at_hand` that says that iterating
    waits for nothing.
    """

    @property
    def size(self) -> int:
        """How many bytes there are in all."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order."""


class BodySink(Protocol):
    """Where the body of an answer goes, called from one worker thread."""

    def room(self) -> memoryview:
        """Return where the next bytes go (it may block); an empty view ends the exchange early."""

    def advance(self, count: int) -> None:
        """Say that `count` bytes were put into the last `room`."""


@dataclass(frozen=True, slots=True)
class Intake:
    """A sink, and how many bytes of the body it is to get at most."""

    sink: BodySink
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """A final answer. Header names are lower-case; `body` is empty where a sink took it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send.

    `origin` is where to connect (`https://host:port`), `target` the encoded path and query, `host`
    what the Host header says. `intake` is asked in the worker thread, with the head of the answer,
    where its body goes; None: into `Response.body`; an exception it raises ends the exchange. One
    with an attribute `is_at_hand` that is true may be asked anywhere: nothing about it waits.
    `is_repeatable`: a second sending cannot do harm. `operation` is what the meter counts it as.
    """

    method: str
    origin: str
    target: str
    host: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | BodySource | None = None
    intake: Callable[[Response], Intake | None] | None = None
    is_repeatable: bool = True
    operation: str = "other"


class BrokenConnection(Exception):
    """The socket failed, timed out or ended too early.

    `is_answered`: some byte of the answer had come. `is_timeout`: the server may still be at it.
    """

    def __init__(self, reason: str, *, is_answered: bool, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.is_answered = is_answered
        self.is_timeout = is_timeout


class Wire(Protocol):
    """An open connection: `transport.wires` has one for worker threads and one for trio's tasks."""

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises: OSError."""

    async def receive(self, most: int) -> bytes:
        """Return 1 to `most` bytes; none at the end. Raises: OSError."""

    async def receive_into(self, view: memoryview) -> int:
        """Fill `view` until the first pause; return the count, 0 at the end. Raises: OSError."""


class Channel:
    """A wire whose failures are `BrokenConnection`, so that those of bodies and sinks are not."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = b""
        """What came and was not taken yet."""
        self._is_answered = False

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises: BrokenConnection."""
        try:
            await self._wire.send(data)
        except OSError as exc:
            raise self._broken(exc) from exc

    async def head(self) -> list[str]:
        """Return the lines up to the next empty one. Raises: BrokenConnection, ConfusedServer."""
        held, searched = self._held, 0
        while True:
            if held[: len(_PROTOCOL)] != _PROTOCOL[: len(held)]:
                raise ConfusedServer("the answer is not HTTP/1")
            end = held.find(b"\n\r\n", searched)
            bare = held.find(b"\n\n", searched, end + 1 if end >= 0 else len(held))
            if bare >= 0 or end >= 0:
                break
            if len(held) > _HEAD_BYTES:
                raise ConfusedServer("the head of the answer is too long")
            searched = max(0, len(held) - 2)
            held += await self._more()
        end, after = (bare, bare + 2) if bare >= 0 else (end, end + 3)
        self._held = held[after:]
        return [line.removesuffix("\r") for line in held[:end].decode("latin-1").split("\n")]

    @property
    def has_more(self) -> bool:
        """Whether something came that nobody has taken."""
        return bool(self._held)

    async def line(self) -> bytes:
        """Read one line without its end. Raises: BrokenConnection, ConfusedServer."""
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _HEAD_BYTES:
                raise ConfusedServer("a line of the answer is too long")
            self._held += await self._more()
        line, self._held = self._held[:end], self._held[end + 1 :]
        return line.removesuffix(b"\r")

    async def readinto(self, view: memoryview) -> int:
        """Fill `view` until the first pause; 0: the server closed. Raises: BrokenConnection."""
        if self._held:
            count = min(len(self._held), view.nbytes)
            view[:count] = self._held[:count]
            self._held = self._held[count:]
            return count
        try:
            return await self._wire.receive_into(view)
        except OSError as exc:
            raise self._broken(exc) from exc

    async def _more(self) -> bytes:
        """Return the next bytes, at least one. Raises: BrokenConnection."""
        try:
            data = await self._wire.receive(_READ_BUFFER_BYTES)
        except OSError as exc:
            raise self._broken(exc) from exc
        if not data:
            raise BrokenConnection(
                "the server closed the connection", is_answered=self._is_answered
            )
        self._is_answered = True
        return data

    def _broken(self, exc: OSError) -> BrokenConnection:
        return BrokenConnection(
            str(exc) or type(exc).__name__,
            is_answered=self._is_answered,
            is_timeout=isinstance(exc, TimeoutError),
        )


class _Framing:
    """Where the body of an answer ends: by length, by chunks, or with the connection."""

    def __init__(self, channel: Channel, method: str, head: Response) -> None:
        self._channel = channel
        self._is_chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        self._is_first_chunk = True
        self.is_complete = False
        self.is_until_close = False
        self._left: int | None = 0
        if method == "HEAD" or head.status in (204, 304):
            self.is_complete = True
        elif not self._is_chunked:
            length = head.headers.get("content-length")
            self._left = _whole_number(length, 10) if length is not None else None
            self.is_until_close = length is None
            self.is_complete = self._left == 0

    async def readinto(self, view: memoryview) -> int:
        """Fill some of `view`; 0 at the end of the body. Raises: BrokenConnection (too short)."""
        if self._is_chunked and self._left == 0 and not self.is_complete:
            await self._next_chunk()
        if self.is_complete:
            return 0
        count = await self._channel.readinto(view if self._left is None else view[: self._left])
        if self._left is None:
            self.is_complete = count == 0
            return count
        if count == 0:
            raise BrokenConnection("the answer is shorter than announced", is_answered=True)
        self._left -= count
        self.is_complete = self._left == 0 and not self._is_chunked
        return count

    async def _next_chunk(self) -> None:
        if not self._is_first_chunk:
            await self._channel.line()
        self._is_first_chunk = False
        self._left = _whole_number(
            (await self._channel.line()).split(b";")[0].decode("latin-1"), 16
        )
        if self._left == 0:
            while await self._channel.line():
                pass
            self.is_complete = True


async def exchange(
    wire: Wire,
    request: Request,
    headers: Mapping[str, str],
    target: str,
    asked: Asked,
) -> tuple[Response, bool]:
    """Send `request` with `headers`, read its answer; say whether the socket can be used again.

    An answer that comes before the body is all sent is an answer.
    What goes over the wire is noted in `asked`, also where it fails.
    Raises: BrokenConnection, ConfusedServer, and what the body, the intake or the sink raise; the
    caller closes the connection then.
    """
    channel = Channel(wire)
    is_all_sent = True
    try:
        await _send(channel, _head_bytes(request, headers, target), request.body, asked)
    except BrokenConnection as exc:
        if exc.is_timeout or request.body is None:
            raise
        is_all_sent = False  # A server that refuses closes while we still send: hear why.
    head = await _read_head(channel)
    asked.answered(head.status)
    framing = _Framing(channel, request.method, head)
    intake = request.intake(head) if request.intake is not None else None
    if intake is None:
        response = Response(head.status, head.headers, await _read_all(framing, asked))
    else:
        await _read_into(framing, intake, asked)
        response = head
    is_kept = "close" not in head.headers.get("connection", "").lower()
    is_kept = is_kept and is_all_sent and not channel.has_more
    return response, is_kept and framing.is_complete and not framing.is_until_close


def _head_bytes(request: Request, headers: Mapping[str, str], target: str) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {request.host}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    body = request.body
    if body is not None:
        lines.append(f"Content-Length: {len(body) if isinstance(body, bytes) else body.size}\r\n")
    elif request.method in ("PUT", "POST"):
        lines.append("Content-Length: 0\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


async def _send(
    channel: Channel, head: bytes, body: bytes | BodySource | None, asked: Asked
) -> None:
    pieces = (body,) if isinstance(body, bytes) else () if body is None else body
    size = len(body) if isinstance(body, bytes) else 0 if body is None else body.size
    held = bytearray(head)
    sent = 0
    for piece in pieces:
        view = memoryview(piece)
        sent += view.nbytes
        asked.sent_bytes += view.nbytes
        if len(held) + view.nbytes <= _JOINED_BYTES:
            held += view
            continue
        if held:
            await channel.send(held)
            held = bytearray()
        for start in range(0, view.nbytes, _SEND_BYTES):
            await channel.send(view[start : start + _SEND_BYTES])
    if sent != size:
        raise ValueError(f"a body of {size} bytes yielded {sent}")
    if held:
        await channel.send(held)


async def _read_head(channel: Channel) -> Response:
    while True:
        first, *lines = await channel.head()
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise ConfusedServer("the answer is not HTTP/1")
        if len(lines) > _MOST_HEADERS:
            raise ConfusedServer("the answer has too many headers")
        status = int(rest[:3])
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            value = value.strip(" \t")  # Not all that text calls blank: UTF-8 has such bytes.
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if version == "HTTP/1.0" and "connection" not in headers:
            headers["connection"] = "close"
        if status >= 200:
            return Response(status, headers)


async def _read_all(framing: _Framing, asked: Asked) -> bytes:
    body = bytearray()
    buffer = (
        memoryview(bytearray(_READ_BUFFER_BYTES)) if not framing.is_complete else memoryview(b"")
    )
    while count := await framing.readinto(buffer):
        body += buffer[:count]
        asked.received_bytes += count
        if len(body) > _MOST_MEMORY_BYTES:
            raise ConfusedServer("the answer is larger than any that was asked for")
        if len(body) > len(buffer):
            buffer = memoryview(bytearray(_TAKE_BYTES))
    return bytes(body)


async def _read_into(framing: _Framing, intake: Intake, asked: Asked) -> None:
    taken = 0
    while taken < intake.limit_bytes:
        room = intake.sink.room()
        if not room.nbytes:
            return
        count = await framing.readinto(room[: min(_TAKE_BYTES, intake.limit_bytes - taken)])
        if count == 0:
            return
        # Before the sink: whoever waits for these bytes may ask for the count at once.
        asked.received_bytes += count
        intake.sink.advance(count)
        taken += count


def _whole_number(text: str, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError as exc:
        raise ConfusedServer("the answer's length is not a number") from exc
    if number < 0:
        raise ConfusedServer("the answer's length is negative")
    return number
