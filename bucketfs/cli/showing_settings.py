"""`bucketfs config`: what is in force and where it comes from, and what is wrong with it.

No secret is ever shown: rows are made with it masked.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from bucketfs import logs
from bucketfs.cli import profiles
from bucketfs.cli.profiles import SECRET_KEYS, Profile
from bucketfs.cli.progress import counted, printable
from bucketfs.cli.resolving import Resolved, resolve, resolve_profile, unknown_variables
from bucketfs.errors import ConfigurationError
from bucketfs.options import OPTIONS, Option
from bucketfs.settings import DEFAULT_UMASK, Secrets, scheme_of
from bucketfs.storage.location import KEY_VARIABLES
from bucketfs.values import parse_duration, parse_mask, parse_size

ANY_BUCKET = "kodo://any"
"""Stands for a bucket where none is named: this kind takes every option."""

MASK = "***"
_SHOWN_OF_KEY = 4
_LONG_KEY = 16
_DEFAULT = "default"
_PLACE_VARIABLES = {
    ("s3", "endpoint"): ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    ("s3", "region"): ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ("cos", "region"): ("COS_REGION", "TENCENTCLOUD_REGION"),
}
"""The clouds' own variables, which say what no option does."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting that is in force; `value` is empty where the cloud or the machine decides."""

    name: str
    value: str
    layer: str
    detail: str = ""


def show_settings(source: str | None, options: Sequence[str], *, is_json: bool) -> int:
    """Show what a mount of a profile or URL would have; None: of any bucket."""
    asked = resolve(source or ANY_BUCKET, options)
    found = list(rows(asked, has_bucket=source is not None))
    if is_json:
        settings = [
            {"name": row.name, "value": row.value or None, "layer": row.layer, "detail": row.detail}
            for row in found
        ]
        name = asked.profile.name if asked.profile else None
        typer.echo(json.dumps({"profile": name, "settings": settings}, indent=2))
    else:
        lines = [(row.name, row.value, f"{row.layer} {row.detail}".strip()) for row in found]
        _print(("setting", "value", "from"), lines)
    return 0


def rows(asked: Resolved, *, has_bucket: bool = True) -> Iterator[Row]:
    """Yield every setting with where it comes from, secrets masked."""
    settings, hide = asked.settings(), logs.mask().hide
    if has_bucket:
        profile = asked.profile
        layer = ("command line", "")
        if profile is not None:
            layer = (f"profile {profile.name}", f"in {profile.file}")
        yield Row("url", hide(settings.url), *layer)
        if asked.mountpoint is not None:
            yield Row("mountpoint", str(asked.mountpoint), *layer)
    origins = {item.option.setting: item.origin for item in asked.items}
    for option in OPTIONS:
        if option.name == "rw":
            continue
        value = hide(written(option, getattr(settings, str(option.setting))))
        origin = origins.get(option.setting)
        if origin is not None:
            yield Row(option.name, value, origin.layer, origin.detail)
        else:
            yield _unsaid(option.name, value, scheme_of(settings.url))
    for name in settings.kernel_options:
        origin = next(i.origin for i in reversed(asked.items) if i.option.name == name)
        yield Row(name, "true", origin.layer, origin.detail)
    if has_bucket or asked.secrets is not None:
        yield from _key_rows(asked)


def _unsaid(name: str, value: str, scheme: str) -> Row:
    for variable in _PLACE_VARIABLES.get((scheme, name), ()):
        if text := os.environ.get(variable):
            return Row(name, text, "environment", variable)
    if name == "umask":
        value = f"{DEFAULT_UMASK:03o}"
    return Row(name, value, _DEFAULT)


def _key_rows(asked: Resolved) -> Iterator[Row]:
    if scheme_of(asked.url) not in KEY_VARIABLES:
        return
    origin = asked.keys_origin
    if origin is None:
        yield Row("access_key", "", _DEFAULT, "(the cloud's own files, or this machine's role)")
    elif asked.secrets is None:
        yield Row("access_key", MASK, origin.layer, origin.detail)
    else:
        for name, text in zip(SECRET_KEYS, masked(asked.secrets), strict=True):
            if text:
                yield Row(name, text, origin.layer, origin.detail)


def masked(secrets: Secrets) -> tuple[str, str, str]:
    """Return what may be shown of keys: the beginning of a long key id, of the others nothing."""
    key = secrets.access_key
    shown = key[:_SHOWN_OF_KEY] if len(key) >= _LONG_KEY else ""
    return shown + MASK, MASK, MASK if secrets.session_token else ""


def written(option: Option, value: object) -> str:
    """Return a value as a person would write it for this option; nothing of None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.parse is parse_size and isinstance(value, int):
        return _in_units(value, ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")))
    if option.parse is parse_duration and isinstance(value, float):
        is_whole = value.is_integer() and value > 0
        units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
        return _in_units(int(value), units) if is_whole else f"{value:g}"
    if option.parse is parse_mask and isinstance(value, int):
        return f"{value:03o}"
    return ":".join(value) if isinstance(value, tuple) else str(value)


def _in_units(value: int, units: Sequence[tuple[int, str]]) -> str:
    for unit, name in units:
        if value and value % unit == 0:
            return f"{value // unit}{name}"
    return str(value)


def list_profiles(*, is_json: bool) -> int:
    """Show the profiles that there are, with what they are of; a name that is hidden only once."""
    found: dict[str, Profile] = {}
    for file in profiles.read_all():
        for profile in file.profiles:
            found.setdefault(profile.name, profile)
    lines = [
        (profile.name, *(_text(profile, key) for key in ("url", "mountpoint")), str(profile.file))
        for profile in found.values()
    ]
    titles = ("profile", "url", "mountpoint", "file")
    if is_json:
        typer.echo(json.dumps([dict(zip(titles, line, strict=True)) for line in lines], indent=2))
    elif lines or not sys.stdout.isatty():
        _print(titles, lines)
    else:
        typer.echo("there is no profile; `bucketfs configure` makes one")
    return 0


def _text(profile: Profile, key: str) -> str:
    value = profile.table.get(key, "")
    return value if isinstance(value, str) else ""


def check_profiles(name: str | None) -> int:
    """Look for mistakes in every profile, or in one, and in the environment; 1: there are some.

    Each is one line on standard error. No bucket is asked.
    """
    wrong: list[str] = []
    right = 0
    if name is not None:
        resolve(name)
        right = 1
    else:
        has_environment = _check_environment(wrong)
        for path in profiles.places():
            if os.path.lexists(path) or os.environ.get(profiles.FILE_VARIABLE):
                right += _check_file(path, wrong, has_environment=has_environment)
    for variable in unknown_variables(os.environ):
        typer.echo(f"bucketfs: warning: {variable} means nothing to bucketfs", err=True)
    for line in wrong:
        typer.echo(f"bucketfs: error: {line}", err=True)
    typer.echo(f"{counted(right, 'profile')} without a mistake")
    return 1 if wrong else 0


def _check_environment(wrong: list[str]) -> bool:
    """Add a mistake of the environment to `wrong`, once; return whether there is none."""
    try:
        resolve(ANY_BUCKET)
    except ConfigurationError as exc:
        wrong.append(str(exc))
        return False
    return True


def _check_file(path: Path, wrong: list[str], *, has_environment: bool) -> int:
    """Add a file's mistakes to `wrong`; return how many of its profiles have none."""
    right = 0
    try:
        file = profiles.read(path)
    except ConfigurationError as exc:
        wrong.append(str(exc))
        return 0
    for profile in file.profiles if file else []:
        try:
            resolve_profile(profile, has_environment=has_environment).settings()
        except ConfigurationError as exc:
            wrong.append(str(exc))
        else:
            right += 1
    return right


def _print(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Show a table on a terminal; elsewhere a line a row, tabs between."""
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo("\t".join(printable(cell) for cell in line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(*(Text(printable(cell)) for cell in line))
    Console().print(table)
