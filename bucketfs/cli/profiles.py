"""The file of profiles, `config.toml`: where it is, who may read it, what stands in it.

    [defaults]                      # for every profile of this file
    memory = "256M"

    [photos]                        # bucketfs mount photos
    url = "cos://photos-1250000000"
    mountpoint = "/mnt/photos"
    region = "ap-guangzhou"
    access_key = "..."
    secret_key = "..."

Here is only what is true of any file; what a key means is `resolving.py`'s.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from bucketfs.errors import ConfigurationError
from bucketfs.settings import Secrets

FILE_VARIABLE = "BUCKETFS_CONFIG"
SYSTEM_FILE = Path("/etc/bucketfs/config.toml")
DEFAULTS = "defaults"
"""The table whose keys hold for every profile of its file."""
SECRET_KEYS = Secrets._fields
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A profile's name can be neither a URL, nor a path, nor an option."""

Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, and the defaults of its file; what is in both is the profile's."""

    name: str
    file: Path
    table: Table = field(repr=False)
    defaults: Table = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A file of profiles that could be read."""

    path: Path
    defaults: Table = field(repr=False)
    tables: Mapping[str, Table] = field(repr=False)

    @property
    def profiles(self) -> list[Profile]:
        """Return them in the order of the file."""
        return [
            Profile(name, self.path, table, self.defaults) for name, table in self.tables.items()
        ]


def is_url(source: str) -> bool:
    """Tell whether what stands where a URL is expected is one; else it names a profile."""
    return "://" in source


def check_name(name: str) -> None:
    """Make sure that a profile may be called so. Raises: ConfigurationError."""
    if name == DEFAULTS or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a profile cannot be called {name!r}: letters, digits, '_', '-' and '.', "
            f"and not {DEFAULTS!r}"
        )


def places() -> list[Path]:
    """Return where profiles are looked for, the first of one name counts; none need exist."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return [Path(named).expanduser().absolute()]
    return [platformdirs.user_config_path("bucketfs") / "config.toml", SYSTEM_FILE]


def read_all() -> list[ProfileFile]:
    """Return the files that there are. Raises: ConfigurationError (one of them is wrong)."""
    found = [read(path) for path in _existing()]
    return [file for file in found if file is not None]


def find(name: str) -> Profile:
    """Return the profile of this name. Raises: ConfigurationError (none; a file is wrong)."""
    unreadable: list[str] = []
    known: list[str] = []
    for path in _existing():
        file = read(path)
        if file is None:
            unreadable.append(f"; {path} may not be read by you")
            continue
        for profile in file.profiles:
            if profile.name == name:
                return profile
            known.append(profile.name)
    where = " or ".join(map(str, places()))
    names = f"; there are {', '.join(known)}" if known else ""
    raise ConfigurationError(
        f"there is no profile {name!r} in {where}{names}{''.join(unreadable)} "
        f"(`bucketfs configure` makes one; a URL has a scheme, as in s3://bucket)"
    )


def read(path: Path) -> ProfileFile | None:
    """Return what a file says; None where it is the system's, and not for this user to read.

    Raises: ConfigurationError (unreadable, no TOML, or open to others although it has secrets).
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            document = tomllib.loads(stream.read().decode("utf-8"))
    except PermissionError as exc:
        if path == SYSTEM_FILE:
            return None
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is no TOML: it is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        # Not chained: a traceback would show the lines, and secrets in them.
        raise ConfigurationError(f"{path} is no TOML: {exc}") from None
    for name, table in document.items():
        _check_table(path, name, table)
    _check_mode(path, mode, document)
    defaults = document.pop(DEFAULTS, {})
    return ProfileFile(path, defaults, document)


def _existing() -> Iterator[Path]:
    """Yield the files that there are; the one that the environment names has to be."""
    is_named = bool(os.environ.get(FILE_VARIABLE))
    for path in places():
        if is_named or os.path.lexists(path):
            yield path


def _check_table(path: Path, name: str, table: object) -> None:
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"{path}: {name!r} stands outside of any profile: it belongs below a line like "
            f"[{DEFAULTS}] or [photos]"
        )
    if name != DEFAULTS:
        try:
            check_name(name)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{path}: {exc}") from exc


def _check_mode(path: Path, mode: int, tables: Mapping[str, Table]) -> None:
    """Refuse secrets that others could read, and commands that others could write."""
    if not stat.S_ISREG(mode):
        return
    has_secrets = any(key in table for table in tables.values() for key in SECRET_KEYS)
    if has_secrets and mode & 0o077:
        raise ConfigurationError(
            f"{path} has secrets, and others may read it (mode {stat.S_IMODE(mode):04o}): "
            f"chmod 600 {path}"
        )
    if mode & stat.S_IWOTH:
        raise ConfigurationError(f"{path} may be written by everybody: chmod 600 {path}")
