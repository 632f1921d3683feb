"""Metadata as s3fs and others write it, value by value; pure.

s3fs's own names come first, then those that it reads too (s3sync, gsutil), then rclone's,
gcsfuse's, geesefs's and bosfs's (cosfs writes s3fs's). A value that makes no sense is treated as
absent: one bad header must not hide a file.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

_MODES = ("mode", "permissions", "goog-reserved-posix-mode", "bosfs-mode")
_OCTAL_MODE = "goog-reserved-posix-mode"

_UIDS = ("uid", "owner", "goog-reserved-posix-uid", "bosfs-uid")
_GIDS = ("gid", "group", "goog-reserved-posix-gid", "bosfs-gid")
_MTIMES = ("mtime", "goog-reserved-file-mtime", "gcsfuse_mtime", "bosfs-mtime")
_OWN = frozenset(
    ("mode", "uid", "gid", "mtime", "ctime", "atime", "rdev", "xattr", "bucketfs-special")
)
_SYMLINK_MARKS = ("is_symlink", "goog-reserved-file-is-symlink")
_SYMLINK_TARGETS = ("--symlink-target", "gcsfuse_symlink_target")

_TIME = re.compile(r"(-?[0-9]{1,12})(?:\.([0-9]+))?")
_NUMBER = re.compile(r"[0-9]{1,20}")
_MAX_ID = 0xFFFF_FFFE
"""Ids are 32 bits; the highest means "no change" to chown(2)."""

_S = 1_000_000_000


@dataclass(slots=True)
class Dialect:
    """What metadata says; None where it says nothing."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    atime_ns: int | None = None
    rdev: int | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)


def parse(metadata: Mapping[str, str]) -> Dialect:
    """Read whatever dialect `metadata` (lower-case names) is in."""
    if not metadata:
        return Dialect()
    xattrs = parse_xattrs(metadata["xattr"]) if "xattr" in metadata else {}
    foreign = {name: value for name, value in metadata.items() if name not in _OWN}
    if xattrs is None:
        # Not ours to understand, so not ours to lose.
        foreign["xattr"] = metadata["xattr"]
    return Dialect(
        mode=_parse_mode(metadata),
        uid=_first(metadata, _UIDS, _parse_id),
        gid=_first(metadata, _GIDS, _parse_id),
        mtime_ns=_first(metadata, _MTIMES, parse_time),
        ctime_ns=_first(metadata, ("ctime",), parse_time),
        atime_ns=_first(metadata, ("atime",), parse_time),
        rdev=_first(metadata, ("rdev",), _parse_number),
        xattrs=xattrs or {},
        foreign=foreign,
    )


def format_time(time_ns: int) -> str:
    """Return seconds and, where not 0, nine digits of ns: s3fs reads the fraction unscaled."""
    seconds, rest_ns = divmod(time_ns, _S)
    return f"{seconds}.{rest_ns:09d}" if rest_ns else str(seconds)


def parse_time(text: str) -> int | None:
    """Return ns since 1970 of decimal seconds or of an RFC 3339 time (gcsfuse); None: neither.

    The fraction counts forward also from negative seconds, as `format_time` writes it.
    """
    match = _TIME.fullmatch(text.strip())
    if match is not None:
        return int(match[1]) * _S + int((match[2] or "0")[:9].ljust(9, "0"))
    try:
        moment = datetime.datetime.fromisoformat(_with_microseconds(text.strip()))
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    since = moment - datetime.datetime.fromtimestamp(0, datetime.UTC)
    seconds_ns = (since.days * 86400 + since.seconds) * _S
    fraction = re.search(r"\.([0-9]+)", text)
    return seconds_ns + int((fraction[1] if fraction else "0")[:9].ljust(9, "0"))


def format_xattrs(xattrs: Mapping[str, bytes]) -> str:
    """Return s3fs's `xattr` header: URL-encoded JSON of base64 values."""
    values = {name: base64.b64encode(value).decode() for name, value in xattrs.items()}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return quote(text, safe="", encoding="utf-8", errors="surrogateescape")


def parse_xattrs(text: str) -> dict[str, bytes] | None:
    """Return what `format_xattrs` or s3fs wrote; None where it cannot be read."""
    try:
        values = json.loads(unquote(text, encoding="utf-8", errors="surrogateescape"))
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    xattrs = {}
    for name, value in values.items():
        if not isinstance(value, str):
            return None
        try:
            xattrs[name] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return None
    return xattrs


def symlink_target(metadata: Mapping[str, str]) -> str | None:
    """Return a symlink's target where a tool keeps it in metadata (geesefs, older gcsfuse).

    None: the target is the object's content, as s3fs and we write it.
    """
    for name in _SYMLINK_TARGETS:
        if metadata.get(name):
            return unquote(metadata[name], errors="surrogateescape")
    return None


def _parse_mode(metadata: Mapping[str, str]) -> int | None:
    mode = None
    for name in _MODES:
        digits = metadata.get(name, "")
        if not _NUMBER.fullmatch(digits):
            continue
        # A leading 0 is octal, as in strtol(3) with base 0, which s3fs reads modes by.
        is_octal = name == _OCTAL_MODE or digits.startswith("0")
        if is_octal and not set(digits) <= set("01234567"):
            continue
        mode = int(digits, 8 if is_octal else 10)
        break
    if mode is not None and mode > 0o177777:
        mode = None
    is_symlink = any(metadata.get(name, "").lower() == "true" for name in _SYMLINK_MARKS)
    if is_symlink or symlink_target(metadata) is not None:
        return stat.S_IFLNK | 0o777
    return mode


def _first(
    metadata: Mapping[str, str], names: tuple[str, ...], read: Callable[[str], int | None]
) -> int | None:
    for name in names:
        text = metadata.get(name)
        if text is not None and (value := read(text)) is not None:
            return value
    return None


def _parse_number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _parse_id(text: str) -> int | None:
    number = _parse_number(text)
    return number if number is not None and number <= _MAX_ID else None


def _with_microseconds(text: str) -> str:
    """Cut the fraction of an RFC 3339 time to the six digits that Python reads."""
    return re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text)
