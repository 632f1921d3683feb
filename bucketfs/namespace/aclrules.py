"""What POSIX ACLs do to attributes: setting one, chmod beside one, and inheriting one; pure.

`acl` knows the ACLs themselves; here they meet the extended attributes that keep them and the mode
that shows them. The umask was taken off by the kernel before a request comes, so that it counts in
directories with a default ACL too, where other file systems ignore it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace

from bucketfs.errors import NotImplementedHere, PermissionRefused
from bucketfs.namespace import acl
from bucketfs.namespace.attributes import Attributes

_NAMES = frozenset((acl.ACCESS, acl.DEFAULT))


def is_acl(name: str) -> bool:
    """Tell whether an extended attribute is an ACL."""
    return name in _NAMES


def inherited(parent_xattrs: Mapping[str, bytes], mode: int) -> tuple[int, dict[str, bytes]]:
    """Return mode and ACLs of what is made with `mode` in a directory with these attributes."""
    blob = parent_xattrs.get(acl.DEFAULT)
    default = acl.parse(blob) if blob is not None else None
    if blob is None or default is None or stat.S_ISLNK(mode):
        return mode, {}
    access, mode = acl.inherit(default, mode)
    xattrs = {} if access is None else {acl.ACCESS: acl.serialise(access)}
    if stat.S_ISDIR(mode):
        xattrs[acl.DEFAULT] = blob
    return mode, xattrs


def after_chmod(attributes: Attributes) -> Attributes:
    """Return attributes whose access ACL says what their new mode says."""
    blob = attributes.xattrs.get(acl.ACCESS)
    access = acl.parse(blob) if blob is not None else None
    if access is None:
        return attributes
    changed = acl.serialise(access.with_mode(attributes.mode))
    return replace(attributes, xattrs={**attributes.xattrs, acl.ACCESS: changed})


def after_set(attributes: Attributes, name: str, value: bytes) -> Attributes:
    """Return attributes after an ACL was set; one that the mode can say alone is not kept.

    Raises: InvalidOperation (not valid), PermissionRefused (a default ACL of what is no directory),
    NotImplementedHere (symlinks have none).
    """
    if stat.S_ISLNK(attributes.mode):
        raise NotImplementedHere("symlinks have no ACL")
    parsed = acl.parse(value)
    xattrs = {kept: blob for kept, blob in attributes.xattrs.items() if kept != name}
    if name == acl.DEFAULT:
        if not stat.S_ISDIR(attributes.mode):
            raise PermissionRefused("only directories have a default ACL")
        if parsed is not None:
            xattrs[name] = acl.serialise(parsed)
        return replace(attributes, xattrs=xattrs)
    mode = attributes.mode
    if parsed is not None:
        mode = mode & ~0o777 | parsed.mode_bits()
        if not parsed.is_minimal:
            xattrs[name] = acl.serialise(parsed)
    return replace(attributes, mode=mode, xattrs=xattrs)
