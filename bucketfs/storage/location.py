"""What a person asks for: a URL in its parts, and the options that a URL does not hold.

Each dialect's opener takes both; `opening.py` has the table of dialects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bucketfs.counting.meter import Meter
from bucketfs.errors import ConfigurationError

_TRAFFIC_LIMITS_BITS_S = (819_200, 838_860_800)
PROVIDER_SCHEME = "libcloud"
"""The one scheme that names a provider as well: libcloud+PROVIDER://container."""

URL_FORMS: Mapping[str, str] = {
    "s3": "s3://bucket[/prefix]",
    "cos": "cos://bucket-appid[/prefix]",
    "bos": "bos://bucket[/prefix]",
    "kodo": "kodo://bucket[/prefix]",
    PROVIDER_SCHEME: "libcloud+provider://container[/prefix]",
    "file": "file:///folder",
    "memory": "memory://name[/prefix]",
}
"""The schemes, and how a URL of each is written."""

KEY_VARIABLES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "s3": (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),),
    "cos": (
        ("COS_SECRET_ID", "COS_SECRET_KEY", "COS_TOKEN"),
        (
            *("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"),
            *("TENCENTCLOUD_SESSION_TOKEN", "TENCENTCLOUD_TOKEN"),
        ),
    ),
    "bos": (("BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY", "BCE_SESSION_TOKEN"),),
    "kodo": (("QINIU_ACCESS_KEY", "QINIU_SECRET_KEY"),),
    PROVIDER_SCHEME: (("LIBCLOUD_KEY", "LIBCLOUD_SECRET"),),
}
"""Where each dialect looks for its keys, first places first: key id, secret, session token."""


def environment_with(scheme: str, keys: Sequence[str | None] | None) -> dict[str, str]:
    """Return this process's environment as if it had `keys` (id, secret, token) and no others.

    So a dialect finds given keys where it looks first, and no other process can see them. None:
    nothing was given, the environment as it is.
    """
    if keys is None:
        return dict(os.environ)
    places = KEY_VARIABLES[scheme]
    known = {name for names in places for name in names}
    given = {name: key for name, key in zip(places[0], keys, strict=False) if key}
    return {name: text for name, text in os.environ.items() if name not in known} | given


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a URL does not say. None: as the environment and the cloud's own files say, or default.

    `endpoint` is where to connect, a URL; the host that is signed stays the cloud's own where it
    signs one. `scheme` ("http" or "https") is for a cloud whose endpoint is not given. `domain` is
    the host that Kodo downloads come from. `credential_command` or `credential_file` gives the
    keys, instead of the environment and the cloud's own places. `storage_class` is of what is
    written, and `traffic_limit_bytes_s` of one request. `timeout_s` is how long one request may
    wait for the server; `attempts` how often it is sent where it failed for the moment;
    `concurrency` how many are in flight. `is_durable` False lets a folder acknowledge what is not
    on the disk yet. `meter` counts the requests.
    """

    endpoint: str | None = None
    region: str | None = None
    scheme: str | None = None
    domain: str | None = None
    storage_class: str | None = None
    traffic_limit_bytes_s: int | None = None
    addressing: str = "auto"
    profile: str | None = None
    credential_command: str | None = field(default=None, repr=False)
    credential_file: Path | None = None
    payload: str = "auto"
    timeout_s: float = 60.0
    attempts: int = 8
    concurrency: int = 16
    is_durable: bool = True
    meter: Meter = field(default_factory=Meter, repr=False, compare=False)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A URL in its parts; `bucket` is the folder of `file:`. `prefix` is empty or ends with `/`.

    `provider` is what follows `libcloud+`, and empty for every other scheme.
    """

    scheme: str
    bucket: str
    prefix: str
    provider: str = ""


def parse_url(url: str) -> StoreUrl:
    """Split a URL. Nothing is percent-decoded. Raises: ConfigurationError (lists the schemes)."""
    name, separator, rest = url.partition("://")
    scheme, plus, provider = name.partition("+")
    takes_provider = scheme == PROVIDER_SCHEME
    if not separator or scheme not in URL_FORMS or bool(plus) != takes_provider:
        known = ", ".join(URL_FORMS.values())
        raise ConfigurationError(f"{name!r} is no known kind of bucket; known are: {known}")
    if takes_provider and not provider:
        raise ConfigurationError(f"the URL {url!r} names no provider: {URL_FORMS[scheme]}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigurationError("file: needs an absolute folder, as in file:///folder")
        return StoreUrl(scheme, rest, "")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ConfigurationError(f"the URL {url!r} names no bucket")
    prefix = prefix.strip("/")
    return StoreUrl(scheme, bucket, f"{prefix}/" if prefix else "", provider)


def traffic_limit_bits_s(limit_bytes_s: int | None, cloud: str) -> int | None:
    """Return in bits what COS and BOS let one request carry a second; None: as much as it can.

    Raises: ConfigurationError (less or more than both of them take).
    """
    if limit_bytes_s is None:
        return None
    least, most = _TRAFFIC_LIMITS_BITS_S
    if not least <= limit_bytes_s * 8 <= most:
        raise ConfigurationError(
            f"{cloud} limits a request to {least // 8} to {most // 8} bytes a second, "
            f"not to {limit_bytes_s}"
        )
    return limit_bytes_s * 8
