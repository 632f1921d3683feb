"""Attributes in object metadata: our own round trip, s3fs's words, and what others write."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import AttributesTooLarge
from bucketfs.namespace import dialects
from bucketfs.namespace.attributes import (
    Attributes,
    Defaults,
    from_metadata,
    implicit_directory,
    is_special,
    to_metadata,
)
from bucketfs.storage.interface import ObjectInfo, Version

DEFAULTS = Defaults(1, 2, 0o640, 0o750)
S = 10**9
MODIFIED_NS = 1_700_000_000 * S


def info(metadata: dict[str, str] | None, key: str = "k") -> ObjectInfo:
    return ObjectInfo(key, 3, Version("v"), MODIFIED_NS, metadata)


def read(**metadata: str) -> Attributes:
    return from_metadata(info(metadata), DEFAULTS, is_directory=False)


FILE_TYPES = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
TIMES = st.integers(-(10**12), 2**62)
ATTRIBUTES = st.builds(
    Attributes,
    mode=st.builds(
        lambda kind, bits: kind | bits, st.sampled_from(FILE_TYPES), st.integers(0, 0o7777)
    ),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=TIMES,
    ctime_ns=TIMES,
    atime_ns=TIMES,
    rdev=st.integers(0, 2**32 - 1),
    xattrs=st.dictionaries(st.text(min_size=1, max_size=9), st.binary(max_size=20), max_size=3),
    foreign=st.just({"colour": "blue"}),
)


@given(ATTRIBUTES)
def test_written_attributes_are_read_back(attributes: Attributes) -> None:
    metadata = to_metadata(attributes, 100_000)
    assert all(value.isascii() for value in metadata.values())
    assert from_metadata(info(metadata), DEFAULTS, is_directory=False) == attributes


def test_written_as_s3fs_writes() -> None:
    attributes = Attributes(
        stat.S_IFREG | 0o644, 1000, 100, 12 * S + 34, 56 * S, -1, xattrs={"user.a": b"\xff"}
    )
    assert to_metadata(attributes) == {
        "mode": "33188",
        "uid": "1000",
        "gid": "100",
        "mtime": "12.000000034",
        "ctime": "56",
        "atime": "-1.999999999",
        "xattr": "%7B%22user.a%22%3A%22%2Fw%3D%3D%22%7D",
    }


def test_no_metadata_means_defaults_and_last_modified() -> None:
    attributes = from_metadata(info(None), DEFAULTS, is_directory=False)
    assert attributes == Attributes(
        stat.S_IFREG | 0o640, 1, 2, MODIFIED_NS, MODIFIED_NS, MODIFIED_NS
    )
    marker = from_metadata(info({}, "d/"), DEFAULTS, is_directory=True)
    assert marker.mode == stat.S_IFDIR | 0o750
    assert implicit_directory(DEFAULTS, 5).mtime_ns == 5


def test_the_key_decides_what_is_a_directory() -> None:
    as_file = {"mode": str(stat.S_IFREG | 0o700)}
    assert from_metadata(info(as_file, "d/"), DEFAULTS, is_directory=True).mode == 0o040700
    assert read(mode=str(stat.S_IFDIR | 0o711)).mode == 0o100711


@pytest.mark.parametrize(
    ("metadata", "field", "value"),
    [
        ({"mode": "420"}, "mode", 0o100644),
        ({"mode": "0644"}, "mode", 0o100644),
        ({"mode": "41471"}, "mode", stat.S_IFLNK | 0o777),
        ({"mode": "rw"}, "mode", 0o100640),
        ({"mode": "99999999"}, "mode", 0o100640),
        ({"mode": "0999"}, "mode", 0o100640),
        ({"permissions": "493"}, "mode", 0o100755),
        ({"goog-reserved-posix-mode": "100755"}, "mode", 0o100755),
        ({"bosfs-mode": "33261"}, "mode", 0o100755),
        ({"is_symlink": "true"}, "mode", stat.S_IFLNK | 0o777),
        ({"goog-reserved-file-is-symlink": "true"}, "mode", stat.S_IFLNK | 0o777),
        ({"--symlink-target": "a/b"}, "mode", stat.S_IFLNK | 0o777),
        ({"owner": "7"}, "uid", 7),
        ({"uid": "5", "owner": "7"}, "uid", 5),
        ({"uid": "-1"}, "uid", 1),
        ({"uid": "4294967295"}, "uid", 1),
        ({"bosfs-gid": "8"}, "gid", 8),
        ({"goog-reserved-posix-gid": "9"}, "gid", 9),
        ({"mtime": "12.5"}, "mtime_ns", 12 * S + S // 2),
        ({"mtime": "1469128240.1234567891"}, "mtime_ns", 1469128240 * S + 123456789),
        ({"mtime": "12"}, "atime_ns", 12 * S),
        ({"mtime": "yesterday"}, "mtime_ns", MODIFIED_NS),
        ({"goog-reserved-file-mtime": "77"}, "mtime_ns", 77 * S),
        ({"bosfs-mtime": "78"}, "mtime_ns", 78 * S),
        ({"gcsfuse_mtime": "1970-01-01T00:00:01.000000009Z"}, "mtime_ns", S + 9),
        ({"gcsfuse_mtime": "1970-01-01T01:00:00+01:00"}, "mtime_ns", 0),
        ({"ctime": "3"}, "ctime_ns", 3 * S),
    ],
)
def test_dialects(metadata: dict[str, str], field: str, value: int) -> None:
    assert getattr(from_metadata(info(metadata), DEFAULTS, is_directory=False), field) == value


def test_foreign_metadata_goes_back() -> None:
    attributes = read(**{"colour": "blue", "mode": "33188"})
    assert to_metadata(attributes)["colour"] == "blue"


def test_an_xattr_header_that_cannot_be_read_is_not_lost() -> None:
    attributes = read(xattr="%7Bbroken")
    assert attributes.xattrs == {}
    assert to_metadata(attributes)["xattr"] == "%7Bbroken"


def test_s3fs_writes_names_raw_into_its_json() -> None:
    assert dialects.parse_xattrs('{"user.ü":"YQ=="}') == {"user.ü": b"a"}


def test_the_hint_is_of_directories() -> None:
    hinted = {"bucketfs-special": "1", "mode": "16877"}
    directory = from_metadata(info(hinted, "d/"), DEFAULTS, is_directory=True)
    assert directory.holds_special
    assert to_metadata(directory)["bucketfs-special"] == "1"
    assert not read(**hinted).holds_special


def test_what_does_not_fit_is_refused() -> None:
    attributes = read()
    attributes.xattrs["user.big"] = b"x" * 2000
    with pytest.raises(AttributesTooLarge):
        to_metadata(attributes)


def test_symlink_targets_in_metadata() -> None:
    assert dialects.symlink_target({"--symlink-target": "a%20b"}) == "a b"
    assert dialects.symlink_target({"mode": "1"}) is None


def test_special_types() -> None:
    assert is_special(stat.S_IFIFO)
    assert not is_special(stat.S_IFDIR | 0o777)
    assert not is_special(stat.S_IFREG)


def test_defaults_from_masks() -> None:
    assert Defaults.from_masks(0, 0, 0o022) == Defaults(0, 0, 0o644, 0o755)
    assert Defaults.from_masks(0, 0, 0o022, fmask=0o077) == Defaults(0, 0, 0o600, 0o755)


@pytest.mark.parametrize("is_appendable", [True, False])
@pytest.mark.parametrize("age_s", [-5, 5])
def test_what_grew_is_as_new_as_its_last_append(is_appendable: bool, age_s: int) -> None:
    written_s = 1_700_000_000
    metadata = {"mtime": f"{written_s}.5", "ctime": f"{written_s}.5", "atime": "7"}
    modified_ns = (written_s - age_s) * 10**9
    info = ObjectInfo("log", 9, Version("v"), modified_ns, metadata, is_appendable=is_appendable)
    found = from_metadata(info, Defaults(1, 1), is_directory=False)
    own_ns = written_s * 10**9 + 500_000_000
    expected = max(own_ns, modified_ns) if is_appendable else own_ns
    assert (found.mtime_ns, found.ctime_ns, found.atime_ns) == (expected, expected, 7 * 10**9)
