"""The exception tree (leaf): what can go wrong, without saying which errno that is.

Only `fuse/boundary.py` knows errnos, and only `cli/` prints. A message says what failed, on which
key, and what a person can do about it.
"""

from __future__ import annotations


class BucketfsError(Exception):
    """Anything that bucketfs itself reports; the root of the tree."""


class ConfigurationError(BucketfsError):
    """A setting, option, URL or credential that a person has to correct."""


class CacheDirectoryError(ConfigurationError):
    """The cache directory cannot be used: not writable, full, or taken by another mount."""


class StorageError(BucketfsError):
    """An object store refused or failed an operation.

    `key`, `operation` and `request_id` (the store's own id, for its support): None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        operation: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        self.operation = operation
        self.request_id = request_id

    def __str__(self) -> str:
        parts = [super().__str__()]
        if self.operation:
            parts.append(f"operation={self.operation}")
        if self.key is not None:
            parts.append(f"key={self.key!r}")
        if self.request_id:
            parts.append(f"request={self.request_id}")
        return " ".join(parts)


class ObjectNotFound(StorageError):
    """The server itself said that there is no such object."""


class BucketNotFound(StorageError):
    """The server itself said that there is no such bucket (never raised for a missing object)."""


class ObjectChanged(StorageError):
    """A precondition failed: the object is not the version that the caller knew."""


class ObjectExists(ObjectChanged):
    """A precondition failed: an object is there where none was to be."""


class ObjectArchived(StorageError):
    """The object's storage class must be restored before it can be read."""


class AccessDenied(StorageError):
    """The credentials are not allowed to do this, or are not known to the server."""


class CallerRefused(StorageError):
    """The program on whose behalf the store would be asked may cause no requests (`crawlers`)."""


class QuotaExceeded(StorageError):
    """The bucket or account may not hold more."""


class ObjectTooLarge(StorageError):
    """Larger than this store can hold in one object, or by this way of writing it."""


class InvalidKey(StorageError):
    """A key that this store cannot hold: too long, or with bytes that it refuses."""


class InvalidRequest(StorageError):
    """The server refused the request in a way that no repetition will cure."""


class NotSupported(StorageError):
    """This store has no such ability."""


class ConfusedServer(StorageError):
    """The server's answer breaks its protocol: short, malformed, or with a wrong checksum."""


class Transient(StorageError):
    """A failure that may pass: 5xx, 429, timeouts, resets, short bodies.

    `retry_after_s` is the pause that the server asked for, or None. `throttled`: the server is
    asking for fewer requests. `sent` is False where the request surely never reached the server,
    so that repeating it cannot do it twice.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        operation: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        throttled: bool = False,
        sent: bool = True,
    ) -> None:
        super().__init__(message, key=key, operation=operation, request_id=request_id)
        self.retry_after_s = retry_after_s
        self.throttled = throttled
        self.sent = sent


class KeysUnavailable(Transient):
    """Valid keys cannot be had for the moment: what gives them does not answer, or gives none."""


class FileSystemError(BucketfsError):
    """A rule of file systems (POSIX) forbids what was asked; raised by namespace and pagecache."""


class EntryNotFound(FileSystemError):
    """No entry of that name."""


class EntryExists(FileSystemError):
    """An entry of that name is there already."""


class NotADirectory(FileSystemError):
    """A directory was needed."""


class IsADirectory(FileSystemError):
    """Anything but a directory was needed."""


class DirectoryNotEmpty(FileSystemError):
    """The directory still has entries."""


class NotPermitted(FileSystemError):
    """The operation is not possible on this kind of file, whoever asks (EPERM)."""


class PermissionRefused(FileSystemError):
    """The file's owner and mode do not allow this caller to do it (EACCES)."""


class InvalidOperation(FileSystemError):
    """An argument makes no sense here (EINVAL)."""


class NameTooLong(FileSystemError):
    """A name over 255 bytes, or a path whose key is longer than the store can hold."""


class NotImplementedHere(FileSystemError):
    """An operation that this file system does not have (ENOTSUP)."""


class AttributeNotFound(FileSystemError):
    """No extended attribute of that name (ENODATA)."""


class AttributesTooLarge(FileSystemError):
    """The attributes would not fit into the object's metadata (ENOSPC)."""


class BufferTooSmall(FileSystemError):
    """The answer does not fit into what the caller offered (ERANGE)."""


class ReadOnly(FileSystemError):
    """The mount is read-only."""


class StaleHandle(FileSystemError):
    """The file behind an inode or handle was replaced or is gone (ESTALE)."""


class FileTooLarge(FileSystemError):
    """The file would be larger than the store can hold (EFBIG)."""


class NoSpace(FileSystemError):
    """The local disk or memory budget cannot hold what was written (ENOSPC)."""


class CrossMount(FileSystemError):
    """The two names are not on the same mount (EXDEV)."""
