"""What a refusal of COS means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfusedServer,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.s3.documents import parse_any
from bucketfs.storage.s3.refusals import InvalidRange
from bucketfs.transport.exchange import Response

_BY_CODE: dict[str, type[StorageError]] = {
    "AccessDenied": AccessDenied,
    "AccessForbidden": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "InvalidSecurityToken": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "UnavailableForLegalReasons": AccessDenied,
    "AppendPositionErr": ObjectChanged,
    "PositionNotEqualToLength": ObjectChanged,
    "PreconditionFailed": ObjectChanged,
    "FileAlreadyExists": ObjectExists,
    "EntityTooLarge": ObjectTooLarge,
    "KeyTooLong": InvalidKey,
    "InvalidObjectName": InvalidKey,
    "InvalidURI": InvalidKey,
    "InvalidObjectState": ObjectArchived,
    "InvalidRange": InvalidRange,
    "NoSuchBucket": BucketNotFound,
    "NoSuchKey": ObjectNotFound,
    "NoSuchUpload": ObjectNotFound,
    "NoSuchVersion": ObjectNotFound,
    "MethodNotAllowed": NotSupported,
    "NotImplemented": NotSupported,
    "ObjectNotAppendable": NotSupported,
    "OperationNotAllowed": NotSupported,
    "OperationNotSupported": NotSupported,
    "QuotaExceeded": QuotaExceeded,
}
_BY_STATUS: dict[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotSupported,
    412: ObjectChanged,
    413: ObjectTooLarge,
    416: InvalidRange,
    451: AccessDenied,
    501: NotSupported,
}
_THROTTLED = frozenset({"RequestLimitExceeded", "SlowDown", "TooManyRequests"})
_NOT_DONE = frozenset({"OperationAborted"})
"""Refused because of another request at the same time: surely not done, and worth repeating."""
_TRANSIENT = frozenset({"BadDigest", "InternalError", "RequestTimeout", "ServiceUnavailable"})
_EXPIRED = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidSecurityToken"})
_ADVICE = {
    "ExpiredToken": "the temporary keys have ended",
    "InvalidAccessKeyId": "COS does not know this SecretId",
    "NoSuchBucket": "there is no such bucket in this region",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the SecretKey is wrong",
}


def has_expired(response: Response, method: str) -> bool:
    """Return whether newer credentials may make the difference (HEAD gives no code to tell)."""
    if response.status not in (400, 401, 403):
        return False
    return method == "HEAD" or _document(response).get("Code", "") in _EXPIRED


def refusal(response: Response, *, method: str, operation: str, key: str | None) -> StorageError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket."""
    fields = _document(response)
    code = fields.get("Code", "")
    status = response.status
    request_id = response.headers.get("x-cos-request-id") or fields.get("RequestId") or None
    said = _ADVICE.get(code) or fields.get("Message") or f"{method} was refused"
    message = f"{said} ({status}{' ' + code if code else ''})"
    if _is_transient(status, code):
        return Transient(
            message,
            key=key,
            operation=operation,
            request_id=request_id,
            retry_after_s=_retry_after_s(response),
            throttled=code in _THROTTLED or status in (429, 503),
            sent=code not in _NOT_DONE,
        )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, InvalidRequest)
    if status == 404 and request_id is None:
        # COS gives every answer an id.
        kind = ConfusedServer
        message = "something answered 404 that is not COS: is the endpoint right?"
    elif status == 404 and code not in _BY_CODE:
        kind = BucketNotFound if key is None else ObjectNotFound
    return kind(message, key=key, operation=operation, request_id=request_id)


def _is_transient(status: int, code: str) -> bool:
    if code in _THROTTLED or code in _NOT_DONE or code in _TRANSIENT or status in (408, 429):
        return True
    return status >= 500 and status not in _BY_STATUS and code not in _BY_CODE


def _document(response: Response) -> dict[str, str]:
    root, fields = parse_any(response.body) if response.body else ("", {})
    return fields if root == "Error" else {}


def _retry_after_s(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
