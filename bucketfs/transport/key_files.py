"""Reading the files in which vendors' tools keep keys, without ever showing what is in them."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bucketfs.errors import ConfigurationError

V = TypeVar("V")

Sections = Mapping[str, Mapping[str, str]]


def read_keys(path: Path, parse: Callable[[str], V], kind: str) -> V | None:
    """Return what `parse` makes of a file's text; None where there is no such file.

    Blocks shortly. Raises: ConfigurationError (it may not be read, or is not a valid `kind`).
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as exc:
        raise ConfigurationError(f"{path} may not be read") from exc
    except (OSError, ValueError, AttributeError, configparser.Error) as exc:
        # The parser's text quotes the line, which may hold a secret: keep it out, and out of the
        # chained exception too.
        raise ConfigurationError(f"{path} is not a valid {kind} ({type(exc).__name__})") from None


def ini_sections(text: str) -> Sections:
    """Return the sections of an INI text; names of values are lower-case."""
    parser = configparser.RawConfigParser(default_section="\0", strict=False)
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}
