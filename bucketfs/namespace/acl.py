"""POSIX ACLs as the kernel hands them over (system.posix_acl_*), and what they do to modes; pure.

The blob is `struct posix_acl_xattr_header` and its entries (linux/posix_acl_xattr.h): version 2,
then tag, permissions and id of each entry, little-endian. The rules are those of acl(5): the group
bits of the mode are the mask where there is one, chmod changes the mask, and a default ACL of a
directory becomes the access ACL of what is made in it.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bucketfs.errors import InvalidOperation, PermissionRefused

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

USER_OBJ = 0x01
USER = 0x02
GROUP_OBJ = 0x04
GROUP = 0x08
MASK = 0x10
OTHER = 0x20

NO_ID = 0xFFFF_FFFF
"""The id of entries that have none."""

_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_ORDER = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)
_NAMED = (USER, GROUP)


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One entry: its tag, permission bits (rwx as 7) and, of named ones, the user or group."""

    tag: int
    permissions: int
    id: int = NO_ID


@dataclass(frozen=True, slots=True)
class Acl:
    """A valid ACL; entries in the order of acl(5)."""

    entries: tuple[AclEntry, ...]

    @property
    def is_minimal(self) -> bool:
        """Whether mode bits say all of it."""
        return len(self.entries) == 3

    def mode_bits(self) -> int:
        """Return the nine bits that a mode shows for this ACL."""
        group = self._permissions(MASK)
        if group is None:
            group = self._permissions(GROUP_OBJ) or 0
        owner = self._permissions(USER_OBJ) or 0
        return owner << 6 | group << 3 | (self._permissions(OTHER) or 0)

    def with_mode(self, mode: int) -> Acl:
        """Return this ACL after chmod(2): the group bits go to the mask where there is one."""
        group_tag = GROUP_OBJ if self._permissions(MASK) is None else MASK
        bits = {USER_OBJ: mode >> 6 & 7, group_tag: mode >> 3 & 7, OTHER: mode & 7}
        return Acl(
            tuple(
                replace(entry, permissions=bits.get(entry.tag, entry.permissions))
                for entry in self.entries
            )
        )

    def _permissions(self, tag: int) -> int | None:
        return next((entry.permissions for entry in self.entries if entry.tag == tag), None)


def parse(blob: bytes) -> Acl | None:
    """Return the ACL of an xattr's value; None: it has no entries, which means "remove it".

    Raises: InvalidOperation, where the kernel's `posix_acl_valid` would refuse it.
    """
    body = len(blob) - _HEADER.size
    if body < 0 or body % _ENTRY.size or _HEADER.unpack_from(blob) != (_VERSION,):
        raise InvalidOperation("not a POSIX ACL of version 2")
    entries = [AclEntry(*fields) for fields in _ENTRY.iter_unpack(blob[_HEADER.size :])]
    if not entries:
        return None
    # Only named entries have ids; whatever stands there in others is of no meaning.
    entries = [e if e.tag in _NAMED else replace(e, id=NO_ID) for e in entries]
    _validate(entries)
    return Acl(tuple(entries))


def serialise(acl: Acl) -> bytes:
    """Return the xattr's value."""
    return _HEADER.pack(_VERSION) + b"".join(
        _ENTRY.pack(entry.tag, entry.permissions, entry.id) for entry in acl.entries
    )


def from_mode(mode: int) -> Acl:
    """Return the minimal ACL that says the same as `mode`."""
    return Acl(
        (
            AclEntry(USER_OBJ, mode >> 6 & 7),
            AclEntry(GROUP_OBJ, mode >> 3 & 7),
            AclEntry(OTHER, mode & 7),
        )
    )


def inherited(default: Acl, mode: int) -> tuple[Acl | None, int]:
    """Return (access ACL, mode) of what is made with `mode` in a directory with a default ACL.

    The mode takes bits away from the ACL and the umask does not count, as in the kernel's
    `posix_acl_create_masq`. The ACL is None where the mode says all of it.
    """
    group_tag = MASK if any(entry.tag == MASK for entry in default.entries) else GROUP_OBJ
    allowed = {USER_OBJ: mode >> 6 & 7, group_tag: mode >> 3 & 7, OTHER: mode & 7}
    access = Acl(
        tuple(
            replace(entry, permissions=entry.permissions & allowed.get(entry.tag, 7))
            for entry in default.entries
        )
    )
    inherited_mode = mode & ~0o777 | access.mode_bits()
    return (None if access.is_minimal else access), inherited_mode


def is_acl(name: str) -> bool:
    """Whether an extended attribute of that name is an ACL."""
    return name in (ACCESS, DEFAULT)


def inherit(xattrs: Mapping[str, bytes], mode: int) -> tuple[int, dict[str, bytes]]:
    """Return (mode, xattrs) of what is made with `mode` in a directory with these `xattrs`."""
    default = parse(xattrs[DEFAULT]) if DEFAULT in xattrs else None
    if default is None:
        return mode, {}
    access, mode = inherited(default, mode)
    made = {} if access is None else {ACCESS: serialise(access)}
    if stat.S_ISDIR(mode):
        made[DEFAULT] = xattrs[DEFAULT]
    return mode, made


def after_chmod(xattrs: Mapping[str, bytes], mode: int) -> dict[str, bytes]:
    """Return the xattrs of a file whose mode was changed to `mode`."""
    changed = dict(xattrs)
    access = parse(changed[ACCESS]) if ACCESS in changed else None
    if access is not None:
        changed[ACCESS] = serialise(access.with_mode(mode))
    return changed


def after_set(
    xattrs: Mapping[str, bytes], mode: int, name: str, value: bytes
) -> tuple[int, dict[str, bytes]]:
    """Return (mode, xattrs) after an ACL was set.

    An access ACL changes the mode, and is not kept where the mode says all of it. An ACL without
    entries removes. Raises: InvalidOperation (invalid), PermissionRefused (a default ACL on what is
    no directory).
    """
    acl = parse(value)
    changed = dict(xattrs)
    if name == DEFAULT:
        if acl is not None and not stat.S_ISDIR(mode):
            raise PermissionRefused("only directories have default ACLs")
    elif acl is not None:
        mode = mode & ~0o777 | acl.mode_bits()
    if acl is None or (name == ACCESS and acl.is_minimal):
        changed.pop(name, None)
    else:
        changed[name] = serialise(acl)
    return mode, changed


def _validate(entries: Sequence[AclEntry]) -> None:
    tags = [entry.tag for entry in entries]
    if any(
        tag not in _ORDER or entry.permissions > 7 for tag, entry in zip(tags, entries, strict=True)
    ):
        raise InvalidOperation("an ACL entry has an unknown tag or permission")
    ranks = [_ORDER.index(tag) for tag in tags]
    if ranks != sorted(ranks):
        raise InvalidOperation("the entries of an ACL are out of order")
    for tag in (USER_OBJ, GROUP_OBJ, OTHER):
        if tags.count(tag) != 1:
            raise InvalidOperation("an ACL needs exactly one entry for owner, group and others")
    has_named = any(tag in _NAMED for tag in tags)
    if tags.count(MASK) > 1 or (has_named and MASK not in tags):
        raise InvalidOperation("an ACL with named users or groups needs exactly one mask")
    if any(entry.id == NO_ID for entry in _named(entries)):
        raise InvalidOperation("a named entry of an ACL has no id")


def _named(entries: Sequence[AclEntry]) -> Iterator[AclEntry]:
    return (entry for entry in entries if entry.tag in _NAMED)
