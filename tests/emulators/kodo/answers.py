"""How Kodo answers: JSON, its own status codes, a request id on everything."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from typing import Any

from werkzeug.http import http_date
from werkzeug.wrappers import Response


class Refused(Exception):
    """The request is answered with `status` and an error text."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def json_answer(status: int, content: Any = None) -> Response:
    """Return an answer with a JSON body; `content` None: an empty one."""
    body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
    return finished(Response(body, status_line(status), content_type="application/json"))


def refusal_answer(refused: Refused) -> Response:
    """Return the answer that a refusal becomes."""
    return json_answer(refused.status, {"error": refused.error, "error_code": ""})


def status_line(status: int) -> str:
    """Return a status line; Kodo's own codes go beyond HTTP's."""
    return f"{status} {'OK' if 200 <= status < 300 else 'Refused'}"


def finished(response: Response, now_s: float | None = None) -> Response:
    """Give an answer what all have."""
    response.headers["X-Reqid"] = uuid.uuid4().hex[:16]
    response.headers["X-Log"] = "EMULATOR"
    if now_s is not None:
        response.headers["Date"] = http_date(now_s)
    return response


def decoded(text: str) -> bytes:
    """Return what URL-safe base64 (with its padding) stands for. Raises: Refused."""
    try:
        return base64.b64decode(text.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Refused(400, "invalid argument: not base64") from exc


def decoded_text(text: str) -> str:
    """Return the UTF-8 text that URL-safe base64 stands for. Raises: Refused."""
    try:
        return decoded(text).decode()
    except UnicodeDecodeError as exc:
        raise Refused(400, "invalid argument: not UTF-8") from exc


def encoded(data: bytes) -> str:
    """Return URL-safe base64 with its padding."""
    return base64.urlsafe_b64encode(data).decode()
