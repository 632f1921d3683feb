"""What a driver's failure means to us: by the server's answer, else by the exception's class."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from libcloud.common.exceptions import BaseHTTPError, RateLimitReachedError
from libcloud.common.types import InvalidCredsError, LibcloudError, MalformedResponseError
from libcloud.storage.types import (
    ContainerDoesNotExistError,
    InvalidContainerNameError,
    ObjectDoesNotExistError,
    ObjectError,
    ObjectHashMismatchError,
)

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    BucketNotFound,
    ConfusedServer,
    InvalidKey,
    NotSupported,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.libcloud.drivers import Lease
from bucketfs.storage.s3.refusals import refusal
from bucketfs.transport.client import WHAT_VERIFIES, is_bad_certificate
from bucketfs.transport.exchange import Response

_BY_CLASS: tuple[tuple[type[Exception], type[StorageError]], ...] = (
    (ContainerDoesNotExistError, BucketNotFound),
    (InvalidContainerNameError, BucketNotFound),
    (ObjectDoesNotExistError, ObjectNotFound),
    (ObjectHashMismatchError, ConfusedServer),
    (ObjectError, ObjectNotFound),  # the local driver: a folder is not an object
    (InvalidCredsError, AccessDenied),
    (MalformedResponseError, ConfusedServer),
    (NotImplementedError, NotSupported),
)
_BY_ERRNO: dict[int, type[StorageError]] = {
    errno.ENOENT: ObjectNotFound,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: QuotaExceeded,
    errno.EDQUOT: QuotaExceeded,
    errno.EFBIG: ObjectTooLarge,
    errno.ENAMETOOLONG: InvalidKey,
    errno.ENOTDIR: InvalidKey,
    errno.EISDIR: InvalidKey,
}
_NOT_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
"""Nothing was sent yet; among them a name that cannot be resolved, which may be known later."""


@contextmanager
def speaking(lease: Lease, operation: str, key: str | None = None) -> Iterator[None]:
    """Let the block use the driver: what goes wrong leaves it as one of our errors."""
    lease.begin(operation)
    try:
        yield
    except BucketfsError:
        raise
    except Exception as exc:  # a driver may raise anything: KeyError for a header that is missing
        raise storage_error(exc, lease, operation, key) from exc


def storage_error(
    exc: Exception, lease: Lease, operation: str, key: str | None = None
) -> BucketfsError:
    """Return our error for `exc`, which a driver raised.

    The server's own refusal comes first: "does not exist" is believed of a 404 only.
    """
    head = lease.head
    if isinstance(exc, ContainerDoesNotExistError) and (head is None or head.status == 404):
        return BucketNotFound("there is no such container", operation=operation)
    if head is not None and head.status >= 300:
        response = Response(head.status, head.headers, lease.body())
        region = getattr(lease.driver, "region_name", None) or ""
        return refusal(response, method="the request", operation=operation, key=key, region=region)
    return _by_class(exc, head, operation, key)


def _by_class(
    exc: Exception, head: Response | None, operation: str, key: str | None
) -> StorageError:
    if isinstance(exc, RateLimitReachedError):
        pause_s = float(exc.retry_after) or None
        return Transient(
            "too many requests",
            key=key,
            operation=operation,
            retry_after_s=pause_s,
            throttled=True,
        )
    for foreign, own in _BY_CLASS:
        if isinstance(exc, foreign):
            return own(_text(exc), key=key, operation=operation)
    if is_bad_certificate(exc):
        message = f"the certificate cannot be verified: {_reason(exc)}; {WHAT_VERIFIES}"
        return ConfusedServer(message, key=key, operation=operation)
    if isinstance(_reason(exc), _NOT_CONNECTED):
        message = f"cannot connect: {_reason(exc)}"
        return Transient(message, key=key, operation=operation, sent=False)
    if isinstance(exc, OSError):
        # Also everything that requests raises; it has no errno then.
        kind = _BY_ERRNO.get(exc.errno or 0, Transient)
        return kind(exc.strerror or _text(_reason(exc)), key=key, operation=operation)
    if head is None and isinstance(exc, LibcloudError | BaseHTTPError):
        return Transient(_text(exc), key=key, operation=operation)  # a lock that was not to be had
    message = f"the driver did not understand the answer ({_text(exc)})"
    return ConfusedServer(message, key=key, operation=operation)


def _reason(exc: Exception) -> Exception:
    """Return what `exc` is about: around it, urllib3 tells the URL, which may hold a signature."""
    inner = exc.args[0] if exc.args else None
    reason = inner.reason if isinstance(inner, urllib3.exceptions.MaxRetryError) else None
    return reason or exc


def _text(exc: Exception) -> str:
    """Return what an exception says; drivers put themselves, with all they know, into its str."""
    said = exc.value if isinstance(exc, LibcloudError) else str(exc)
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__
