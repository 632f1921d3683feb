"""Boundary: the one place where exceptions become errnos, and where requests have a deadline.

pyfuse3 ends the mount for every exception but FUSEError, so each handler of `operations.py` is
wrapped by `request`: our own errors become the errno of `ERRNOS`, anything else is a bug, which is
EIO for that one call with its traceback in the log.
"""

from __future__ import annotations

import errno
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, cast

import pyfuse3
import trio

from bucketfs import errors
from bucketfs.counting import causes
from bucketfs.counting.calls import Calls
from bucketfs.counting.causes import Admission, Cause

log = logging.getLogger(__name__)

ERRNOS: Mapping[type[errors.BucketfsError], int] = MappingProxyType(
    {
        errors.BucketfsError: errno.EIO,
        errors.ConfigurationError: errno.EIO,
        errors.CacheDirectoryError: errno.EIO,
        errors.StorageError: errno.EIO,
        errors.ObjectNotFound: errno.ENOENT,
        errors.BucketNotFound: errno.EIO,
        errors.ObjectChanged: errno.ESTALE,
        errors.ObjectExists: errno.ESTALE,
        errors.ObjectArchived: errno.EIO,
        errors.AccessDenied: errno.EACCES,
        errors.CallerRefused: errno.EACCES,
        errors.QuotaExceeded: errno.ENOSPC,
        errors.ObjectTooLarge: errno.EFBIG,
        errors.InvalidKey: errno.EINVAL,
        errors.InvalidRequest: errno.EIO,
        errors.NotSupported: errno.ENOTSUP,
        errors.ConfusedServer: errno.EIO,
        errors.Transient: errno.EIO,
        errors.KeysUnavailable: errno.EIO,
        errors.FileSystemError: errno.EIO,
        errors.EntryNotFound: errno.ENOENT,
        errors.EntryExists: errno.EEXIST,
        errors.NotADirectory: errno.ENOTDIR,
        errors.IsADirectory: errno.EISDIR,
        errors.DirectoryNotEmpty: errno.ENOTEMPTY,
        errors.NotPermitted: errno.EPERM,
        errors.PermissionRefused: errno.EACCES,
        errors.InvalidOperation: errno.EINVAL,
        errors.NameTooLong: errno.ENAMETOOLONG,
        errors.NotImplementedHere: errno.ENOTSUP,
        errors.AttributeNotFound: errno.ENODATA,
        errors.AttributesTooLarge: errno.ENOSPC,
        errors.BufferTooSmall: errno.ERANGE,
        errors.ReadOnly: errno.EROFS,
        errors.StaleHandle: errno.ESTALE,
        errors.FileTooLarge: errno.EFBIG,
        errors.NoSpace: errno.ENOSPC,
        errors.CrossMount: errno.EXDEV,
    }
)
"""The whole table: every class of errors.py has its line (tests/unit/fuse/test_boundary.py)."""

_EVERYDAY = (errors.FileSystemError, errors.ObjectNotFound, errors.CallerRefused)
"""Answers that programs ask for on purpose: not worth more than a DEBUG line."""

DEADLINE_S = 600.0
"""Longest time that a request without its own bound may take; the stores give up far earlier."""
SWEEP_INTERVAL_S = 5.0
SLOW_S = 60.0

_DEADLINE_BOUND = frozenset({"lookup", "getattr", "read", "readdir", "readlink", "open", "opendir"})
"""What may be given up: these ask the bucket and change nothing there. A change is never abandoned
half-way; the store's own time limits end it."""


def errno_of(exc: errors.BucketfsError) -> int:
    """Return the errno of one of our errors; a class without a line has that of its base."""
    if isinstance(exc, errors.Transient) and exc.throttled:
        return errno.EAGAIN
    for kind in type(exc).__mro__:
        if kind in ERRNOS:
            return ERRNOS[kind]
    return errno.EIO


def unwrapped(exc: BaseException) -> BaseException:
    """Return the one exception that a (nested) group is about.

    Cancellations beside a real error are its echo. Among several errors one that is not ours wins,
    because it is a bug and must be seen.
    """
    leaves = list(_leaves(exc))
    bugs = [leaf for leaf in leaves if not isinstance(leaf, errors.BucketfsError | trio.Cancelled)]
    ours = [leaf for leaf in leaves if isinstance(leaf, errors.BucketfsError)]
    return (bugs or ours or leaves)[0]


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def translated(exc: BaseException, operation: str, subject: object) -> pyfuse3.FUSEError:
    """Return the FUSEError for `exc` and log what happened, as loudly as it deserves."""
    cause = unwrapped(exc)
    if isinstance(cause, pyfuse3.FUSEError):
        return cause
    if isinstance(cause, errors.BucketfsError):
        code = errno_of(cause)
        level = logging.DEBUG if isinstance(cause, _EVERYDAY) else logging.WARNING
        log.log(level, "%s(%s): %s [%s]", operation, subject, cause, errno.errorcode.get(code))
        return pyfuse3.FUSEError(code)
    log.error("%s(%s) met a bug", operation, subject, exc_info=cause)
    return pyfuse3.FUSEError(errno.EIO)


_SIZES: Mapping[str, Callable[[Any], int]] = {"read": len, "write": int}
"""How many bytes a request was about, from what its handler returns."""


class InFlight(Cause):
    """One request that the kernel waits for, and the cause of all that is done for it.

    `pid` is the process that waits. `since_s` is on the monotonic clock. `size_bytes` were read or
    written by it. `name`: which of its subject's entries it is about.
    """

    __slots__ = (
        "is_failed",
        "is_reported",
        "name",
        "operation",
        "scope",
        "since_s",
        "size_bytes",
        "subject",
    )

    def __init__(
        self, operation: str, subject: object, pid: int, name: bytes | None = None
    ) -> None:
        # As Cause does it, without the call: this happens for every request.
        self.pid = pid
        self.program = None
        self.has_waited = False
        self.operation = operation
        self.subject = subject
        self.name = name
        self.scope: trio.CancelScope | None = None
        self.since_s = time.monotonic()
        self.is_reported = False
        self.is_failed = False
        self.size_bytes = 0


class InFlightTable:
    """All requests that the kernel waits for now, and the sum of those that were answered.

    One sweeping task looks for those past their deadline, which is cheaper than a timer each.
    `admission` says for whom the store may be asked.
    """

    def __init__(self, deadline_s: float = DEADLINE_S, admission: Admission | None = None) -> None:
        self.admission = admission
        self.calls = Calls()
        self._deadline_s = deadline_s
        self._requests: set[InFlight] = set()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[InFlight]:
        return iter(list(self._requests))

    def add(self, request: InFlight) -> None:
        """Begin with `request`: what this task does from now on is done for it."""
        request.admission = self.admission
        self._requests.add(request)
        causes.enter(request)

    def remove(self, request: InFlight) -> None:
        """The request was answered."""
        self._requests.discard(request)
        self.calls.done(
            request.operation,
            time.monotonic() - request.since_s,
            request.size_bytes,
            request.has_waited,
            request.is_failed,
        )

    def report(self) -> list[dict[str, object]]:
        """Return what is under way, the longest first."""
        now = time.monotonic()
        ordered = sorted(self._requests, key=lambda request: request.since_s)
        return [
            {
                "operation": request.operation,
                "subject": str(request.subject),
                "seconds": round(now - request.since_s, 3),
            }
            for request in ordered
        ]

    def sweep(self) -> None:
        """Give up requests past the deadline, and name slow ones in the log, once each."""
        now = time.monotonic()
        for request in self._requests:
            age_s = now - request.since_s
            if age_s > SLOW_S and not request.is_reported:
                request.is_reported = True
                log.info("%s(%s) takes long: %d s", request.operation, request.subject, age_s)
            if age_s > self._deadline_s and request.scope is not None:
                request.scope.cancel()

    async def sweep_for_ever(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            self.sweep()


class HasInFlight(Protocol):
    """What `request` needs of the object whose method it wraps."""

    in_flight: InFlightTable

    def pid_of(self, handle: int) -> int:
        """Return the process that opened a handle."""


Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


def request(handler: Handler) -> Handler:
    """Make a method a request handler: it is counted, bounded, and raises nothing but FUSEError.

    Cancellation from outside (the mount ends) passes through.
    """
    operation = handler.__name__
    is_bound = operation in _DEADLINE_BOUND
    has_name = _is_about_a_name(handler)
    size_of = _SIZES.get(operation)
    context = _place_of_context(handler)

    @functools.wraps(handler)
    async def guarded(self: HasInFlight, *args: Any) -> Any:
        pid = self.pid_of(args[0]) if context is None else args[context].pid
        flight = InFlight(operation, args[0], pid, args[1] if has_name else None)
        self.in_flight.add(flight)
        try:
            if not is_bound:
                result = await handler(self, *args)
            else:
                with trio.CancelScope() as flight.scope:
                    result = await handler(self, *args)
                if flight.scope.cancelled_caught:
                    log.warning("%s(%s) was given up after its deadline", operation, flight.subject)
                    raise pyfuse3.FUSEError(errno.ETIMEDOUT)
            if size_of is not None:
                flight.size_bytes = size_of(result)
            return result
        except Exception as exc:
            flight.is_failed = True
            raise translated(exc, operation, flight.subject) from None
        except (trio.Cancelled, BaseExceptionGroup) as exc:
            flight.is_failed = True
            if all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(exc)):
                raise
            raise translated(exc, operation, flight.subject) from None
        finally:
            self.in_flight.remove(flight)

    return cast("Handler", guarded)


def _is_about_a_name(handler: Callable[..., Any]) -> bool:
    """Tell whether a handler is about an entry of a directory, whose name comes second."""
    names = [name for name in inspect.signature(handler).parameters if name != "self"]
    return len(names) > 1 and names[0].startswith("parent_inode")


def _place_of_context(handler: Callable[..., Any]) -> int | None:
    """Return which argument of a handler tells the process that waits.

    None: pyfuse3 does not pass it on (reads, writes); then it is that which opened the handle.
    """
    names = list(inspect.signature(handler).parameters)[1:]
    return names.index("ctx") if "ctx" in names else None
