"""What a refusal of the server means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from collections.abc import Mapping

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
from bucketfs.storage.s3.documents import parse_any
from bucketfs.transport.exchange import Response


class InvalidRange(InvalidRequest):
    """The object has no byte in the range that was asked for; never leaves `read_range`."""


_BY_CODE: dict[str, type[StorageError]] = {
    "AccessDenied": AccessDenied,
    "AccountProblem": AccessDenied,
    "AllAccessDisabled": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "InvalidToken": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "TokenRefreshRequired": AccessDenied,
    "UserSuspended": AccessDenied,
    "EntityTooLarge": ObjectTooLarge,
    "InvalidObjectName": InvalidKey,
    "InvalidURI": InvalidKey,
    "KeyTooLongError": InvalidKey,
    "XMinioInvalidObjectName": InvalidKey,
    "InvalidObjectState": ObjectArchived,
    "InvalidRange": InvalidRange,
    "NoSuchBucket": BucketNotFound,
    "NoSuchKey": ObjectNotFound,
    "NoSuchUpload": ObjectNotFound,
    "NoSuchVersion": ObjectNotFound,
    "MethodNotAllowed": NotSupported,
    "NotImplemented": NotSupported,
    "PreconditionFailed": ObjectChanged,
    "InsufficientStorage": QuotaExceeded,
    "QuotaExceeded": QuotaExceeded,
    "StorageFull": QuotaExceeded,
    "XMinioAdminBucketQuotaExceeded": QuotaExceeded,
    "XMinioStorageFull": QuotaExceeded,
}
_BY_STATUS: dict[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotSupported,
    412: ObjectChanged,
    413: ObjectTooLarge,
    416: InvalidRange,
    501: NotSupported,
    507: QuotaExceeded,
}
_THROTTLED = frozenset(
    {"SlowDown", "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
)
_NOT_DONE = frozenset({"ConditionalRequestConflict", "OperationAborted"})
"""Refused because of another request at the same time: surely not done, and worth repeating."""
_TRANSIENT = frozenset(
    {"BadDigest", "InternalError", "RequestTimeout", "ServiceUnavailable"}
    | {"XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
)
_EXPIRED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"})
_REQUEST_IDS = ("x-amz-request-id", "x-amzn-requestid", "x-amz-id-2")
_REDIRECTS = (301, 302, 307, 308)
_ADVICE = {
    "InvalidAccessKeyId": "the server does not know this access key",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is wrong",
}


def has_expired(response: Response, method: str) -> bool:
    """Return whether newer credentials may make the difference (HEAD gives no code to tell)."""
    if response.status not in (400, 401, 403):
        return False
    return method == "HEAD" or _document(response).get("Code", "") in _EXPIRED


def refusal(
    response: Response, *, method: str, operation: str, key: str | None, region: str
) -> BucketfsError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    All are StorageErrors, but for a wrong region, which a person has to correct.
    """
    fields = _document(response)
    code = fields.get("Code", "")
    status = response.status
    request_id = response.headers.get("x-amz-request-id") or fields.get("RequestId") or None
    right_region = response.headers.get("x-amz-bucket-region") or fields.get("Region")
    if status in (*_REDIRECTS, 400) and right_region and right_region != region:
        return ConfigurationError(
            f"the bucket is in region {right_region}, not {region}: use -o region={right_region}"
        )
    if status in _REDIRECTS:
        return ConfigurationError(
            f"the server sends us elsewhere ({status}): the endpoint or region is wrong"
        )
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
    if code == "SignatureDoesNotMatch" and key is not None and not _is_text(key):
        kind = InvalidKey  # MinIO and rclone sign another text of a key that is not UTF-8.
    if status == 404 and _is_stranger(response, fields):
        kind = ConfusedServer
        message = "something answered 404 that is not S3: is the endpoint right?"
    elif status == 404 and code not in _BY_CODE:
        kind = BucketNotFound if key is None else ObjectNotFound
    return kind(message, key=key, operation=operation, request_id=request_id)


def _is_stranger(response: Response, fields: Mapping[str, str]) -> bool:
    """Return whether a 404 is rather the word of a gateway on the way than of a store.

    Not every server numbers its answers; one that does not still sends an Error, or (to HEAD)
    nothing at all.
    """
    if fields or any(name in response.headers for name in _REQUEST_IDS):
        return False
    return bool(response.body) or "html" in response.headers.get("content-type", "")


def _is_transient(status: int, code: str) -> bool:
    if code in _THROTTLED or code in _NOT_DONE or code in _TRANSIENT or status in (408, 429):
        return True
    return status >= 500 and status not in _BY_STATUS and code not in _BY_CODE


def _is_text(key: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in key)


def _document(response: Response) -> dict[str, str]:
    root, fields = parse_any(response.body) if response.body else ("", {})
    return fields if root == "Error" else {}


def _retry_after_s(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
