"""Values as people write them in options and profiles: sizes, times, numbers, paths, names.

Each function here raises ValueError with what is allowed, to follow "it must be".
"""

from __future__ import annotations

import re
from pathlib import Path

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Return bytes: `128M`, `1.5GiB`, `4096`; units are powers of 1024. Raises: ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size like 128M, 1.5G or 4096")
    return int(float(match[1]) * (1 << _UNITS[match[2].upper()]))


def parse_duration(text: str) -> float:
    """Return seconds: `5`, `0.5`, `500ms`, `2m`, `1h`. Raises: ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("a time like 5, 0.5, 500ms or 2m")
    return float(match[1]) * _SECONDS[match[2]]


def parse_count(text: str) -> int:
    """Return a whole number, 0 or more. Raises: ValueError."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("a whole number")
    return int(text)


def parse_mask(text: str) -> int:
    """Return permission bits from octal digits: `022`. Raises: ValueError."""
    if re.fullmatch(r"(0o)?[0-7]{1,4}", text) is None:
        raise ValueError("an octal number like 022")
    return int(text, 8)


def parse_path(text: str) -> Path:
    """Return an absolute path: a daemon has no current folder. Raises: ValueError."""
    if not text:
        raise ValueError("a path")
    return Path(text).expanduser().absolute()


def parse_text(text: str) -> str:
    """Return the text as it is. Raises: ValueError where there is none."""
    if not text:
        raise ValueError("not empty")
    return text


def parse_names(text: str) -> tuple[str, ...]:
    """Return names that stand in a row with colons between. Raises: ValueError."""
    names = tuple(name for name in text.split(":") if name)
    if not names:
        raise ValueError("names with colons between, like find:rsync")
    return names
