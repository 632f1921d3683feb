"""setxattr(2), getxattr(2), listxattr(2), removexattr(2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .calls import OK, make, outcome


@pytest.mark.parametrize("kind", ["regular", "directory"])
@pytest.mark.parametrize("value", [b"", b"x", bytes(range(256)), b"long" * 100])
def test_values_are_bytes(top: Path, kind: str, value: bytes) -> None:
    path = make(top / "f", kind, 0o755)
    os.setxattr(path, "user.name", value)
    assert os.getxattr(path, "user.name") == value
    assert os.listxattr(path) == ["user.name"]


def test_many_and_removal(top: Path) -> None:
    path = make(top / "f", "regular")
    for number in range(10):
        os.setxattr(path, f"user.n{number}", str(number).encode())
    os.removexattr(path, "user.n4")
    assert sorted(os.listxattr(path)) == [f"user.n{n}" for n in range(10) if n != 4]
    assert outcome(os.getxattr, path, "user.n4") == "ENODATA"
    assert outcome(os.removexattr, path, "user.n4") == "ENODATA"


def test_create_and_replace(top: Path) -> None:
    path = make(top / "f", "regular")
    assert outcome(os.setxattr, path, "user.a", b"1", os.XATTR_REPLACE) == "ENODATA"
    assert outcome(os.setxattr, path, "user.a", b"1", os.XATTR_CREATE) == OK
    assert outcome(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE) == "EEXIST"
    assert outcome(os.setxattr, path, "user.a", b"3", os.XATTR_REPLACE) == OK
    assert os.getxattr(path, "user.a") == b"3"


def test_they_follow_a_rename_and_an_edit(top: Path) -> None:
    path = make(top / "f", "regular")
    os.setxattr(path, "user.kept", b"yes")
    with open(path, "ab") as file:
        file.write(b"more")
    os.rename(path, top / "g")
    assert os.getxattr(top / "g", "user.kept") == b"yes"


def test_other_namespaces_are_refused(top: Path, is_reference: bool) -> None:
    if is_reference:
        pytest.skip("the reference file system keeps trusted attributes")
    path = make(top / "f", "regular")
    assert outcome(os.setxattr, path, "trusted.x", b"1") == "ENOTSUP"


def test_an_xattr_that_fits_nowhere_is_refused(top: Path) -> None:
    path = make(top / "f", "regular")
    os.setxattr(path, "user.small", b"kept")
    assert outcome(os.setxattr, path, "user.big", b"x" * 60_000) in ("ENOSPC", "E2BIG")
    assert os.getxattr(path, "user.small") == b"kept"
