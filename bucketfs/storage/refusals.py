"""What a refusal means to us, where clouds refuse in S3's way: by its code, then by its status.

Never by its text, which is only passed on. Each dialect has a `Vocabulary` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bucketfs.errors import (
    AccessDenied,
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
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame

REDIRECTS = frozenset({301, 302, 307, 308})


class InvalidRange(InvalidRequest):
    """The object has no byte in the range that was asked for; never leaves `read_range`."""


CODES: Mapping[str, type[StorageError]] = {
    "AccessDenied": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "EntityTooLarge": ObjectTooLarge,
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
    "PreconditionFailed": ObjectChanged,
    "QuotaExceeded": QuotaExceeded,
}
"""What the codes mean that all of them know."""
STATUSES: Mapping[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotSupported,
    412: ObjectChanged,
    413: ObjectTooLarge,
    416: InvalidRange,
    501: NotSupported,
}
_TRANSIENT = frozenset({"BadDigest", "InternalError", "RequestTimeout", "ServiceUnavailable"})


def blamed(response: Response, code: Callable[[], str], of_keys: Collection[str]) -> Blame:
    """Return whether other credentials may make the difference (HEAD gives no code to tell).

    `code` finds that of the answer's document, `of_keys` are those that credentials cause.
    """
    if response.status not in (400, 401, 403):
        return Blame.ELSEWHERE
    if not response.body:
        return Blame.PERHAPS_KEYS
    found = code()
    if found in of_keys:
        return Blame.KEYS
    return Blame.PERHAPS_KEYS if found == "AccessDenied" else Blame.ELSEWHERE


@dataclass(frozen=True, slots=True)
class Refused:
    """What a refusing answer says: its code and text ("" where it has none), and its number.

    `is_stranger`: it has no sign of coming from the cloud at all.
    """

    response: Response
    code: str
    said: str
    request_id: str | None
    is_stranger: bool


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The codes of one cloud, which is called `cloud`; `codes` and `statuses` go before the common.

    `not_done`: refused because of another request at the same time, so surely not done and worth
    repeating. `advice` replaces the server's words for a code.
    """

    cloud: str
    codes: Mapping[str, type[StorageError]]
    statuses: Mapping[int, type[StorageError]]
    throttled: frozenset[str]
    not_done: frozenset[str]
    transient: frozenset[str]
    advice: Mapping[str, str]

    def error(
        self, refused: Refused, *, method: str, operation: str, key: str | None
    ) -> StorageError:
        """Return the error that a refusal stands for; `key` None: it was about the bucket."""
        code, status = refused.code, refused.response.status
        about = {"key": key, "operation": operation, "request_id": refused.request_id}
        said = self.advice.get(code) or refused.said or f"{method} was refused"
        message = f"{said} ({status}{' ' + code if code else ''})"
        known = self._kind(status, code)
        if self._is_transient(status, code):
            return Transient(
                message,
                retry_after_s=retry_after_s(refused.response),
                throttled=code in self.throttled or status in (429, 503),
                sent=code not in self.not_done,
                **about,
            )
        if status == 404 and refused.is_stranger:
            stranger = f"something answered 404 that is not {self.cloud}: is the endpoint right?"
            return ConfusedServer(stranger, **about)
        if status == 404 and not self._knows(code):
            known = BucketNotFound if key is None else ObjectNotFound
        return known(message, **about)

    def _knows(self, code: str) -> bool:
        return code in self.codes or code in CODES

    def _kind(self, status: int, code: str) -> type[StorageError]:
        by_code = self.codes.get(code) or CODES.get(code)
        return by_code or self.statuses.get(status) or STATUSES.get(status, InvalidRequest)

    def _is_transient(self, status: int, code: str) -> bool:
        if code in self.throttled | self.not_done | self.transient | _TRANSIENT:
            return True
        if status in (408, 429):
            return True
        is_known = status in self.statuses or status in STATUSES or self._knows(code)
        return status >= 500 and not is_known


def sent_elsewhere(response: Response) -> ConfigurationError:
    """Return the error that a redirect is: a signed request is sent to nobody else."""
    return ConfigurationError(
        f"the server sends us elsewhere ({response.status}): the endpoint or region is wrong"
    )


def retry_after_s(response: Response) -> float | None:
    """Return for how many seconds the server wants to be left alone, None if it does not say."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
