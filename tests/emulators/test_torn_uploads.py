"""A client that dies in the middle of an upload leaves nothing, as at the clouds."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from werkzeug.wrappers import Response

from tests.emulators.serving import Ask, Knobs, serving


class Remembering:
    """An emulator that takes everything."""

    environment: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.bodies: list[bytes] = []

    def make_bucket(self) -> str:
        """Return a name."""
        return "any"

    def answer(self, ask: Ask) -> Response:
        """Keep the body."""
        self.bodies.append(ask.body)
        return Response(b"")


@pytest.mark.parametrize(("sent", "stored"), [(b"all of it.", [b"all of it."]), (b"half ", [])])
def test_half_a_body_is_not_stored(sent: bytes, stored: list[bytes]) -> None:
    emulator = Remembering()
    with serving(emulator) as endpoint:
        place = urlsplit(endpoint)
        with socket.create_connection((place.hostname, place.port)) as client:
            client.sendall(b"PUT /key HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + sent)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    assert emulator.bodies == stored
