"""Which of Libcloud's drivers a name means, and which options that driver knows.

Libcloud itself swallows options that it does not know: a misspelled `token` would be a mount with
other rights than were meant. So they are compared here with what the driver's constructors take.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from bucketfs.errors import ConfigurationError

_OURS = {"self", "key", "secret", "args", "kwargs"}


def driver_class(provider: str) -> tuple[str, Any]:
    """Return Libcloud's name of a provider, and the class of its driver (imports it, blocks).

    `provider` is the name or the constant of Libcloud, in any case, `-` for `_`; drivers that
    somebody registered with Libcloud's `set_driver` count. Raises: ConfigurationError.
    """
    try:
        from libcloud.storage.base import StorageDriver
        from libcloud.storage.providers import DRIVERS, get_driver
        from libcloud.storage.types import Provider
    except ImportError as exc:
        message = "libcloud+PROVIDER needs the package apache-libcloud: pip install apache-libcloud"
        raise ConfigurationError(message) from exc
    wanted = _plain(provider)
    constants = {name.lower(): value for name, value in vars(Provider).items() if name.isupper()}
    real = {_plain(name): name for name in map(str, DRIVERS) if name != "dummy"}
    name = real.get(constants.get(wanted, wanted))
    if name is None:
        message = f"Libcloud has no driver {provider!r}; {_nearest(wanted, sorted(real))}"
        raise ConfigurationError(message)
    try:
        found = get_driver(name)
    except ImportError as exc:
        needed = exc.name or "a further package"
        raise ConfigurationError(f"Libcloud's driver {name} needs {needed}: install it") from exc
    if found.download_object_as_stream is StorageDriver.download_object_as_stream:
        raise ConfigurationError(f"Libcloud's driver {name} cannot read objects")
    return name, found


def needs_secret(found: Any) -> bool:
    """Return whether a driver signs with a secret: all do that talk to a cloud."""
    from libcloud.common.base import ConnectionUserAndKey

    return issubclass(found.connectionCls, ConnectionUserAndKey)


def check_options(provider: str, found: Any, names: Iterable[str]) -> None:
    """Refuse options that no constructor of a driver takes. Raises: ConfigurationError."""
    known = set(_known(found))
    for name in names:
        if name not in known:
            message = f"LIBCLOUD_OPTIONS: the driver of {provider} knows no {name!r}"
            raise ConfigurationError(f"{message}; {_nearest(name, sorted(known))}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _known(found: Any) -> Iterator[str]:
    """Yield the options of a driver and of its connection.

    Constructors name what they take; the rest they pick by name from their `**kwargs`, so the
    words in their code count too.
    """
    for kind in (*found.__mro__, *found.connectionCls.__mro__):
        code = getattr(vars(kind).get("__init__"), "__code__", None)
        if code is None:
            continue
        words = (*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], *code.co_consts)
        for word in words:
            if isinstance(word, str) and word.isidentifier() and word not in _OURS:
                yield word


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3) or [one for one in known if name in one]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"it has: {', '.join(known)}"
