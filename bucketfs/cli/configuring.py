"""`bucketfs configure`: a profile from answers or from flags, tried, then written.

Nothing is written before the end, so an interruption at any question changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import typer

from bucketfs.cli import profiles
from bucketfs.cli.interviewing import Interview
from bucketfs.cli.profiles import SECRET_KEYS, Profile, Table
from bucketfs.cli.resolving import given_keys, is_true, known_variable, resolve_profile, variable_of
from bucketfs.cli.writing_profiles import write_profile
from bucketfs.errors import ConfigurationError
from bucketfs.options import TABLE
from bucketfs.settings import mask_url
from bucketfs.values import parse_count, parse_names

_MOST_SECRETS_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags of `configure` ask for; `keys` says where secrets come from."""

    url: str | None = None
    sets: tuple[str, ...] = ()
    keys: str | None = None
    is_sure: bool = False
    is_tried: bool = True

    @property
    def is_scripted(self) -> bool:
        """Tell whether nobody is to be asked."""
        return self.url is not None or bool(self.sets) or self.keys is not None


def configure(name: str | None, wishes: Wishes) -> int:
    """Make or change a profile; return 0 once it is written.

    Raises: ConfigurationError (a wrong value; the bucket cannot be used; it exists and nobody is
    `is_sure`), typer.Abort (a person does not want it).
    """
    if not wishes.is_scripted and not sys.stdin.isatty():
        raise ConfigurationError(
            "configure asks on a terminal, and this is none: for scripts there are --url and --set"
        )
    if name is None:
        if wishes.is_scripted:
            raise typer.BadParameter("Missing argument 'PROFILE'.")
        name = Interview.name()
    profiles.check_name(name)
    path = profiles.places()[0]
    file = profiles.read(path) if os.path.lexists(path) else None
    defaults: Table = file.defaults if file else {}
    before = file.tables.get(name) if file else None
    if before is not None:
        _confirm_change(Profile(name, path, before, defaults), wishes)
    if wishes.is_scripted:
        table = changed(before or {}, wishes)
    else:
        table = _asked(Profile(name, path, before or {}, defaults))
    profile = Profile(name, path, table, defaults)
    resolve_profile(profile, has_environment=False).settings()
    if wishes.is_tried:
        _try(profile, is_scripted=wishes.is_scripted)
    write_profile(path, name, table)
    _tell(profile)
    return 0


def _asked(profile: Profile) -> dict[str, object]:
    """Ask a person. Raises: ConfigurationError (what is there is wrong), before any question."""
    if profile.table:
        resolve_profile(profile, has_environment=False)
    return Interview(profile).run()


def _confirm_change(profile: Profile, wishes: Wishes) -> None:
    url = profile.table.get("url", "")
    said = f"profile {profile.name} is in {profile.file} already ({mask_url(str(url))})"
    if wishes.is_sure:
        return
    if wishes.is_scripted:
        raise ConfigurationError(f"{said}; --yes changes it")
    typer.confirm(f"{said}. Change it?", abort=True, err=True)


def changed(before: Table, wishes: Wishes) -> dict[str, object]:
    """Return a profile's table with what the flags say. Raises: ConfigurationError."""
    table = dict(before)
    if wishes.url is not None:
        table["url"] = wishes.url
    for text in wishes.sets:
        key, equals, value = text.partition("=")
        if key in SECRET_KEYS:
            raise ConfigurationError(
                f"--set {key}= would show a secret to `ps`: use --keys stdin, or --keys env with "
                f"{variable_of(key)}"
            )
        if not equals:
            raise ConfigurationError(f"--set {key} says no value: --set {key}=VALUE")
        if value:
            table[key] = toml_value(key, value)
        else:
            table.pop(key, None)
    if wishes.keys is not None:
        table = {key: value for key, value in table.items() if key not in SECRET_KEYS}
        table |= _keys_from(wishes.keys)
    return table


def toml_value(key: str, text: str) -> object:
    """Return a value as it is written best to the file. Raises: ConfigurationError."""
    option = TABLE.get(key)
    try:
        if option is not None and option.parse is None:
            return is_true(text)
        if option is not None and option.parse is parse_count:
            return parse_count(text)
    except ValueError as exc:
        raise ConfigurationError(f"{key}={text} is wrong: it must be {exc}") from exc
    is_list = option is not None and option.parse is parse_names
    return text.split(":") if is_list else text


def _keys_from(place: str) -> dict[str, object]:
    """Return secrets of the environment or of standard input. Raises: ConfigurationError."""
    if place == "env":
        keys = given_keys()
        if keys is None:
            raise ConfigurationError(f"--keys env: {variable_of('access_key')} is not set")
        return _named(keys[1])
    if place != "stdin":
        raise ConfigurationError(f"--keys {place} is wrong: it is one of stdin, env")
    lines = sys.stdin.read(_MOST_SECRETS_BYTES).split()
    if len(lines) not in (len(SECRET_KEYS) - 1, len(SECRET_KEYS)):
        raise ConfigurationError(
            "--keys stdin: a line each is expected: access key, secret key, and the session token "
            "if there is one"
        )
    return _named(lines)


def _named(keys: Iterable[str | None]) -> dict[str, object]:
    return {name: key for name, key in zip(SECRET_KEYS, keys, strict=False) if key}


def _try(profile: Profile, *, is_scripted: bool) -> None:
    """Probe the bucket with the profile alone, and say what works.

    Raises: ConfigurationError or typer.Abort where it does not, and nobody wants it all the same.
    """
    wrong = trial(profile)
    if wrong is None:
        return
    if is_scripted:
        raise ConfigurationError(f"{wrong}; nothing was written (--no-probe writes it untried)")
    typer.echo(f"bucketfs: error: {wrong}", err=True)
    typer.confirm("Write the profile all the same?", abort=True, err=True)


def trial(profile: Profile) -> str | None:
    """Say what works with a profile; return what does not, None if a mount lacks nothing."""
    import logging

    from bucketfs import logs
    from bucketfs.cli.probing import complaints, found

    settings = resolve_profile(profile, has_environment=False).settings()
    # Every failure is told once, by what is returned.
    logging.getLogger(logs.LOGGER_NAME).addHandler(logging.NullHandler())
    typer.echo(f"asking {mask_url(settings.url)} ...", err=True)
    try:
        findings = found(settings)
    except ConfigurationError as exc:
        return str(exc)
    for right in findings.rights:
        took = "" if right.took_s is None else f" ({right.took_s * 1000:.0f} ms)"
        typer.echo(f"  {right.name}: {right.verdict}{took}", err=True)
    missing = findings.missing(is_read_only=settings.is_read_only)
    return "; ".join(complaints(findings, missing)) or None


def _tell(profile: Profile) -> None:
    typer.echo(f"profile {profile.name} is in {profile.file}")
    place = "" if profile.table.get("mountpoint") else " MOUNTPOINT"
    typer.echo(f"mount it with: bucketfs mount {profile.name}{place}")
    variable = known_variable(str(profile.table["url"]))
    if variable is not None and "access_key" in profile.table:
        text = f"{variable.detail} is set here and goes before the keys of the profile"
        typer.echo(f"bucketfs: warning: {text}", err=True)
