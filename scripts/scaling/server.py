"""An S3 server over computed keys: listings, HEAD and GET; every answer after the same delay.

One more object, `large.bin`, comes as from far away: each connection brings so much a second, all
of them together four times as much.

One asyncio task, no threads: it must cost less than what it measures. `GET /-/counts` tells what
was asked so far as JSON. Signatures are not looked at. `python -m scripts.scaling.server --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote

from scripts.scaling.keyspace import KeySpace

COUNTS = "/-/counts"
LARGE = "large.bin"
LARGE_BYTES = 256 << 20
CONNECTION_BYTES_S = 32 << 20
LINE_BYTES_S = 128 << 20
_BLOCK = bytes(128 << 10)
MODIFIED_ISO = "2024-05-06T07:08:09.000Z"
MODIFIED_HTTP = "Mon, 06 May 2024 07:08:09 GMT"
PAGE = 1000
REASONS = {200: "OK", 206: "Partial Content", 404: "Not Found", 416: "Range Not Satisfiable"}


class Bucket:
    """What requests for one bucket are answered."""

    def __init__(self, keys: KeySpace) -> None:
        self.keys = keys
        self.counts: Counter[str] = Counter()
        self.next_s = 0.0
        """When the line is free for the next block of a large body."""

    def answer(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes | int]:
        """Return status, headers and body; or how many zeros it has, which come slowly."""
        path, _, query = target.partition("?")
        if target == COUNTS:
            return 200, {}, json.dumps(self.counts).encode()
        _, _, key = path[1:].partition("/")
        if not key:
            self.counts["LIST"] += 1
            return 200, {"Content-Type": "application/xml"}, self._listing(dict(parse_qsl(query)))
        self.counts[method] += 1
        if key == LARGE:
            return self._large(headers.get("range", ""))
        number = self.keys.find(unquote(key))
        if number is None:
            return 404, {}, b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"
        return self._object(number, headers.get("range", ""))

    def _large(self, wanted: str) -> tuple[int, Mapping[str, str], int]:
        first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        end = min(int(last or LARGE_BYTES), LARGE_BYTES - 1)
        found = {"ETag": f'"{0:031x}1"', "Last-Modified": MODIFIED_HTTP}
        if wanted:
            found["Content-Range"] = f"bytes {first}-{end}/{LARGE_BYTES}"
        return 206 if wanted else 200, found, end - int(first) + 1

    def _object(self, number: int, wanted: str) -> tuple[int, Mapping[str, str], bytes]:
        body = content(number)
        found = {"ETag": f'"{number:032x}"', "Last-Modified": MODIFIED_HTTP}
        if not wanted:
            return 200, found, body
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last or len(body)) + 1]
        if not part:
            return 416, {}, b"<Error><Code>InvalidRange</Code></Error>"
        end = int(first) + len(part) - 1
        return 206, {**found, "Content-Range": f"bytes {first}-{end}/{len(body)}"}, part

    def _listing(self, query: Mapping[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys", PAGE)), PAGE)
        token = query.get("continuation-token", "")
        after = base64.urlsafe_b64decode(token).decode() if token else query.get("start-after", "")
        if prefix == LARGE:
            return _document(prefix, limit, _contents(LARGE, LARGE_BYTES, f"{0:031x}1"), "", "")
        page = self.keys.page(prefix, delimiter, after, limit)
        objects = "".join(
            _contents(key, size(number), f"{number:032x}") for number, key in page.objects
        )
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in page.prefixes
        )
        marker = page.next_marker
        following = base64.urlsafe_b64encode(marker.encode()).decode() if marker else ""
        return _document(prefix, limit, objects, prefixes, following)


def _contents(key: str, length: int, etag: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{MODIFIED_ISO}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{length}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _document(prefix: str, limit: int, objects: str, prefixes: str, following: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
        f"<Prefix>{quote(prefix)}</Prefix><EncodingType>url</EncodingType>"
        f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(bool(following)).lower()}"
        f"</IsTruncated>{objects}{prefixes}"
        f"<NextContinuationToken>{following}</NextContinuationToken></ListBucketResult>"
    ).encode()


def size(number: int) -> int:
    """Return the size of an object."""
    return 4096 + number % 1000


def content(number: int) -> bytes:
    """Return the bytes of an object."""
    return (f"{number:015}\n".encode() * (size(number) // 16 + 1))[: size(number)]


class Connection(asyncio.Protocol):
    """One connection: requests without bodies, one after the other."""

    def __init__(self, bucket: Bucket, delay_s: float) -> None:
        self._bucket = bucket
        self._delay_s = delay_s
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._is_paused = self._is_waiting = False
        self._left = 0
        self._next_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer whole requests."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ", 2)
            pairs = (one.partition(":") for one in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            asyncio.get_running_loop().call_later(
                0 if target == COUNTS else self._delay_s, self._answer, method, target, headers
            )

    def _answer(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        assert self._transport is not None
        status, fields, body = self._bucket.answer(method, target, headers)
        length = len(body) if isinstance(body, bytes) else body
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        if method == "HEAD":
            self._transport.write(head)
        elif isinstance(body, bytes):
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._trickle(body)

    def pause_writing(self) -> None:
        """Stop: the client reads no more for the moment."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        if not self._is_waiting:
            self._trickle(self._left)

    def _trickle(self, left: int) -> None:
        """Send what is left of a large body, at the pace of this connection and of the line."""
        self._left = left
        assert self._transport is not None
        if not left or self._is_paused or self._transport.is_closing():
            return
        loop, block = asyncio.get_running_loop(), min(left, len(_BLOCK))
        self._transport.write(_BLOCK[:block])
        now_s = loop.time()
        own_s = max(now_s, self._next_s) + block / CONNECTION_BYTES_S
        line = self._bucket
        line.next_s = max(now_s, line.next_s) + block / LINE_BYTES_S
        self._next_s = own_s
        self._left, self._is_waiting = left - block, True
        loop.call_at(max(own_s, line.next_s), self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        self._trickle(self._left)


async def serve(count: int, delay_s: float, port: int) -> None:
    """Serve until cancelled; print the port once connections are taken."""
    bucket = Bucket(KeySpace(count))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(bucket, delay_s), "127.0.0.1", port, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve what argv asks for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.scaling.server", description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000, help="files of each shape (10,000)")
    parser.add_argument("--delay-ms", type=float, default=0, help="before every answer (0)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one; it is printed")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.keys, arguments.delay_ms / 1000, arguments.port))


if __name__ == "__main__":
    main()
