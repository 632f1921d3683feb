"""How COS refuses: a status, a code, a document; and documents in general."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from tests.emulators.serving import Ask

Content = str | Sequence[tuple[str, "Content"]]
"""What an element holds: text, or elements."""


class Refused(Exception):
    """A request that COS does not do."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or f"The request was refused: {code}."

    def response(self, ask: Ask) -> Response:
        """Return the answer; that to a HEAD has no body."""
        request_id = new_id()
        body = xml(
            "Error",
            [
                ("Code", self.code),
                ("Message", self.message),
                ("Resource", f"/{ask.key.encode('utf-8', 'replace').decode()}"),
                ("RequestId", request_id),
                ("TraceId", new_id()),
            ],
        )
        if ask.method == "HEAD":
            body = b""
        return Response(
            body,
            self.status,
            {"Content-Type": "application/xml", "x-cos-request-id": request_id},
        )


def refused(status: int, code: str) -> Response:
    """Return a refusal for tests that turn knobs."""
    return Refused(status, code).response(Ask("GET", "", "/", b"/", (), {}, b""))


def new_id() -> str:
    """Return an id of the kind that COS gives to requests."""
    return base64.b64encode(uuid.uuid4().bytes).decode()


def xml(name: str, content: Content) -> bytes:
    """Return a document."""
    text = f"<?xml version='1.0' encoding='utf-8' ?>\n{element(name, content)}"
    return text.encode("utf-8", "surrogateescape")


def element(name: str, content: Content) -> str:
    """Return one element."""
    if isinstance(content, str):
        return f"<{name}>{escape(content)}</{name}>" if content else f"<{name}/>"
    return f"<{name}>{''.join(element(*child) for child in content)}</{name}>"


def document(name: str, content: Content, status: int = 200) -> Response:
    """Return an answer that is a document."""
    return Response(xml(name, content), status, {"Content-Type": "application/xml"})
