"""Keys and the names that they are shown under; pure.

A key is a path of segments joined by "/". An ordinary segment is its own name. Some segments cannot
be directory entries as they are: "", "." and "..", anything with a NUL, more than 255 bytes, and a
file whose name is also a directory ("a" beside "a/b"). They are shown under escaped names, so that
every key of a bucket can be reached whoever wrote it:

    ␛e…   the segment with NUL and "%" as "%HEX;"       "" is "␛e", ".." is "␛e.."
    ␛f…   the file of a name that is also a directory   file "a" beside directory "a" is "␛fa"
    ␛#…   a name too long: its head and a digest        no way back without a listing

A real segment that begins like one of these is itself shown in the first form, which makes showing
injective: `segment_of(shown_...(segment)) == segment` for every segment but the digests. Names in
these forms under which nothing would be shown are refused; every other name stands for itself. Keys
and names are text; bytes that are not UTF-8 are surrogate escapes.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache

from bucketfs.errors import InvalidOperation, NameTooLong

NAME_MAX_BYTES = 255
"""NAME_MAX of Linux file systems."""

ESCAPE = "\N{SYMBOL FOR ESCAPE}"

_SEGMENT_FORM = ESCAPE + "e"
_FILE_FORM = ESCAPE + "f"
_DIGEST_FORM = ESCAPE + "#"
_FORMS = frozenset((_SEGMENT_FORM, _FILE_FORM, _DIGEST_FORM))
_RESERVED = frozenset(("", ".", ".."))
_DIGEST_HEX = 32
_HEAD_CHARACTERS = 48
_DIGEST = re.compile(rf"{_DIGEST_FORM}.*~[0-9a-f]{{{_DIGEST_HEX}}}", re.DOTALL)
_ESCAPED = re.compile("%([0-9A-F]{1,6});")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TO_ESCAPE = re.compile("[%\0]")
_TO_ESCAPE_WITH_SURROGATES = re.compile("[%\0\ud800-\udfff]")


def file_key(prefix: str, name: str, max_key_bytes: int | None = None) -> str:
    """Return the key of the file that is shown as `name` in directory `prefix`.

    `max_key_bytes`: the store's limit, for names that nothing has yet. Raises: NameTooLong (over
    255 bytes, or the key over that limit, or a digest whose key only a listing knows),
    InvalidOperation (no possible name).
    """
    return _limited(prefix + segment_of(_checked(name)), max_key_bytes)


@lru_cache(maxsize=16384)
def directory_prefix(prefix: str, name: str, max_key_bytes: int | None = None) -> str:
    """Return the prefix, which is also the marker's key, of directory `name` in `prefix`.

    Raises: NameTooLong and InvalidOperation as `file_key`; InvalidOperation also for the form that
    only files have.
    """
    if is_shadowed_form(name):
        raise InvalidOperation(f"{name!r} is the escaped name of a file, not of a directory")
    return _limited(prefix + segment_of(_checked(name)) + "/", max_key_bytes)


def check_key(key: str, max_key_bytes: int) -> str:
    """Return `key` if a store can hold it. Raises: NameTooLong."""
    if len(key) * 4 > max_key_bytes and encoded_length(key) > max_key_bytes:
        raise NameTooLong(f"the path needs a key over {max_key_bytes} bytes: {key[:80]!r}...")
    return key


def segment_of(name: str) -> str:
    """Return the segment of a key that `name` stands for.

    Raises: NameTooLong for a digest, InvalidOperation for an escape that nothing is shown under.
    """
    form = name[:2]
    if form not in _FORMS:
        return name
    if form == _DIGEST_FORM:
        if is_digest(name):
            raise NameTooLong(f"the key behind {name!r} has a segment over {NAME_MAX_BYTES} bytes")
    elif form == _FILE_FORM:
        inner = name[2:]
        if inner[:2] not in (_FILE_FORM, _DIGEST_FORM):
            segment = segment_of(inner)
            if shown_file(segment, is_shadowed=True) == name:
                return segment
    else:
        segment = _ESCAPED.sub(_unescaped_character, name[2:])
        if shown_segment(segment) == name:
            return segment
    raise InvalidOperation(f"{name!r} is in the form of escaped names but no key is shown so")


def shown_file(segment: str, *, is_shadowed: bool = False) -> str:
    """Return the name of a file; `is_shadowed`: a directory of the same segment is there too."""
    name = shown_segment(segment)
    if not is_shadowed:
        return name
    shown = _FILE_FORM + name
    if is_digest(name) or encoded_length(shown) > NAME_MAX_BYTES:
        return _digest(segment, "f")
    return shown


def shown_segment(segment: str) -> str:
    """Return the name of a directory, or of a file that no directory shadows."""
    if segment.isascii():
        if len(segment) <= NAME_MAX_BYTES and segment not in _RESERVED and "\0" not in segment:
            return segment
    elif _is_ordinary(segment):
        return segment
    shown = _SEGMENT_FORM + _escaped(segment)
    return shown if encoded_length(shown) <= NAME_MAX_BYTES else _digest(segment, "")


def is_digest(name: str) -> bool:
    """Whether `name` is the digest of a segment too long to be shown (only a listing has it)."""
    return name[:2] == _DIGEST_FORM and _DIGEST.fullmatch(name) is not None


def is_shadowed_form(name: str) -> bool:
    """Whether `name` is that of a file whose own name is taken by a directory."""
    return name[:2] == _FILE_FORM


def split_key(key: str) -> tuple[str, str]:
    """Return (prefix of the directory, segment) of a file's key or of a directory's prefix.

    >>> split_key("a/b/c"), split_key("a/b/"), split_key("c")
    (('a/b/', 'c'), ('a/', 'b'), ('', 'c'))
    """
    cut = key.rfind("/", 0, len(key) - 1 if key.endswith("/") else len(key)) + 1
    return key[:cut], key[cut:].removesuffix("/")


def encoded_length(text: str) -> int:
    """Return the length of `text` in UTF-8 bytes, surrogate escapes as the bytes that they are."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return len(text.encode("utf-8", "surrogatepass"))


def _limited(key: str, max_key_bytes: int | None) -> str:
    return key if max_key_bytes is None else check_key(key, max_key_bytes)


def _checked(name: str) -> str:
    if name in _RESERVED or "/" in name or "\0" in name:
        raise InvalidOperation(f"{name!r} cannot be the name of an entry")
    if len(name) * 4 > NAME_MAX_BYTES and encoded_length(name) > NAME_MAX_BYTES:
        raise NameTooLong(f"a name over {NAME_MAX_BYTES} bytes: {name[:40]!r}...")
    return name


def _is_ordinary(segment: str) -> bool:
    """Whether a segment (not ASCII) can be shown as it is."""
    return (
        segment[:2] not in _FORMS
        and "\0" not in segment
        and encoded_length(segment) <= NAME_MAX_BYTES
        and _survives(segment)
    )


def _survives(segment: str) -> bool:
    """Whether the segment comes back from the kernel, which has bytes, as the same text."""
    if _SURROGATE.search(segment) is None:
        return True
    try:
        return os.fsencode(segment).decode("utf-8", "surrogateescape") == segment
    except UnicodeEncodeError:
        return False


def _escaped(segment: str) -> str:
    pattern = _TO_ESCAPE if _survives(segment) else _TO_ESCAPE_WITH_SURROGATES
    return pattern.sub(lambda match: f"%{ord(match[0]):X};", segment)


def _unescaped_character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code <= 0x10FFFF else match[0]


def _digest(segment: str, kind: str) -> str:
    head = _TO_ESCAPE_WITH_SURROGATES.sub("_", segment)[:_HEAD_CHARACTERS]
    content = f"{kind}/{segment}".encode("utf-8", "surrogatepass")
    return f"{ESCAPE}#{head}~{hashlib.sha256(content).hexdigest()[:_DIGEST_HEX]}"
