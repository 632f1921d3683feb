"""What the operating system says of a file, in the words of the seam."""

from __future__ import annotations

import errno
import os

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    InvalidKey,
    InvalidRequest,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)

_CLASSES: dict[int, type[StorageError]] = {
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: QuotaExceeded,
    errno.EDQUOT: QuotaExceeded,
    errno.EFBIG: ObjectTooLarge,
    errno.ENAMETOOLONG: InvalidKey,
    errno.ENOTDIR: InvalidKey,
    errno.EISDIR: InvalidKey,
    errno.ELOOP: InvalidKey,
    errno.EIO: Transient,
    errno.ESTALE: Transient,
    errno.ETIMEDOUT: Transient,
    errno.EMFILE: Transient,
    errno.ENFILE: Transient,
    errno.ENOMEM: Transient,
    errno.EINTR: Transient,
}

NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of opening that mean: no file of that name (links are not followed)."""


def storage_error(exc: OSError, root: int, key: str | None, operation: str) -> StorageError:
    """Return our error for `exc`; `root` is the open bucket folder (gone: BucketNotFound)."""
    code = exc.errno or 0
    text = exc.strerror or str(exc)
    if code == errno.ENOENT:
        if os.fstat(root).st_nlink == 0:
            return BucketNotFound("the bucket's folder was removed", key=key, operation=operation)
        return ObjectNotFound("no such object", key=key, operation=operation)
    return _CLASSES.get(code, InvalidRequest)(text, key=key, operation=operation)
