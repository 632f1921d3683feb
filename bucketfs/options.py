"""The `-o` options of a mount: one table that parses, checks and explains every one of them.

The syntax is that of mount(8) and FUSE: `-o a,b=c`, repeated as often as wanted, the last of equal
options wins. A value may hold anything; a comma in it is written `\\,` and a backslash `\\\\`.
What `bucketfs mount --help` says of options and what docs list comes from the same table.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bucketfs.errors import ConfigurationError
from bucketfs.settings import (
    ADDRESSINGS,
    APPENDS,
    ATTRIBUTES_POLICIES,
    CONFLICTS,
    CONNECTION_SCHEMES,
    CRAWLERS,
    LOG_FORMATS,
    PAYLOADS,
    Secrets,
)
from bucketfs.values import (
    parse_count,
    parse_duration,
    parse_mask,
    parse_names,
    parse_path,
    parse_size,
    parse_text,
)


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
        "credential_command",
        "credential_command",
        "program that prints keys as JSON",
        parse_text,
        "CMD",
    ),
    Option("credential_file", "credential_file", "file of keys (mode 600)", parse_path, "PATH"),
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
        "requests at a time (default: 16); HEADs 16 times, at most 256",
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
    Option(
        "log_format", "log_format", f"a line of the log: {_one_of(LOG_FORMATS)}", parse_text, "HOW"
    ),
    Option(
        "metrics", "metrics", "tell metrics to collectors on 127.0.0.1:PORT", parse_text, "ADDRESS"
    ),
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
TABLE: Mapping[str, Option] = {option.name: option for option in (*OPTIONS, *KERNEL_FLAGS)}
"""Every option by its name."""


def parse_options(texts: Iterable[str]) -> dict[str, object]:
    """Return the keyword values for `MountSettings` that all the `-o` arguments ask for.

    Raises: ConfigurationError naming the option that is unknown (and the nearest known one), or
    the value that is wrong and what is allowed.
    """
    return folded(parse_items(texts))


def parse_items(texts: Iterable[str]) -> Iterator[tuple[Option, object]]:
    """Yield what the `-o` arguments say, in their order. Raises: ConfigurationError, as above."""
    for text in texts:
        for item in split(text):
            if not is_ignored(item):
                yield _parse_item(item)


def folded(items: Iterable[tuple[Option, object]]) -> dict[str, object]:
    """Return keyword values for `MountSettings`: of equal or opposite options the last one wins."""
    values: dict[str, object] = {}
    kernel: dict[str, None] = {}
    for option, value in items:
        if option.setting != "kernel_options":
            values[str(option.setting)] = value
            continue
        for name in (option.name, option.cancels):
            kernel.pop(name or "", None)
        if value:
            kernel[option.name] = None
    if kernel:
        values["kernel_options"] = tuple(kernel)
    return values


def is_ignored(item: str) -> bool:
    """Tell whether an item of `-o` is for mount(8), systemd or other file systems."""
    return item in IGNORED or item.startswith(IGNORED_PREFIXES)


def escaped(value: str) -> str:
    """Return a value as it is written in `-o`: `split` gives it back."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


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
    return ",".join(map(escaped, items))


def is_known(item: str) -> bool:
    """Return whether an item names an option, be it one that is ignored."""
    name = item.partition("=")[0]
    return name in TABLE or item in IGNORED or item.startswith(IGNORED_PREFIXES)


def describe() -> str:
    """Return the table as text for a person: one option a line, aligned."""
    width = max(len(option.usage) for option in OPTIONS) + 2
    return "\n".join(f"{option.usage:<{width}}{option.explanation}" for option in OPTIONS)


def _parse_item(item: str) -> tuple[Option, object]:
    name, equals, text = item.partition("=")
    option = TABLE.get(name)
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
    if name in Secrets._fields:
        return ": a secret is never an option; a profile has it (bucketfs configure), or a variable"
    known = [*TABLE, *IGNORED]
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not found:
        return " (bucketfs mount --help lists them)"
    return f"; did you mean {TABLE[found[0]].usage if found[0] in TABLE else found[0]!r}?"
