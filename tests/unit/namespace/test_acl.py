"""ACL blobs and what they do to modes, by the rules of acl(5)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import InvalidOperation, PermissionRefused
from bucketfs.namespace import acl
from bucketfs.namespace.acl import Acl, AclEntry

EXTENDED = Acl(
    (
        AclEntry(acl.USER_OBJ, 6),
        AclEntry(acl.USER, 7, 1000),
        AclEntry(acl.GROUP_OBJ, 5),
        AclEntry(acl.GROUP, 4, 50),
        AclEntry(acl.MASK, 4),
        AclEntry(acl.OTHER, 0),
    )
)


def test_blob_is_the_kernels() -> None:
    blob = acl.serialise(acl.from_mode(0o640))
    entries = ((1, 6), (4, 4), (0x20, 0))
    assert blob == struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, 0xFFFFFFFF) for tag, bits in entries
    )


@given(st.integers(0, 0o777))
def test_minimal_acl_says_what_the_mode_says(mode: int) -> None:
    minimal = acl.from_mode(mode)
    assert minimal.mode_bits() == mode
    assert acl.parse(acl.serialise(minimal)) == minimal


def test_extended_acl_survives_and_shows_its_mask_as_group_bits() -> None:
    assert acl.parse(acl.serialise(EXTENDED)) == EXTENDED
    assert EXTENDED.mode_bits() == 0o640


def test_chmod_changes_the_mask_and_leaves_the_groups() -> None:
    changed = EXTENDED.with_mode(0o771)
    assert changed.mode_bits() == 0o771
    assert changed.entries[2] == EXTENDED.entries[2]
    assert changed.entries[4] == AclEntry(acl.MASK, 7)


def test_inheritance_takes_the_mode_from_the_acl_and_ignores_the_umask() -> None:
    access, mode = acl.inherited(EXTENDED, 0o100666)
    assert mode == 0o100640
    assert access is not None
    assert access.entries[1] == EXTENDED.entries[1]
    assert acl.inherited(acl.from_mode(0o750), 0o100666) == (None, 0o100640)


def test_an_acl_without_entries_means_none() -> None:
    assert acl.parse(struct.pack("<I", 2)) is None


def blob_of(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x02\0\0",
        struct.pack("<I", 1),
        struct.pack("<I", 2) + b"\0",
        blob_of((1, 6, 0), (4, 4, 0)),
        blob_of((4, 6, 0), (1, 6, 0), (0x20, 4, 0)),
        blob_of((1, 8, 0), (4, 4, 0), (0x20, 0, 0)),
        blob_of((1, 6, 0), (3, 4, 0), (4, 4, 0), (0x20, 0, 0)),
        blob_of((1, 6, 0), (2, 6, 7), (4, 4, 0), (0x20, 0, 0)),
        blob_of((1, 6, 0), (4, 4, 0), (0x10, 4, 0), (0x10, 4, 0), (0x20, 0, 0)),
        blob_of((1, 6, 0), (2, 6, 0xFFFFFFFF), (4, 4, 0), (0x10, 4, 0), (0x20, 0, 0)),
    ],
)
def test_what_the_kernel_would_refuse_is_refused(blob: bytes) -> None:
    with pytest.raises(InvalidOperation):
        acl.parse(blob)


def test_what_is_made_below_a_default_acl_has_it() -> None:
    blob = acl.serialise(EXTENDED)
    mode, xattrs = acl.inherit({acl.DEFAULT: blob, "user.a": b""}, 0o040777)
    assert mode == 0o040640
    assert xattrs[acl.DEFAULT] == blob
    assert acl.parse(xattrs[acl.ACCESS]) == EXTENDED.with_mode(0o640)
    assert acl.inherit({"user.a": b""}, 0o100644) == (0o100644, {})


def test_setting_an_access_acl_changes_the_mode() -> None:
    blob = acl.serialise(EXTENDED)
    assert acl.after_set({}, 0o104777, acl.ACCESS, blob) == (0o104640, {acl.ACCESS: blob})
    minimal = acl.serialise(acl.from_mode(0o600))
    assert acl.after_set({acl.ACCESS: blob}, 0o100640, acl.ACCESS, minimal) == (0o100600, {})
    assert acl.after_set({acl.ACCESS: blob}, 0o100640, acl.ACCESS, blob[:4]) == (0o100640, {})


def test_chmod_reaches_the_stored_acl() -> None:
    changed = acl.after_chmod({acl.ACCESS: acl.serialise(EXTENDED), "user.a": b"1"}, 0o100777)
    assert acl.parse(changed[acl.ACCESS]) == EXTENDED.with_mode(0o777)
    assert changed["user.a"] == b"1"


def test_only_directories_have_default_acls() -> None:
    blob = acl.serialise(EXTENDED)
    assert acl.after_set({}, 0o040755, acl.DEFAULT, blob) == (0o040755, {acl.DEFAULT: blob})
    with pytest.raises(PermissionRefused):
        acl.after_set({}, 0o100644, acl.DEFAULT, blob)
