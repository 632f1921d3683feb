"""What a refusal of Kodo means to us: by its status, which is its code, never by its text."""

from __future__ import annotations

import json
from email.utils import mktime_tz, parsedate_tz
from time import time

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.refusals import InvalidRange, retry_after_s
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame

NO_SUCH_OBJECT = 612
"""Also of an upload that is gone."""


_BY_STATUS: dict[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: ObjectNotFound,
    405: NotSupported,
    412: ObjectChanged,
    413: ObjectTooLarge,
    416: InvalidRange,
    419: AccessDenied,
    NO_SUCH_OBJECT: ObjectNotFound,
    614: ObjectExists,
    630: QuotaExceeded,
    631: BucketNotFound,
    701: ObjectNotFound,
}
_THROTTLED = frozenset({429, 503, 573})
_TRANSIENT = frozenset({406, 408, 478, 608, *_THROTTLED})
"""406: the bytes that came were not those that were sent; 608: it was changed at the same time."""
_NOT_DONE = frozenset({406, 573})
_MOST_SKEW_S = 600.0
_REQUEST_ID = "x-reqid"


def blame(response: Response) -> Blame:
    """Return whether other credentials may make the difference."""
    if response.status == 401:
        return Blame.KEYS
    return Blame.PERHAPS_KEYS if response.status == 403 else Blame.ELSEWHERE


def refusal(
    response: Response, *, operation: str, key: str | None, is_download: bool = False
) -> StorageError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    Kodo signs its answers with a request id: what says "no such object" without one was said by
    something on the way, and proves nothing. Download domains are not Kodo's own, and whoever reads
    from one has to ask Kodo again.
    """
    request_id = response.headers.get(_REQUEST_ID)
    status = response.status
    is_passing = status in _TRANSIENT or 500 <= status < 600
    if request_id is None and not (is_passing or is_download):
        return ConfusedServer(
            f"something answered {status} that is not Kodo: is the address right?",
            key=key,
            operation=operation,
        )
    said = _said(response.body)
    if status in (401, 403) and _is_clock_wrong(response):
        said = "the clock of this machine is wrong"
    error = error_of(status, said, operation=operation, key=key)
    error.request_id = request_id
    if isinstance(error, Transient):
        error.retry_after_s = retry_after_s(response)
    return error


def error_of(status: int, said: str, *, operation: str, key: str | None) -> StorageError:
    """Return the error of a status, which may be that of one item of a batch."""
    message = f"{said or 'the request was refused'} ({status})"
    if status in _TRANSIENT or (500 <= status < 600 and status != 579):
        return Transient(
            message,
            key=key,
            operation=operation,
            throttled=status in _THROTTLED,
            sent=status not in _NOT_DONE,
        )
    kind = _BY_STATUS.get(status, InvalidRequest)
    if kind is ObjectNotFound and key is None:
        kind = AccessDenied if status == NO_SUCH_OBJECT else InvalidRequest
    return kind(message, key=key, operation=operation)


def _said(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    said = found.get("error") if isinstance(found, dict) else None
    return said if isinstance(said, str) else ""


def _is_clock_wrong(response: Response) -> bool:
    date = parsedate_tz(response.headers.get("date", ""))
    return date is not None and abs(mktime_tz(date) - time()) > _MOST_SKEW_S
