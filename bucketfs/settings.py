"""The settings of one mount: frozen, checked, and independent of where they came from.

`options.py` and `cli/` build them from argv; `mount.py` reads them and hands plain values to the
layers. Nothing else of the package reads argv, files or the environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import platformdirs

from bucketfs.errors import ConfigurationError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

DEFAULT_MEMORY_BYTES = 96 * MIB
DEFAULT_DISK_BYTES = 10 * GIB
DEFAULT_UMASK = 0o022
SCHEMES: Mapping[str, str] = {
    "s3://bucket[/prefix]": "S3 or a server that speaks it (-o endpoint=https://host)",
    "cos://bucket-appid[/prefix]": "Tencent COS (-o region=)",
    "bos://bucket[/prefix]": "Baidu BOS (-o region=)",
    "kodo://bucket[/prefix]": "Qiniu Kodo (-o domain=)",
    "libcloud+PROVIDER://container[/prefix]": "whatever Apache Libcloud can reach",
    "file:///folder": "a local folder as a bucket",
    "memory://name": "gone after the unmount; for trying things out",
}
"""What can be mounted: how its URL is written, and what it is."""

CONNECTION_SCHEMES = ("https", "http")
OPTION_SCHEMES: Mapping[str, tuple[str, ...]] = {
    "scheme": ("cos", "bos", "kodo", "libcloud"),
    "domain": ("kodo",),
    "storage_class": ("cos", "bos", "kodo"),
    "traffic_limit": ("cos", "bos", "kodo"),
    "read_cache": ("s3", "cos", "bos", "kodo", "libcloud"),
    "credential_command": ("s3", "cos", "bos", "kodo"),
    "credential_file": ("s3", "cos", "bos", "kodo"),
}
"""Options that mean something to some clouds only; with any other they are refused."""
ADDRESSINGS = ("auto", "path", "virtual")
PAYLOADS = ("auto", "signed", "unsigned")
APPENDS = ("auto", "always", "never")
CONFLICTS = ("fail", "copy", "overwrite")
ATTRIBUTES_POLICIES = ("auto", "exact", "listing")
LOG_FORMATS = ("text", "json")
CRAWLERS = ("refuse", "cached", "allow")


class Secrets(NamedTuple):
    """Keys that a person gave to bucketfs itself; without, the cloud's own places have them."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Secrets(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSettings:
    """Everything that one mount was asked for; every value is checked when it is made.

    `uid`, `gid` None: those of the mounting process. `umask`, `fmask`, `dmask` apply to objects
    that carry no mode of their own (see `file_mode`, `directory_mode`). `kernel_options` are the
    options of mount(8) that libfuse takes as they are (`nosuid`, `nodev`, `noatime` ...).
    Sizes are bytes, times seconds. Raises: ConfigurationError.
    """

    url: str
    mountpoint: Path
    is_foreground: bool = False
    is_read_only: bool = False
    is_debug: bool = False
    log_file: Path | None = None
    log_format: str = "text"
    metrics: str | None = None
    endpoint: str | None = None
    region: str | None = None
    scheme: str | None = None
    domain: str | None = None
    storage_class: str | None = None
    traffic_limit_bytes_s: int | None = None
    addressing: str = "auto"
    profile: str | None = None
    credential_command: str | None = None
    credential_file: Path | None = None
    payload: str = "auto"
    allow_other: bool = False
    acl: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    fmask: int | None = None
    dmask: int | None = None
    cache_dir: Path | None = None
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    disk_bytes: int = DEFAULT_DISK_BYTES
    read_cache_bytes: int = 0
    ttl_s: float = 5.0
    part_size: int = 8 * MIB
    concurrency: int = 16
    timeout_s: float = 60.0
    mount_timeout_s: float = 0.0
    abort_uploads_after_s: float = 7 * 86_400.0
    is_write_back: bool = False
    append: str = "auto"
    conflict: str = "fail"
    attributes_policy: str = "auto"
    crawlers: str = "refuse"
    crawler_names: tuple[str, ...] = ()
    prices_file: Path | None = None
    kernel_options: tuple[str, ...] = ()
    secrets: Secrets | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url)
        _check_endpoint(self.endpoint)
        self._check_cloud()
        _check_choice("addressing", self.addressing, ADDRESSINGS)
        _check_choice("payload", self.payload, PAYLOADS)
        _check_choice("append", self.append, APPENDS)
        _check_choice("conflict", self.conflict, CONFLICTS)
        _check_choice("attributes", self.attributes_policy, ATTRIBUTES_POLICIES)
        _check_choice("crawlers", self.crawlers, CRAWLERS)
        _check_choice("log_format", self.log_format, LOG_FORMATS)
        _check_range("memory", self.memory_bytes, 16 * MIB, None, "16M")
        _check_range("disk", self.disk_bytes, 64 * MIB, None, "64M")
        if self.read_cache_bytes:
            _check_range("read_cache", self.read_cache_bytes, 64 * MIB, None, "64M, or 0")
        _check_range("part_size", self.part_size, 5 * MIB, 5 * GIB, "5M to 5G")
        _check_range("concurrency", self.concurrency, 1, 512, "1 to 512")
        _check_range("timeout", self.timeout_s, 1, 3600, "1 to 3600 (seconds)")
        _check_range("mount_timeout", self.mount_timeout_s, 0, None, "0 or more (seconds)")
        _check_range("ttl", self.ttl_s, 0, None, "0 or more (seconds)")
        for name in ("umask", "fmask", "dmask"):
            mask = getattr(self, name)
            if mask is not None:
                _check_range(name, mask, 0, 0o777, "0 to 777 (octal)")
        for name in ("uid", "gid"):
            number = getattr(self, name)
            if number is not None:
                _check_range(name, number, 0, 2**32 - 2, "0 to 4294967294")

    def _check_cloud(self) -> None:
        """Refuse what this kind of bucket does not have: it would be ignored without a word."""
        given = {
            "scheme": self.scheme,
            "domain": self.domain,
            "storage_class": self.storage_class,
            "traffic_limit": self.traffic_limit_bytes_s,
            "read_cache": self.read_cache_bytes or None,
            "credential_command": self.credential_command,
            "credential_file": self.credential_file,
        }
        kind = scheme_of(self.url)
        for name, value in given.items():
            if value is not None and kind not in OPTION_SCHEMES[name]:
                known = ", ".join(f"{scheme}:" for scheme in OPTION_SCHEMES[name])
                raise ConfigurationError(f"{name}= means nothing to {kind}: (only to {known})")
        if self.credential_command is not None and self.credential_file is not None:
            raise ConfigurationError("give either credential_command= or credential_file=")
        if self.scheme is not None:
            _check_choice("scheme", self.scheme, CONNECTION_SCHEMES)
        if self.domain is not None:
            _check_domain(self.domain)
        if self.traffic_limit_bytes_s is not None:
            least, most = 100 * KIB, 100 * MIB
            _check_range("traffic_limit", self.traffic_limit_bytes_s, least, most, "100K to 100M")

    def shown(self, hide: Callable[[str], str]) -> dict[str, str]:
        """Return all of them as text for people, but no secrets: what `hide` leaves of the text."""
        names = [each.name for each in fields(self) if each.name != "secrets"]
        return {name: hide(mask_url(str(getattr(self, name)))) for name in names}

    @property
    def owner_uid(self) -> int:
        """Return the owner of objects that carry none."""
        return os.getuid() if self.uid is None else self.uid

    @property
    def owner_gid(self) -> int:
        """Return the group of objects that carry none."""
        return os.getgid() if self.gid is None else self.gid

    @property
    def file_mode(self) -> int:
        """Return the permission bits of files that carry none (`fmask`, else `umask`, of 0666)."""
        return 0o666 & ~self._mask(self.fmask)

    @property
    def directory_mode(self) -> int:
        """Return the permission bits of directories that carry none (`dmask`, of 0777)."""
        return 0o777 & ~self._mask(self.dmask)

    @property
    def cache_folder(self) -> Path:
        """Return `cache_dir`, or the folder that belongs to this URL and mount point.

        One cache folder belongs to one mount: what a crash left in it is found again by the next
        mount of the same bucket at the same place.
        """
        if self.cache_dir is not None:
            return self.cache_dir
        identity = hashlib.sha256(f"{self.url}\0{self.mountpoint}".encode(errors="surrogateescape"))
        return platformdirs.user_cache_path("bucketfs") / identity.hexdigest()[:16]

    def _mask(self, own: int | None) -> int:
        if own is not None:
            return own
        return DEFAULT_UMASK if self.umask is None else self.umask


def disk_bytes_for(folder: Path, wanted: int = DEFAULT_DISK_BYTES) -> int:
    """Return the default disk budget: `wanted`, but at most half of what is free at `folder`.

    `folder` need not exist yet: the nearest parent that does is asked. Never below the least
    that `MountSettings` accepts.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return max(64 * MIB, min(wanted, shutil.disk_usage(place).free // 2))


def _check_url(url: str) -> None:
    scheme = scheme_of(url)
    forms = {scheme_of(form): form for form in SCHEMES}
    name, separator, rest = url.partition("://")
    if not separator or scheme not in forms:
        known = ", ".join(SCHEMES)
        raise ConfigurationError(f"cannot mount {mask_url(url)!r}: the URL is one of {known}")
    form = forms[scheme]
    if ("+" in name) != ("+" in form) or name.endswith("+"):
        raise ConfigurationError(f"cannot mount {mask_url(url)!r}: the URL is {form}")
    if not rest:
        raise ConfigurationError(f"the URL {url!r} names no bucket")
    if scheme == "file" and not rest.startswith("/"):
        raise ConfigurationError(f"the URL {url!r} needs an absolute folder: {form}")
    bucket = rest.split("/", 1)[0]
    if scheme not in ("file", "memory") and (not bucket or "@" in bucket):
        raise ConfigurationError(
            f"the URL is {form}; credentials come from the environment or files"
        )


def scheme_of(url: str) -> str:
    """Return what a URL begins with, without the provider that `libcloud+` names."""
    return url.partition("://")[0].partition("+")[0]


def _check_domain(domain: str) -> None:
    url = domain if "://" in domain else f"https://{domain}"
    host = urlsplit(url)
    if not host.hostname or host.username or host.path not in ("", "/") or host.query:
        raise ConfigurationError(f"domain={mask_url(url)} is no host[:port]")


def _check_endpoint(endpoint: str | None) -> None:
    if endpoint is None:
        return
    shown = mask_url(endpoint)
    try:
        parts = urlsplit(endpoint)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError as exc:
        raise ConfigurationError(f"endpoint={shown} is no URL: {exc}") from exc
    if not is_usable:
        raise ConfigurationError(f"endpoint={shown} is no URL like https://host[:port]")
    if parts.username or parts.password:
        raise ConfigurationError(
            f"endpoint={shown} must not hold credentials; they come from the environment or files"
        )


def mask_url(url: str) -> str:
    """Return `url` without what stands before an `@` in its host part."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if "@" not in host:
        return url
    return f"{scheme}{separator}***@{host.rpartition('@')[2]}{slash}{path}"


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name}={value} is wrong: it is one of {', '.join(allowed)}")


def _check_range(name: str, value: float, least: float, most: float | None, allowed: str) -> None:
    is_too_much = most is not None and value > most
    if value < least or is_too_much:
        limit = allowed if most is not None or " " in allowed else f"at least {allowed}"
        raise ConfigurationError(f"{name}={value} is out of range: it is {limit}")
