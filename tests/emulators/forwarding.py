"""An S3 server that others wrote, behind the knobs of our emulators.

Requests go on as they came, Host header included, so that their signatures stay good: what the
knobs do not touch is answered by the real server.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from werkzeug.wrappers import Response

from tests.emulators.serving import Ask, Knobs
from tests.servers.s3_server import RunningS3

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class ForwardedS3:
    """Answers what `server` answers."""

    def __init__(self, server: RunningS3) -> None:
        self.knobs = Knobs()
        self._server = server
        self._place = server.endpoint.partition("://")[2]

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with the server's keys."""
        return self._server.environment

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses."""
        return self._server.make_bucket()

    def answer(self, ask: Ask) -> Response:
        """Send the request on, over a connection of its own."""
        connection = http.client.HTTPConnection(self._place, timeout=30)
        try:
            connection.putrequest(ask.method, ask.target, skip_host=True, skip_accept_encoding=True)
            for name, value in ask.headers.items():
                if name != "connection":
                    connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(ask.body or None)
            found = connection.getresponse()
            body = found.read()
        finally:
            connection.close()
        response = Response(body, found.status)
        for name, value in found.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                response.headers[name] = value
        response.headers["Date"] = found.headers["Date"]
        if ask.method == "HEAD" and "Content-Length" in found.headers:
            response.headers["Content-Length"] = found.headers["Content-Length"]
            response.automatically_set_content_length = False
        return response
