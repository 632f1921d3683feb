"""What a refusal of the server means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from collections.abc import Mapping

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    ConfigurationError,
    InvalidKey,
    NotSupported,
    ObjectChanged,
    QuotaExceeded,
)
from bucketfs.storage.refusals import REDIRECTS, Refused, Vocabulary, blamed, sent_elsewhere
from bucketfs.storage.s3.documents import parse_any
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame

_WORDS = Vocabulary(
    "S3",
    codes={
        "AccountProblem": AccessDenied,
        "AllAccessDisabled": AccessDenied,
        "ExpiredToken": AccessDenied,
        "InvalidToken": AccessDenied,
        "RequestTimeTooSkewed": AccessDenied,
        "TokenRefreshRequired": AccessDenied,
        "UserSuspended": AccessDenied,
        "KeyTooLongError": InvalidKey,
        "ObjectNotAppendable": NotSupported,
        "PositionNotEqualToLength": ObjectChanged,
        # Ceph's word where two appends make one object at the same time.
        "BucketAlreadyExists": ObjectChanged,
        "XMinioInvalidObjectName": InvalidKey,
        "XMinioInvalidResourceName": InvalidKey,
        "InsufficientStorage": QuotaExceeded,
        "StorageFull": QuotaExceeded,
        "XMinioAdminBucketQuotaExceeded": QuotaExceeded,
        "XMinioStorageFull": QuotaExceeded,
    },
    statuses={507: QuotaExceeded},
    throttled=frozenset(
        {"SlowDown", "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
    ),
    not_done=frozenset({"ConditionalRequestConflict", "OperationAborted"}),
    transient=frozenset({"XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}),
    advice={
        "ExpiredToken": "the temporary keys have ended",
        "InvalidAccessKeyId": "the server does not know this access key",
        "RequestTimeTooSkewed": "the clock of this machine is wrong",
        "SignatureDoesNotMatch": "the secret key is wrong",
    },
)
_OF_KEYS = frozenset(
    {
        *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"),
        *("SignatureDoesNotMatch", "InvalidTokenId", "InvalidClientTokenId"),
    }
)
_REQUEST_IDS = ("x-amz-request-id", "x-amzn-requestid", "x-amz-id-2")


def blame(response: Response) -> Blame:
    """Return whether other credentials may make the difference (HEAD gives no code to tell)."""
    return blamed(response, lambda: _document(response).get("Code", ""), _OF_KEYS)


def refusal(
    response: Response, *, method: str, operation: str, key: str | None, region: str
) -> BucketfsError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    All are StorageErrors, but for a wrong region, which a person has to correct.
    """
    fields = _document(response)
    elsewhere = _elsewhere(response, fields, region)
    if elsewhere is not None:
        return elsewhere
    refused = Refused(
        response,
        fields.get("Code", ""),
        fields.get("Message", ""),
        response.headers.get("x-amz-request-id") or fields.get("RequestId") or None,
        _is_stranger(response, fields),
    )
    error = _WORDS.error(refused, method=method, operation=operation, key=key)
    if refused.code == "SignatureDoesNotMatch" and key is not None and not _is_text(key):
        # MinIO and rclone sign another text of a key that is not UTF-8.
        return InvalidKey(
            error.args[0], key=key, operation=operation, request_id=refused.request_id
        )
    return error


def _elsewhere(
    response: Response, fields: Mapping[str, str], region: str
) -> ConfigurationError | None:
    status = response.status
    right = response.headers.get("x-amz-bucket-region") or fields.get("Region")
    if (status in REDIRECTS or status == 400) and right and right != region:
        return ConfigurationError(
            f"the bucket is in region {right}, not {region}: use -o region={right}"
        )
    if status in REDIRECTS:
        return sent_elsewhere(response)
    return None


def _is_stranger(response: Response, fields: Mapping[str, str]) -> bool:
    """Return whether a 404 is rather the word of a gateway on the way than of a store.

    Not every server numbers its answers; one that does not still sends an Error, or (to HEAD)
    nothing at all.
    """
    if fields or any(name in response.headers for name in _REQUEST_IDS):
        return False
    return bool(response.body) or "html" in response.headers.get("content-type", "")


def _is_text(key: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in key)


def _document(response: Response) -> dict[str, str]:
    root, fields = parse_any(response.body) if response.body else ("", {})
    return fields if root == "Error" else {}
