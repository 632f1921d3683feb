"""What a refusal of BOS means to us: by its code, then by its status, never by its text."""

from __future__ import annotations

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectNotFound,
    QuotaExceeded,
)
from bucketfs.storage.bos.documents import parse_error
from bucketfs.storage.refusals import REDIRECTS, Refused, Vocabulary, sent_elsewhere
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame


class NotCopyable(NotSupported):
    """An appendable object, which BOS copies only onto itself; never leaves the copier."""


class UploadNotFound(ObjectNotFound):
    """The multipart upload is gone: committed or aborted."""


class NotALink(InvalidRequest):
    """A native symlink was asked for, and the object is none."""


_WORDS = Vocabulary(
    "BOS",
    codes={
        "AccountOverdue": AccessDenied,
        "InvalidHTTPAuthHeader": AccessDenied,
        "InvalidSessionToken": AccessDenied,
        "RequestExpired": AccessDenied,
        "KeyTooLong": InvalidKey,
        "NoSuchUpload": UploadNotFound,
        "NotSymlink": NotALink,
        "InvalidTargetType": NotALink,
        "NotAllowCopy": NotCopyable,
        "ObjectUnappendable": NotSupported,
        "OffsetIncorrect": ObjectChanged,
        "ObjectAlreadyExists": ObjectChanged,
        "BucketQuotaExceeded": QuotaExceeded,
    },
    statuses={409: ObjectChanged, 507: QuotaExceeded},
    throttled=frozenset({"SlowDown", "RequestRateLimitExceeded", "TooManyRequests"}),
    not_done=frozenset(),
    transient=frozenset(),
    advice={
        "AccountOverdue": "the account's bill is not paid",
        "InvalidAccessKeyId": "the server does not know this access key",
        "InvalidSessionToken": "the session token is wrong or has expired",
        "RequestExpired": "the clock of this machine is wrong",
        "SignatureDoesNotMatch": "the secret key is wrong",
    },
)
_OF_KEYS = frozenset({"InvalidSessionToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_OF_CLOCKS = "RequestExpired"


def blame(response: Response) -> Blame:
    """Return whether other credentials may make the difference (HEAD gives no code to tell)."""
    code = parse_error(response.body).get("code")
    if response.status not in (401, 403) or code == _OF_CLOCKS:
        return Blame.ELSEWHERE
    return Blame.KEYS if code in _OF_KEYS else Blame.PERHAPS_KEYS


def refusal(response: Response, *, method: str, operation: str, key: str | None) -> BucketfsError:
    """Return the error that a refusing answer stands for; `key` None: it was about the bucket.

    All are StorageErrors, but for a wrong endpoint, which a person has to correct.
    """
    if response.status in REDIRECTS:
        return sent_elsewhere(response)
    found = parse_error(response.body)
    request_id = response.headers.get("x-bce-request-id") or found.get("requestId") or None
    # BOS gives every answer an id.
    is_stranger = request_id is None
    refused = Refused(
        response, found.get("code", ""), found.get("message", ""), request_id, is_stranger
    )
    return _WORDS.error(refused, method=method, operation=operation, key=key)
