"""What a refusal of BOS means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.bos.documents import parse_error
from bucketfs.storage.s3.refusals import InvalidRange
from bucketfs.transport.exchange import Response


class NotCopyable(NotSupported):
    """An appendable object, which BOS copies only onto itself; never leaves the copier."""


class UploadNotFound(ObjectNotFound):
    """The multipart upload is gone: committed or aborted."""


class NotALink(InvalidRequest):
    """A native symlink was asked for, and the object is none."""


_BY_CODE: dict[str, type[StorageError]] = {
    "AccessDenied": AccessDenied,
    "AccountOverdue": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "InvalidHTTPAuthHeader": AccessDenied,
    "InvalidSessionToken": AccessDenied,
    "RequestExpired": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "EntityTooLarge": ObjectTooLarge,
    "InvalidObjectName": InvalidKey,
    "InvalidURI": InvalidKey,
    "KeyTooLong": InvalidKey,
    "InvalidObjectState": ObjectArchived,
    "InvalidRange": InvalidRange,
    "NoSuchBucket": BucketNotFound,
    "NoSuchKey": ObjectNotFound,
    "NoSuchUpload": UploadNotFound,
    "NotSymlink": NotALink,
    "InvalidTargetType": NotALink,
    "MethodNotAllowed": NotSupported,
    "NotImplemented": NotSupported,
    "NotAllowCopy": NotCopyable,
    "ObjectUnappendable": NotSupported,
    "OffsetIncorrect": ObjectChanged,
    "ObjectAlreadyExists": ObjectChanged,
    "PreconditionFailed": ObjectChanged,
    "QuotaExceeded": QuotaExceeded,
    "BucketQuotaExceeded": QuotaExceeded,
}
_BY_STATUS: dict[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotSupported,
    409: ObjectChanged,
    412: ObjectChanged,
    413: ObjectTooLarge,
    416: InvalidRange,
    501: NotSupported,
    507: QuotaExceeded,
}
_THROTTLED = frozenset({"SlowDown", "RequestRateLimitExceeded", "TooManyRequests"})
_TRANSIENT = frozenset({"BadDigest", "InternalError", "RequestTimeout", "ServiceUnavailable"})
_OF_KEYS = frozenset({"SignatureDoesNotMatch", "RequestExpired"})
"""Refusals that no other credentials would cure."""
_ADVICE = {
    "AccountOverdue": "the account's bill is not paid",
    "InvalidAccessKeyId": "the server does not know this access key",
    "InvalidSessionToken": "the session token is wrong or has expired",
    "RequestExpired": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is wrong",
}


def has_expired(response: Response) -> bool:
    """Return whether newer credentials may make the difference (HEAD gives no code to tell)."""
    if response.status not in (401, 403):
        return False
    return parse_error(response.body).get("code") not in _OF_KEYS


def refusal(response: Response, *, method: str, operation: str, key: str | None) -> BucketfsError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    All are StorageErrors, but for a wrong endpoint, which a person has to correct.
    """
    found = parse_error(response.body)
    code: str = found.get("code", "")
    status = response.status
    request_id = response.headers.get("x-bce-request-id") or found.get("requestId") or None
    if status in (301, 302, 307, 308):
        return ConfigurationError(
            f"the server sends us elsewhere ({status}): the endpoint or region is wrong"
        )
    said = _ADVICE.get(code) or found.get("message") or f"{method} was refused"
    message = f"{said} ({status}{' ' + code if code else ''})"
    if _is_transient(status, code):
        return Transient(
            message,
            key=key,
            operation=operation,
            request_id=request_id,
            retry_after_s=_retry_after_s(response),
            throttled=code in _THROTTLED or status in (429, 503),
        )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, InvalidRequest)
    if status == 404 and request_id is None:
        # BOS gives every answer an id.
        kind = ConfusedServer
        message = "something answered 404 that is not BOS: is the endpoint right?"
    elif status == 404 and code not in _BY_CODE:
        kind = BucketNotFound if key is None else ObjectNotFound
    return kind(message, key=key, operation=operation, request_id=request_id)


def _is_transient(status: int, code: str) -> bool:
    if code in _THROTTLED or code in _TRANSIENT or status in (408, 429):
        return True
    return status >= 500 and status not in _BY_STATUS and code not in _BY_CODE


def _retry_after_s(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
