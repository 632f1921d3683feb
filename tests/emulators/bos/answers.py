"""What BOS answers: JSON, its common headers, its errors by code."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from werkzeug.wrappers import Response

JSON_TYPE = "application/json; charset=utf-8"
STATUS_OF = {
    400: (
        *("BadDigest", "EntityTooSmall", "EntityTooLarge", "InappropriateJSON", "InvalidArgument"),
        *("InvalidBucketName", "InvalidObjectName", "InvalidHTTPAuthHeader", "InvalidPart"),
        *("InvalidPartOrder", "InvalidURI", "MalformedJSON", "MetadataTooLarge", "NotAllowCopy"),
        *("InvalidTargetType", "NotSymlink"),
    ),
    403: (
        *("AccessDenied", "InvalidAccessKeyId", "RequestExpired", "SignatureDoesNotMatch"),
        *("ObjectUnappendable", "InvalidSessionToken", "InvalidObjectState"),
    ),
    404: (
        *("NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoLifecycleConfiguration"),
        "NoSuchCORSConfiguration",
    ),
    405: ("MethodNotAllowed",),
    409: ("BucketAlreadyExists", "BucketNotEmpty", "OffsetIncorrect"),
    411: ("MissingContentLength",),
    412: ("PreconditionFailed",),
    416: ("InvalidRange",),
    500: ("InternalError",),
    501: ("NotImplemented",),
    503: ("ServiceUnavailable", "SlowDown", "RequestRateLimitExceeded"),
}


class Refusal(Exception):
    """The request is refused with `code`; the status is that of the code unless given."""

    def __init__(self, code: str, message: str = "", status: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or f"refused: {code}"
        found = [known for known, codes in STATUS_OF.items() if code in codes]
        self.status = status or found[0]

    def response(self) -> Response:
        """Return the answer."""
        request_id = str(uuid.uuid4())
        document = {"code": self.code, "message": self.message, "requestId": request_id}
        answer = document_answer(document, status=self.status)
        answer.headers["x-bce-request-id"] = request_id
        return answer


def finish(answer: Response, now_s: float) -> Response:
    """Return `answer` with the headers that every one has."""
    answer.headers.setdefault("x-bce-request-id", str(uuid.uuid4()))
    answer.headers["x-bce-debug-id"] = "emulated"
    answer.headers["Server"] = "BceBos"
    answer.headers["Date"] = http_date(now_s)
    return answer


def document_answer(
    document: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer whose body is `document` as JSON."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(body, status, headers, content_type=JSON_TYPE)


def empty(status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer without a body."""
    answer = Response(b"", status, headers)
    del answer.headers["Content-Type"]
    return answer


def iso_date(time_s: float) -> str:
    """Return a time as JSON has it."""
    return datetime.fromtimestamp(int(time_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(time_s: float) -> str:
    """Return a time as headers have it."""
    return formatdate(int(time_s), usegmt=True)


def seconds_of(date: str) -> float:
    """Return the time of an HTTP date, or of an ISO one. Raises: Refusal."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        try:
            return datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Refusal("InvalidArgument", f"no date: {date}") from None
