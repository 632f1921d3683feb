"""What is in force: command line, environment, profile, defaults, in this order.

Each of these says options by the names of `-o`; they are put in a row, the weakest first, and the
last of equal ones wins. The row remembers where each came from, for messages and `config show`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bucketfs import logs
from bucketfs.cli.profiles import DEFAULTS, SECRET_KEYS, Profile, Table, find, is_url
from bucketfs.errors import ConfigurationError
from bucketfs.options import OPTIONS, TABLE, Option, folded, is_ignored, parse_items
from bucketfs.settings import OPTION_SCHEMES, MountSettings, Secrets, scheme_of
from bucketfs.storage.location import KEY_VARIABLES
from bucketfs.values import parse_count, parse_duration, parse_names, parse_path, parse_size

NOWHERE = Path(os.sep)
"""Completes settings where nothing is mounted."""

PREFIX = "BUCKETFS_"
PLACE_KEYS = ("url", "mountpoint")
OTHER_KEYS = ("profile", "credential_command", "credential_file")
"""Options that name another place for keys."""
_WORDS = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
_DEFAULTS_RANK, _PROFILE_RANK, _ENVIRONMENT_RANK, _COMMAND_RANK = range(4)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was said: `layer` for a table, `detail` for finding it; higher ranks win."""

    rank: int
    layer: str
    detail: str = ""

    @property
    def words(self) -> str:
        """Return it as a person reads it: `profile photos in /etc/bucketfs/config.toml`."""
        return f"{self.layer} {self.detail}".strip()


COMMAND_LINE = Origin(_COMMAND_RANK, "command line")


@dataclass(frozen=True, slots=True)
class Item:
    """One option as somebody said it."""

    option: Option
    value: object
    origin: Origin


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is asked for in all; `items` are in their order, the last of equal ones wins."""

    url: str
    mountpoint: Path | None
    items: tuple[Item, ...]
    secrets: Secrets | None = field(repr=False)
    keys_origin: Origin | None
    profile: Profile | None

    def values(self) -> dict[str, object]:
        """Return keyword values for `MountSettings`, without `url` and `mountpoint`."""
        values = folded((item.option, item.value) for item in self.items)
        return values | ({"secrets": self.secrets} if self.secrets else {})

    def settings(self, mountpoint: Path = NOWHERE) -> MountSettings:
        """Return them as settings. Raises: ConfigurationError."""
        return MountSettings(
            url=self.url,
            mountpoint=mountpoint,
            **self.values(),  # type: ignore[arg-type]  # the table of options names settings
        )


def resolve(source: str, options: Sequence[str] = ()) -> Resolved:
    """Return what is in force for a URL or profile, and these `-o` arguments.

    Raises: ConfigurationError: in one line what is wrong, and where it was said.
    """
    said = [Item(option, value, COMMAND_LINE) for option, value in parse_items(options)]
    if is_url(source):
        MountSettings(url=source, mountpoint=NOWHERE)
        items = [*_from_environment(source), *said]
        return _combined(source, None, items, [given_keys()], known_variable(source))
    profile = find(source)
    return resolve_profile(profile, said)


def resolve_profile(
    profile: Profile, said: Sequence[Item] = (), *, has_environment: bool = True
) -> Resolved:
    """Return what is in force for a profile, or would be without variables of the environment.

    Raises: ConfigurationError.
    """
    origin = Origin(_PROFILE_RANK, f"profile {profile.name}", f"in {profile.file}")
    weaker = Origin(_DEFAULTS_RANK, DEFAULTS, f"in {profile.file}")
    url = _text_of(profile.table, "url", origin)
    if url is None:
        raise _wrong(origin, "url", "is missing: it says which bucket, as in s3://bucket")
    _checked_value(origin, "url", url)
    items = [*_from_table(profile.defaults, weaker, url), *_from_table(profile.table, origin, url)]
    stored = [_stored_keys(profile.defaults, weaker), _stored_keys(profile.table, origin)]
    if not has_environment:
        return _combined(url, profile, items, stored, None)
    items += [*_from_environment(url), *said]
    return _combined(url, profile, items, [*stored, given_keys()], known_variable(url))


Keys = tuple[Origin, Secrets]


def _combined(
    url: str,
    profile: Profile | None,
    items: list[Item],
    places: Sequence[Keys | None],
    variable: Origin | None,
) -> Resolved:
    """Put the layers together; of the places for keys the one of the highest rank counts."""
    scheme = scheme_of(url)
    given = [keys for keys in places if keys and _takes_keys(scheme, *keys)]
    keys = max(given, key=lambda found: found[0].rank, default=None)
    if variable and (keys is None or keys[0].rank < variable.rank):
        keys = None
        items = [item for item in items if not _is_weaker_source(item)]
    others = [item.origin for item in items if item.option.name in OTHER_KEYS]
    other = max(others, key=lambda origin: origin.rank, default=None)
    if keys and other and other.rank == keys[0].rank:
        raise _wrong(keys[0], "access_key", f"excludes {', '.join(OTHER_KEYS)}")
    if keys and other and other.rank > keys[0].rank:
        keys = None
    place = keys[0] if keys else other
    items = [item for item in items if item.option.name not in OTHER_KEYS or item.origin == place]
    mountpoint = _mountpoint_of(profile) if profile else None
    secrets, origin = (keys[1], keys[0]) if keys else (None, other or variable)
    return Resolved(url, mountpoint, tuple(items), secrets, origin, profile)


def _is_weaker_source(item: Item) -> bool:
    is_source = item.option.name in ("credential_command", "credential_file")
    return is_source and item.origin.rank < _ENVIRONMENT_RANK


def _takes_keys(scheme: str, origin: Origin, keys: Secrets) -> bool:
    """Tell whether this kind of bucket has keys. Raises: ConfigurationError (no such keys)."""
    if scheme not in KEY_VARIABLES:
        if origin.rank == _PROFILE_RANK:
            raise _wrong(origin, "access_key", f"means nothing to {scheme}:")
        return False
    if keys.session_token and len(KEY_VARIABLES[scheme][0]) < len(SECRET_KEYS):
        raise _wrong(origin, "session_token", f"means nothing to {scheme}:")
    return True


def known_variable(url: str) -> Origin | None:
    """Return the cloud's own variable that has a key, if there is one."""
    names = [names[0] for names in KEY_VARIABLES.get(scheme_of(url), ())]
    found = next((name for name in names if os.environ.get(name)), None)
    return Origin(_ENVIRONMENT_RANK, "environment", found) if found else None


def _from_environment(url: str) -> Iterator[Item]:
    for option in OPTIONS:
        name = variable_of(option.name)
        text = os.environ.get(name)
        if not text:
            continue
        origin = Origin(_ENVIRONMENT_RANK, "environment", name)
        try:
            value = option.parse(text) if option.parse else is_true(text) is option.flag_value
        except ValueError as exc:
            raise ConfigurationError(f"{name}={text} is wrong: it must be {exc}") from exc
        yield _checked(Item(option, value, origin), url)


def is_true(text: str) -> bool:
    """Return what a word says of a flag. Raises: ValueError (it says nothing)."""
    if text.lower() not in _WORDS:
        raise ValueError("true or false")
    return _WORDS[text.lower()]


def variable_of(name: str) -> str:
    """Return the environment variable of an option or secret."""
    return PREFIX + name.upper()


def given_keys() -> Keys | None:
    """Return keys of the environment under bucketfs's own names. Raises: ConfigurationError."""
    table = {key: text for key in SECRET_KEYS if (text := os.environ.get(variable_of(key)))}
    return _stored_keys(table, Origin(_ENVIRONMENT_RANK, "environment"), variable_of)


def _stored_keys(table: Table, origin: Origin, name_of: Callable[[str], str] = str) -> Keys | None:
    """Return the keys of one place: they are a set, never mixed of several places."""
    access_key, secret_key, token = (_text_of(table, key, origin) for key in SECRET_KEYS)
    if access_key is None and secret_key is None and token is None:
        return None
    for key, text in zip(SECRET_KEYS, (access_key, secret_key), strict=False):
        if text is None:
            raise _wrong(origin, name_of(key), "is missing: keys are given together")
    assert access_key is not None
    assert secret_key is not None
    logs.hide_secrets(secret_key, token, is_lasting=True)
    named = Origin(origin.rank, origin.layer, origin.detail or name_of("access_key"))
    return named, Secrets(access_key, secret_key, token)


def _from_table(table: Table, origin: Origin, url: str) -> Iterator[Item]:
    """Yield the options of a table of the file. Raises: ConfigurationError."""
    for key, value in table.items():
        is_place = key in PLACE_KEYS and origin.rank == _PROFILE_RANK
        if is_place or key in SECRET_KEYS or is_ignored(key):
            continue
        option = TABLE.get(key)
        if option is None:
            raise _wrong(origin, key, f"is no key that is known{_nearest(key)}")
        if origin.rank == _DEFAULTS_RANK and scheme_of(url) not in OPTION_SCHEMES.get(
            key, (scheme_of(url),)
        ):
            continue  # for profiles of other clouds
        try:
            item = Item(option, typed(option, value), origin)
        except ValueError as exc:
            raise _wrong(origin, key, f"must be {exc}") from exc
        yield _checked(item, url)


def typed(option: Option, value: object) -> object:
    """Return the value of an option that a TOML file gives. Raises: ValueError (what it must be).

    Numbers do where the text would be one, and a list for names.
    """
    if option.parse is None:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value is option.flag_value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and option.parse in (parse_count, parse_size, parse_duration):
        return option.parse(str(value))
    if isinstance(value, list) and option.parse is parse_names:
        value = ":".join(name for name in value if isinstance(name, str))
    if not isinstance(value, str):
        raise ValueError(f'a string, as in {option.name} = "{option.placeholder}"')
    if option.parse is parse_path and not value.startswith(("/", "~")):
        raise ValueError("an absolute path")
    return option.parse(value)


def _checked(item: Item, url: str) -> Item:
    """Return the item if settings take it. Raises: ConfigurationError that names its place."""
    try:
        values = folded([(item.option, item.value)])
        MountSettings(url=url, mountpoint=NOWHERE, **values)  # type: ignore[arg-type]
    except ConfigurationError as exc:
        raise ConfigurationError(f"{item.origin.words}: {exc}") from exc
    return item


def _checked_value(origin: Origin, key: str, url: str) -> None:
    try:
        MountSettings(url=url, mountpoint=NOWHERE)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{origin.words}: {key}: {exc}") from exc


def _mountpoint_of(profile: Profile) -> Path | None:
    origin = Origin(_PROFILE_RANK, f"profile {profile.name}", f"in {profile.file}")
    text = _text_of(profile.table, "mountpoint", origin)
    if text is None:
        return None
    if not text.startswith(("/", "~")):
        raise _wrong(origin, "mountpoint", "must be an absolute path")
    return Path(text).expanduser()


def _text_of(table: Table, key: str, origin: Origin) -> str | None:
    """Return a string of a table; what is wrong with it is said without showing it."""
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise _wrong(origin, key, "must be a string that is not empty")
    return value


def _nearest(key: str) -> str:
    known = [*PLACE_KEYS, *SECRET_KEYS, *TABLE]
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else " (bucketfs mount --help lists them)"


def _wrong(origin: Origin, key: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{origin.words}: {key} {what}")


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return names that look like variables of options and are none: perhaps misspelt ones."""
    known = {variable_of(name) for name in (*SECRET_KEYS, "config", *(o.name for o in OPTIONS))}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
