"""Changing the file of profiles: other profiles and comments stay, and it is never half written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from bucketfs.errors import ConfigurationError


def write_profile(path: Path, name: str, table: Mapping[str, object]) -> None:
    """Give the profile `name` exactly the keys of `table`; make the file if there is none.

    Comments stay, those of keys that go excepted. Afterwards only the owner may read the file.
    It is replaced at once: whoever reads it meanwhile, or interrupts this, has the old one.
    Raises: ConfigurationError.
    """
    target = Path(os.path.realpath(path))
    try:
        text = target.read_text("utf-8") if target.exists() else ""
        replace_file(target, with_profile(text, name, table))
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{path} cannot be written: {reason}") from exc
    except TOMLKitError as exc:
        raise ConfigurationError(f"{path} is no TOML: {exc}") from None


def with_profile(text: str, name: str, table: Mapping[str, object]) -> str:
    """Return the text of a file with one profile made or changed."""
    document = tomlkit.parse(text)
    if text and name not in document:
        document = tomlkit.parse(text.rstrip("\n") + "\n\n")
    if name not in document:
        document[name] = tomlkit.table()
    section = document[name]
    assert isinstance(section, dict)
    for key in [key for key in section if key not in table]:
        del section[key]
    for key, value in table.items():
        if section.get(key) != value:
            section[key] = value
    return tomlkit.dumps(document)


def replace_file(target: Path, text: str) -> None:
    """Write a file that only its owner may read, in place of what was there.

    Root does not take a file from whom it belongs to. Raises: OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            if target.exists() and os.geteuid() == 0:
                owner = target.stat()
                os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
