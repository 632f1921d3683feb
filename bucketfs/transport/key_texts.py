"""Keys as vendors write them down: JSON and INI texts, whose names differ and mean the same.

A text that holds secrets is never quoted, nor is the error of its parser, which would quote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.key_files import ini_sections

_ACCESS_KEYS = ("accesskeyid", "accesskey", "secretid", "tmpsecretid", "ak")
_SECRET_KEYS = ("secretaccesskey", "accesskeysecret", "secretkey", "tmpsecretkey", "sk")
_TOKENS = ("sessiontoken", "securitytoken", "token")
_ENDS = ("expiration", "expires", "expiredtime")
"""Amazon's names, ours, Tencent's and Baidu's; letters only, in small ones."""

_PREFIX = "aws"
_NESTED = "credentials"


def keys_of_json(text: bytes | str, where: str) -> Credentials:
    """Return the keys in a JSON object, or in its member `Credentials`.

    Raises: ConfigurationError, which names `where`.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as exc:
        raise ConfigurationError(f"{where} gave no valid keys ({type(exc).__name__})") from None
    return keys_of(values, where)


def keys_of_file(text: str, where: str, section: str | None = None) -> Credentials:
    """Return the keys in a JSON object, or in lines `name = value`, perhaps in sections.

    `section`: which one; None: `default`, or the only one. Raises: ConfigurationError.
    """
    if text.lstrip().startswith("{"):
        return keys_of_json(text, where)
    lines = (line for line in text.splitlines() if line.strip())
    has_sections = any(line.lstrip().startswith("[") for line in lines)
    sections = ini_sections(text if has_sections else f"[default]\n{text}")
    only = next(iter(sections)) if len(sections) == 1 else "default"
    name = section or ("default" if "default" in sections else only)
    if name not in sections:
        raise ConfigurationError(f"{where} has no section [{name}]")
    values = {key: _unquoted(value) for key, value in sections[name].items()}
    return keys_of(values, where)


def keys_of(values: Mapping[str, Any], where: str) -> Credentials:
    """Return the keys among `values`, whatever their vendor calls them; `where` is their origin.

    Raises: ConfigurationError.
    """
    named = {_plain(name): value for name, value in values.items()}
    if isinstance(named.get(_NESTED), dict):
        named |= {_plain(name): value for name, value in named[_NESTED].items()}
    if str(named.get("version", "1")) != "1":
        raise ConfigurationError(f"{where} gave no valid keys (a version that is not 1)")
    access_key = _text(named, _ACCESS_KEYS, where, "an access key")
    secret_key = _text(named, _SECRET_KEYS, where, "a secret key")
    for value, missing in ((access_key, "an access key"), (secret_key, "a secret key")):
        if not value:
            raise ConfigurationError(f"{where} gave no valid keys (there is not {missing})")
    token = _text(named, _TOKENS, where, "a token")
    ends = _first(named, _ENDS)
    try:
        expires_at_s = None if ends is None else seconds_of(ends)
    except (ValueError, TypeError, OverflowError) as exc:
        said = f"{where} gave no valid keys (their end is no time: {type(exc).__name__})"
        raise ConfigurationError(said) from None
    return Credentials(access_key, secret_key, token or None, expires_at_s, where)


def seconds_of(moment: object) -> float:
    """Return seconds since 1970 of such a number, or of an ISO date (without a zone: UTC).

    Raises: ValueError, TypeError.
    """
    if isinstance(moment, str) and not moment.strip().replace(".", "", 1).isdigit():
        found = datetime.fromisoformat(moment.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if isinstance(moment, str | int | float) and not isinstance(moment, bool):
        return float(moment)
    raise TypeError


def checked_text(value: str, where: str) -> str:
    """Return a key as it can stand in a header. Raises: ConfigurationError, which hides it."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"a key in {where} has characters that keys never have")
    return value


def _text(named: Mapping[str, Any], names: Sequence[str], where: str, what: str) -> str:
    value = _first(named, names)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigurationError(f"{where} gave no valid keys ({what} is no text)")
    return checked_text(value, where)


def _first(named: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((named[name] for name in names if named.get(name) not in (None, "")), None)


def _plain(name: object) -> str:
    letters = "".join(char for char in str(name).lower() if char.isalpha())
    return letters.removeprefix(_PREFIX)


def _unquoted(value: str) -> str:
    value = value.strip()
    is_quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value
