"""Every key can be shown and found again under its name."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import InvalidOperation, NameTooLong
from bucketfs.namespace import keys

SEGMENTS = st.one_of(
    st.text(st.characters(exclude_characters="/", exclude_categories=())),
    st.binary().map(lambda data: os.fsdecode(data).replace("/", "")),
    st.text("␛ef#%.\0;0A", max_size=12),
    st.sampled_from(["", ".", "..", "␛e", "␛f", "␛#", "␛e..", "␛f␛fx", "x" * 255, "x" * 256]),
)


@given(SEGMENTS, st.booleans())
def test_a_shown_segment_comes_back(segment: str, is_shadowed: bool) -> None:
    name = keys.shown_file(segment, is_shadowed=is_shadowed)
    assert 0 < len(os.fsencode(name)) <= keys.NAME_MAX_BYTES
    assert name not in (".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert os.fsdecode(os.fsencode(name)) == name
    if keys.is_digest(name):
        with pytest.raises(NameTooLong):
            keys.segment_of(name)
    else:
        assert keys.segment_of(name) == segment
        assert keys.file_key("p/", name, 10_000) == "p/" + segment


@given(SEGMENTS, SEGMENTS, st.booleans(), st.booleans())
def test_two_files_are_never_shown_alike(one: str, two: str, first: bool, second: bool) -> None:
    if (one, first) != (two, second):
        assert keys.shown_file(one, is_shadowed=first) != keys.shown_file(two, is_shadowed=second)


@given(st.binary(min_size=1, max_size=255).filter(lambda data: not set(data) & {0, 0x2F}))
def test_what_a_person_names_keeps_its_name(data: bytes) -> None:
    name = os.fsdecode(data)
    if name in (".", "..") or name[:2] in ("␛e", "␛f", "␛#"):
        return
    assert keys.file_key("", name) == name
    assert keys.shown_file(keys.segment_of(name)) == name


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("a", "a"),
        ("ä\udcff", "ä\udcff"),
        ("␛", "␛"),
        ("␛x", "␛x"),
        ("", "␛e"),
        ("..", "␛e.."),
        ("a\0%", "␛ea%0;%25;"),
        ("␛ea", "␛e␛ea"),
        ("\udcc3\udca9", "␛e%DCC3;%DCA9;"),
    ],
)
def test_names_of_segments(segment: str, name: str) -> None:
    assert keys.shown_segment(segment) == name


def test_a_file_beside_a_directory_of_its_name_is_shown_escaped() -> None:
    assert keys.shown_file("a", is_shadowed=True) == "␛fa"
    assert keys.file_key("p/", "␛fa") == "p/a"
    with pytest.raises(InvalidOperation):
        keys.directory_prefix("p/", "␛fa")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "␛ea", "␛e%41;", "␛f␛fa", "␛#x"])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidOperation):
        keys.file_key("", name)


def test_lengths_are_of_bytes() -> None:
    assert keys.file_key("", "ä" * 127) == "ä" * 127
    with pytest.raises(NameTooLong):
        keys.file_key("", "ä" * 128)
    prefix = "d" * 1000 + "/"
    assert keys.file_key(prefix, "x" * 23, 1024) == prefix + "x" * 23
    assert keys.file_key(prefix, "x" * 24) == prefix + "x" * 24
    with pytest.raises(NameTooLong):
        keys.file_key(prefix, "x" * 24, 1024)
    with pytest.raises(NameTooLong):
        keys.directory_prefix(prefix, "x" * 23, 1024)
    with pytest.raises(NameTooLong):
        keys.file_key("", "x" * 30, 20)


def test_a_nest_of_escapes_is_read_in_no_time() -> None:
    with pytest.raises(InvalidOperation):
        keys.segment_of("␛f" * 60)
    assert keys.shown_segment(keys.segment_of(keys.shown_segment("␛e" * 60))) is not None


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("a/b/c", ("a/b/", "c")),
        ("a/b/", ("a/", "b")),
        ("a/", ("", "a")),
        ("c", ("", "c")),
        ("a//", ("a/", "")),
    ],
)
def test_split_key(key: str, parts: tuple[str, str]) -> None:
    assert keys.split_key(key) == parts
