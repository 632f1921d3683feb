"""A bucket in memory behind a real HTTP server, as generous or stubborn as a test wants."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from bucketfs.storage.s3.calls import Payload
from bucketfs.storage.s3.store import S3Store
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource, FixedCredentials
from tests.unit.transport.scripted import Answer, Heard, ScriptedServer, reply

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an Answer with S3's error document."""
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return reply(status, body, {"x-amz-request-id": "RID", **(headers or {})})


@dataclass
class Bucket:
    """Objects and their metadata; which conditions of PUT and GET it keeps is a choice."""

    objects: dict[str, bytes] = field(default_factory=dict)
    keeps_absent: bool = True
    keeps_match: bool = True
    has_broken_match: bool = False
    keeps_get_match: bool = True
    garbles: int = 0
    """So many of the next PUTs store other bytes than were sent."""
    asked: list[str] = field(default_factory=list)

    def answer(self, connection: socket.socket, heard: Heard) -> bool:
        """Serve one request on objects."""
        parts = urlsplit(heard.target)
        key = unquote(parts.path).removeprefix("/b/")
        self.asked.append(heard.method)
        serve: Callable[[str, Heard], Answer] = getattr(self, f"_{heard.method.lower()}")
        return serve(key, heard)(connection, heard)

    def _etag(self, key: str) -> str:
        return hashlib.md5(self.objects[key]).hexdigest()

    def _put(self, key: str, heard: Heard) -> Answer:
        absent, match = heard.headers.get("if-none-match"), heard.headers.get("if-match")
        if absent and self.keeps_absent and key in self.objects:
            return error(412, "PreconditionFailed")
        if match and self.keeps_match:
            if key not in self.objects:
                return error(404, "NoSuchKey")
            if self.has_broken_match or match.strip('"') != self._etag(key):
                return error(412, "PreconditionFailed")
        self.objects[key] = heard.body
        if self.garbles:
            self.garbles -= 1
            self.objects[key] = heard.body[:-1] + b"?"
        return reply(200, b"", {"ETag": f'"{self._etag(key)}"', "Date": DATE})

    def _get(self, key: str, heard: Heard) -> Answer:
        if key not in self.objects:
            return error(404, "NoSuchKey")
        data = self.objects[key]
        headers = {"ETag": f'"{self._etag(key)}"', "Last-Modified": DATE}
        match = heard.headers.get("if-match")
        if match and self.keeps_get_match and match != headers["ETag"]:
            return error(412, "PreconditionFailed")
        if "range" not in heard.headers:
            return reply(200, data, headers)
        first, last = map(int, heard.headers["range"].removeprefix("bytes=").split("-"))
        if first >= len(data):
            return error(416, "InvalidRange")
        piece = data[first : last + 1]
        headers["Content-Range"] = f"bytes {first}-{first + len(piece) - 1}/{len(data)}"
        return reply(206, piece, headers)

    _head = _get

    def _delete(self, key: str, heard: Heard) -> Answer:
        self.objects.pop(key, None)
        return reply(204)


@asynccontextmanager
async def store_at(
    server: ScriptedServer,
    credentials: CredentialSource | None = None,
    payload: Payload = "auto",
) -> AsyncIterator[S3Store]:
    """Open an S3Store of bucket `b` on `server`."""
    store = S3Store(
        "b",
        client=HttpClient(concurrency=4, timeout_s=5, is_environment_trusted=False),
        credentials=credentials or FixedCredentials(Credentials("AK", "SK")),
        endpoint=server.origin,
        payload=payload,
    )
    yield store
    await store.aclose()
