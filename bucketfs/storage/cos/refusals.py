"""What a refusal of COS means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    InvalidKey,
    NotSupported,
    ObjectChanged,
    ObjectExists,
)
from bucketfs.storage.refusals import REDIRECTS, Refused, Vocabulary, blamed, sent_elsewhere
from bucketfs.storage.s3.documents import parse_any
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame

_WORDS = Vocabulary(
    "COS",
    codes={
        "AccessForbidden": AccessDenied,
        "ExpiredToken": AccessDenied,
        "InvalidSecurityToken": AccessDenied,
        "RequestTimeTooSkewed": AccessDenied,
        "UnavailableForLegalReasons": AccessDenied,
        "AppendPositionErr": ObjectChanged,
        "PositionNotEqualToLength": ObjectChanged,
        "FileAlreadyExists": ObjectExists,
        "KeyTooLong": InvalidKey,
        "ObjectNotAppendable": NotSupported,
        "OperationNotAllowed": NotSupported,
        "OperationNotSupported": NotSupported,
    },
    statuses={451: AccessDenied},
    throttled=frozenset({"RequestLimitExceeded", "SlowDown", "TooManyRequests"}),
    not_done=frozenset({"OperationAborted"}),
    transient=frozenset(),
    advice={
        "ExpiredToken": "the temporary keys have ended",
        "InvalidAccessKeyId": "COS does not know this SecretId",
        "NoSuchBucket": "there is no such bucket in this region",
        "RequestTimeTooSkewed": "the clock of this machine is wrong",
        "SignatureDoesNotMatch": "the SecretKey is wrong",
    },
)
_OF_KEYS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidSecurityToken", "SignatureDoesNotMatch"}
)


def blame(response: Response) -> Blame:
    """Return whether other credentials may make the difference (HEAD gives no code to tell)."""
    return blamed(response, lambda: _document(response).get("Code", ""), _OF_KEYS)


def refusal(response: Response, *, method: str, operation: str, key: str | None) -> BucketfsError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    All are StorageErrors, but for a wrong endpoint, which a person has to correct.
    """
    if response.status in REDIRECTS:
        return sent_elsewhere(response)
    fields = _document(response)
    request_id = response.headers.get("x-cos-request-id") or fields.get("RequestId") or None
    # COS gives every answer an id.
    is_stranger = request_id is None
    refused = Refused(
        response, fields.get("Code", ""), fields.get("Message", ""), request_id, is_stranger
    )
    return _WORDS.error(refused, method=method, operation=operation, key=key)


def _document(response: Response) -> dict[str, str]:
    root, fields = parse_any(response.body) if response.body else ("", {})
    return fields if root == "Error" else {}
