"""From `libcloud+PROVIDER://container` and the environment to a LibcloudStore.

`LIBCLOUD_KEY` and `LIBCLOUD_SECRET` are the driver's first two arguments (of the local driver: its
folder, and nothing); `LIBCLOUD_OPTIONS` holds further ones as `name=value,name=value`, among them
secrets such as `token`, which a command line would show to everybody.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.storage.libcloud.providers import check_options, driver_class, needs_secret
from bucketfs.storage.location import StoreOptions, StoreUrl

if TYPE_CHECKING:
    from bucketfs.storage.libcloud.store import LibcloudStore

_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_NUMBERS = ("port", "retry_delay", "backoff")
_ITEM = re.compile(r"(?:\\.|[^,\\])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WRONG_ARGUMENTS = (TypeError, ValueError, LookupError, FileNotFoundError, PermissionError)


@dataclass(frozen=True, slots=True)
class DriverOrder:
    """Which driver to make, and with what; `attributes` are set on the driver once it is made."""

    provider: str
    driver_class: Any
    arguments: tuple[str, ...] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    attributes: Mapping[str, str]

    def make(self) -> Any:
        """Return a new driver (blocks). Raises: ConfigurationError."""
        from libcloud.common.types import LibcloudError

        try:
            driver = self.driver_class(*self.arguments, **self.options)
        except (LibcloudError, *_WRONG_ARGUMENTS) as exc:
            reason = getattr(exc, "value", None) or exc
            hint = "" if "host" in self.options else " (its host is -o endpoint=)"
            message = f"the driver of {self.provider} cannot be made: {reason}{hint}"
            raise ConfigurationError(message) from exc
        host = self.options.get("host")
        if host not in (None, driver.connection.host):
            raise ConfigurationError(f"the driver of {self.provider} takes no endpoint")
        for name, value in self.attributes.items():
            setattr(driver, name, value)
        return driver


async def open_libcloud(location: StoreUrl, options: StoreOptions) -> LibcloudStore:
    """Return the store at `location`, not yet asked anything. Raises: ConfigurationError."""
    return await trio.to_thread.run_sync(_open, location, options)


def _open(location: StoreUrl, options: StoreOptions) -> LibcloudStore:
    order = order_for(location.provider, options)
    # Only now is it certain that the package is there.
    from bucketfs.storage.libcloud.drivers import DriverPool, traits_of
    from bucketfs.storage.libcloud.spool import Spool
    from bucketfs.storage.libcloud.store import LibcloudStore

    traits = traits_of(order.provider, order.driver_class)
    pool = DriverPool(order.make, location.bucket, timeout_s=options.timeout_s, meter=options.meter)
    pool.prepare()
    return LibcloudStore(
        pool,
        traits,
        spool=Spool(options.environment.get("TMPDIR")),
        concurrency=options.concurrency,
    )


def order_for(provider: str, options: StoreOptions) -> DriverOrder:
    """Return which driver to make (imports it, blocks). Raises: ConfigurationError."""
    name, found = driver_class(provider)
    environment = options.environment
    key = environment.get("LIBCLOUD_KEY")
    if not key:
        what = "the folder that holds the containers" if name == "local" else "the access key"
        raise ConfigurationError(f"LIBCLOUD_KEY is not set: for {name} it is {what}")
    if name == "google_storage" and not (key.startswith("GOOG") or "@" in key):
        # Its driver would ask for a sign-in on the terminal, and wait for ever.
        message = "Google Storage takes an HMAC key, or a service account and the path of its key"
        raise ConfigurationError(message)
    secret = environment.get("LIBCLOUD_SECRET")
    if not secret and needs_secret(found):
        raise ConfigurationError("LIBCLOUD_SECRET is not set: it is the secret key")
    further = parse_options(environment)
    check_options(name, found, further)
    given: dict[str, Any] = {**_place(options), **further}
    attributes: dict[str, str] = {}
    region = options.region or given.pop("region", None)
    if region:
        if "region" in inspect.signature(found.__init__).parameters:
            given["region"] = region
        elif hasattr(found, "region_name"):
            attributes["region_name"] = region
        else:
            raise ConfigurationError(f"the driver of {name} knows no region")
    return DriverOrder(name, found, (key, secret) if secret else (key,), given, attributes)


def parse_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what `LIBCLOUD_OPTIONS` says; a comma in a value is written `\\,`, as in `-o`.

    Raises: ConfigurationError, which shows no value.
    """
    found: dict[str, Any] = {}
    for item in _ITEM.findall(environment.get("LIBCLOUD_OPTIONS", "")):
        name, separator, value = _ESCAPED.sub(r"\1", item).partition("=")
        name = name.strip()
        if not separator or not name.isidentifier():
            raise ConfigurationError("LIBCLOUD_OPTIONS is name=value,name=value")
        if name in _NUMBERS and not value.isdigit():
            raise ConfigurationError(f"LIBCLOUD_OPTIONS: {name} is a whole number")
        found[name] = int(value) if name in _NUMBERS else _WORDS.get(value.lower(), value)
    return found


def _place(options: StoreOptions) -> dict[str, Any]:
    """Return where to connect, in the words of drivers."""
    if options.endpoint is None:
        return {} if options.scheme is None else {"secure": options.scheme == "https"}
    parts = urlsplit(options.endpoint)
    if parts.path.strip("/") or parts.query:
        raise ConfigurationError("the endpoint of a Libcloud driver is a host without a path")
    is_secure = parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    return {"host": parts.hostname, "port": port, "secure": is_secure}
