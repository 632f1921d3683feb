"""The `-o` options of a mount: one table that parses, checks and explains every one of them.

The syntax is that of mount(8) and FUSE: `-o a,b=c`, repeated as often as wanted, the last of equal
options wins. A value may hold anything; a comma in it is written `\\,` and a backslash `\\\\`.
What `bucketfs mount --help` says of options and what docs list comes from the same table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bucketfs.errors import ConfigurationError
from bucketfs.settings import (
    ADDRESSINGS,
    APPENDS,
    ATTRIBUTES_POLICIES,
    CONFLICTS,
    CONNECTION_SCHEMES,
    CRAWLERS,
    PAYLOADS,
)

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Return bytes: `128M`, `1.5GiB`, `4096`; units are powers of 1024. Raises: ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size like 128M, 1.5G or 4096")
    return int(float(match[1]) * (1 << _UNITS[match[2].upper()]))


def parse_duration(text: str) -> float:
    """Return seconds: `5`, `0.5`, `500ms`, `2m`, `1h`. Raises: ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("a time like 5, 0.5, 500ms or 2m")
    return float(match[1]) * _SECONDS[match[2]]


def parse_count(text: str) -> int:
    """Return a whole number, 0 or more. Raises: ValueError."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("a whole number")
    return int(text)


def parse_mask(text: str) -> int:
    """Return permission bits from octal digits: `022`. Raises: ValueError."""
    if re.fullmatch(r"(0o)?[0-7]{1,4}", text) is None:
        raise ValueError("an octal number like 022")
    return int(text, 8)


def parse_path(text: str) -> Path:
    """Return an absolute path: a daemon has no current folder. Raises: ValueError."""
    if not text:
        raise ValueError("a path")
    return Path(text).expanduser().absolute()


def parse_text(text: str) -> str:
    """Return the text as it is. Raises: ValueError where there is none."""
    if not text:
        raise ValueError("not empty")
    return text


def parse_names(text: str) -> tuple[str, ...]:
    """Return names that stand in a row with colons between. Raises: ValueError."""
    names = tuple(name for name in text.split(":") if name)
    if not names:
        raise ValueError("names with colons between, like find:rsync")
    return names


@dataclass(frozen=True, slots=True)
class Option:
    """One option: how it is written, which setting it sets, and what a person should know.

    `parse` is None for a flag, which sets `flag_value`. A flag whose `setting` is `kernel_options`
    is handed to libfuse by its name; one whose `setting` is None is accepted and ignored.
    `cancels` names the opposite flag.
    """

    name: str
    setting: str | None
    explanation: str
    parse: Callable[[str], object] | None = None
    placeholder: str = ""
    flag_value: bool = True
    cancels: str | None = None

    @property
    def usage(self) -> str:
        """Return how a person writes it: `memory=SIZE`."""
        return f"{self.name}={self.placeholder}" if self.parse else self.name


def _one_of(allowed: tuple[str, ...]) -> str:
    return f"{', '.join(allowed[1:])} or {allowed[0]} (default)"


OPTIONS: tuple[Option, ...] = (
    Option(
        "endpoint", "endpoint", "where to connect (default: the cloud's own)", parse_text, "URL"
    ),
    Option("region", "region", "region of the bucket (S3: AWS_REGION)", parse_text, "NAME"),
    Option(
        "scheme",
        "scheme",
        f"how to connect where no endpoint says it: {_one_of(CONNECTION_SCHEMES)}",
        parse_text,
        "HOW",
    ),
    Option("domain", "domain", "host that downloads come from (Kodo)", parse_text, "HOST"),
    Option(
        "storage_class",
        "storage_class",
        "storage class of what is written (COS, BOS, Kodo)",
        parse_text,
        "NAME",
    ),
    Option(
        "traffic_limit",
        "traffic_limit_bytes_s",
        "bytes a second of one request (COS, BOS, uploads to Kodo)",
        parse_size,
        "SIZE",
    ),
    Option(
        "addressing",
        "addressing",
        f"where the bucket's name goes: {_one_of(ADDRESSINGS)}",
        parse_text,
        "HOW",
    ),
    Option("profile", "profile", "profile of the shared AWS files", parse_text, "NAME"),
    Option(
        "payload",
        "payload",
        f"sign the uploaded bytes: {_one_of(PAYLOADS)}",
        parse_text,
        "HOW",
    ),
    Option("allow_other", "allow_other", "let other users in (needs user_allow_other)"),
    Option("acl", "acl", "keep POSIX ACLs"),
    Option("uid", "uid", "owner of objects that name none (default: you)", parse_count, "N"),
    Option("gid", "gid", "group of objects that name none (default: yours)", parse_count, "N"),
    Option("umask", "umask", "mode of objects that have none (default: 022)", parse_mask, "OCTAL"),
    Option("fmask", "fmask", "the same, for files only", parse_mask, "OCTAL"),
    Option("dmask", "dmask", "the same, for directories only", parse_mask, "OCTAL"),
    Option(
        "cache_dir", "cache_dir", "folder for spilled, unsaved and cached data", parse_path, "PATH"
    ),
    Option("memory", "memory_bytes", "memory budget (default: 96M)", parse_size, "SIZE"),
    Option(
        "disk", "disk_bytes", "disk budget (default: 10G, half of what is free)", parse_size, "SIZE"
    ),
    Option(
        "read_cache",
        "read_cache_bytes",
        "disk for what was read, kept for later mounts (default: 0, none)",
        parse_size,
        "SIZE",
    ),
    Option(
        "ttl",
        "ttl_s",
        "how long a listing may be believed (default: 5 s)",
        parse_duration,
        "SECONDS",
    ),
    Option("part_size", "part_size", "size of upload parts (default: 8M)", parse_size, "SIZE"),
    Option(
        "concurrency",
        "concurrency",
        "requests at a time (default: 16); HEADs four times as many",
        parse_count,
        "N",
    ),
    Option(
        "timeout",
        "timeout_s",
        "give up a request after (default: 60 s)",
        parse_duration,
        "SECONDS",
    ),
    Option(
        "mount_timeout",
        "mount_timeout_s",
        "wait so long for a store that cannot be reached (default: 0)",
        parse_duration,
        "SECONDS",
    ),
    Option(
        "abort_uploads_after",
        "abort_uploads_after_s",
        "abort uploads that nobody finished (default: 7d; 0: never)",
        parse_duration,
        "AGE",
    ),
    Option("writeback", "is_write_back", "a close waits for this machine's disk, not the bucket"),
    Option(
        "append",
        "append",
        f"new files that grow by appends: {_one_of(APPENDS)}",
        parse_text,
        "WHEN",
    ),
    Option(
        "conflict",
        "conflict",
        f"others changed a file as well: {_one_of(CONFLICTS)}",
        parse_text,
        "HOW",
    ),
    Option(
        "attributes",
        "attributes_policy",
        f"how listings prove types: {_one_of(ATTRIBUTES_POLICIES)}",
        parse_text,
        "HOW",
    ),
    Option(
        "crawlers",
        "crawlers",
        f"updatedb, virus scanners...: {_one_of(CRAWLERS)}",
        parse_text,
        "HOW",
    ),
    Option(
        "crawler_names", "crawler_names", "programs that are crawlers, too", parse_names, "A:B:..."
    ),
    Option("prices", "prices_file", "TOML file of prices for bucketfs stats", parse_path, "FILE"),
    Option("log_file", "log_file", "log there instead of syslog", parse_path, "PATH"),
    Option("debug", "is_debug", "log every request"),
    Option("ro", "is_read_only", "read-only", cancels="rw"),
    Option("rw", "is_read_only", "writable (default)", flag_value=False, cancels="ro"),
)
"""Options that mean something to bucketfs, in the order in which a person reads them."""

KERNEL_FLAGS: tuple[Option, ...] = (
    Option("nosuid", "kernel_options", "ignore set-user-id bits", cancels="suid"),
    Option("suid", "kernel_options", "honour set-user-id bits", cancels="nosuid"),
    Option("nodev", "kernel_options", "no device files", cancels="dev"),
    Option("dev", "kernel_options", "device files", cancels="nodev"),
    Option("noexec", "kernel_options", "no programs", cancels="exec"),
    Option("exec", "kernel_options", "programs", cancels="noexec"),
    Option("noatime", "kernel_options", "the kernel does not update access times"),
    Option("nodiratime", "kernel_options", "the same, for directories"),
    Option("sync", "kernel_options", "synchronous", cancels="async"),
    Option("async", "kernel_options", "asynchronous", cancels="sync"),
)
"""Options of mount(8) that libfuse understands."""

IGNORED = (
    *("_netdev", "_rnetdev", "auto", "noauto", "nofail", "defaults", "atime", "relatime"),
    *("norelatime", "strictatime", "nostrictatime", "diratime", "lazytime", "nolazytime", "user"),
    *("nouser", "users", "owner", "noowner", "group", "nogroup", "silent", "loud", "nomand"),
)
"""Options of mount(8) that are for mount(8), systemd or other file systems."""

IGNORED_PREFIXES = ("x-", "X-", "comment=", "user=", "helper=", "uhelper=")
_TABLE: Mapping[str, Option] = {option.name: option for option in (*OPTIONS, *KERNEL_FLAGS)}


def parse_options(texts: Iterable[str]) -> dict[str, object]:
    """Return the keyword values for `MountSettings` that all the `-o` arguments ask for.

    Raises: ConfigurationError naming the option that is unknown (and the nearest known one), or
    the value that is wrong and what is allowed.
    """
    values: dict[str, object] = {}
    kernel: dict[str, None] = {}
    for text in texts:
        for item in split(text):
            if item in IGNORED or item.startswith(IGNORED_PREFIXES):
                continue
            option, value = _parse_item(item)
            if option.setting != "kernel_options":
                values[str(option.setting)] = value
                continue
            for name in (option.name, option.cancels):
                kernel.pop(name or "", None)
            kernel[option.name] = None
    if kernel:
        values["kernel_options"] = tuple(kernel)
    return values


def split(text: str) -> Iterator[str]:
    """Yield the comma-separated items of one `-o` argument, unescaped; empty ones are left out."""
    item: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            item.append(following if following in ("\\", ",") else character + following)
        elif character == ",":
            if item:
                yield "".join(item)
            item = []
        else:
            item.append(character)
    if item:
        yield "".join(item)


def joined(items: Iterable[str]) -> str:
    """Return the items as one `-o` argument, from which `split` makes them again."""
    return ",".join(item.replace("\\", "\\\\").replace(",", "\\,") for item in items)


def is_known(item: str) -> bool:
    """Return whether an item names an option, be it one that is ignored."""
    name = item.partition("=")[0]
    return name in _TABLE or item in IGNORED or item.startswith(IGNORED_PREFIXES)


def describe() -> str:
    """Return the table as text for a person: one option a line, aligned."""
    width = max(len(option.usage) for option in OPTIONS) + 2
    return "\n".join(f"{option.usage:<{width}}{option.explanation}" for option in OPTIONS)


def _parse_item(item: str) -> tuple[Option, object]:
    name, equals, text = item.partition("=")
    option = _TABLE.get(name)
    if option is None:
        # Only the name is shown: what follows may be a secret that somebody put there.
        raise ConfigurationError(f"unknown option {name!r}{_nearest(name)}")
    if option.parse is None:
        if equals:
            raise ConfigurationError(f"option {name!r} takes no value")
        return option, option.flag_value
    if not equals:
        raise ConfigurationError(f"option {name!r} needs a value: {option.usage}")
    try:
        return option, option.parse(text)
    except ValueError as exc:
        raise ConfigurationError(f"{name}={text} is wrong: it must be {exc}") from exc


def _nearest(name: str) -> str:
    known = [*_TABLE, *IGNORED]
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not found:
        return " (bucketfs mount --help lists them)"
    return f"; did you mean {_TABLE[found[0]].usage if found[0] in _TABLE else found[0]!r}?"
