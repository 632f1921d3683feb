"""What the shell offers when a person presses Tab: profiles, options, mount points.

A mistake in a file must not write into a half-typed line: whatever cannot be known is not offered.
"""

from __future__ import annotations

from contextlib import suppress

from bucketfs.errors import ConfigurationError


def profile_names(incomplete: str) -> list[str]:
    """Return the names of profiles that begin so."""
    from bucketfs.cli.profiles import read_all

    names: dict[str, None] = {}
    with suppress(ConfigurationError):
        for file in read_all():
            names |= dict.fromkeys(file.tables)
    return [name for name in names if name.startswith(incomplete)]


def sources(incomplete: str) -> list[str]:
    """Return profiles, and beginnings of URLs."""
    from bucketfs.settings import SCHEMES

    schemes = [form.partition("://")[0].partition("PROVIDER")[0] for form in SCHEMES]
    beginnings = [name if name.endswith("+") else f"{name}://" for name in schemes]
    urls = [beginning for beginning in beginnings if beginning.startswith(incomplete)]
    return profile_names(incomplete) + urls


def places(incomplete: str) -> list[str]:
    """Return mount points, profiles, and beginnings of URLs."""
    return mountpoints(incomplete) + sources(incomplete)


def options(incomplete: str) -> list[str]:
    """Return `-o` with its last name completed: `ro,mem` may become `ro,memory=`."""
    from bucketfs.options import TABLE

    before, comma, last = incomplete.rpartition(",")
    given = {item.partition("=")[0] for item in before.split(",")}
    return [
        f"{before}{comma}{option.name}{'=' if option.parse else ''}"
        for option in TABLE.values()
        if option.name.startswith(last) and option.name not in given
    ]


def set_keys(incomplete: str) -> list[str]:
    """Return `KEY=` for `configure --set`."""
    from bucketfs.options import OPTIONS

    names = ("mountpoint", *(option.name for option in OPTIONS))
    return [f"{name}=" for name in names if name.startswith(incomplete)]


def mountpoints(incomplete: str) -> list[str]:
    """Return where bucketfs has mounted something; none of these places is touched."""
    from bucketfs.cli.mountpoints import KERNEL_TYPE
    from bucketfs.fuse.mounttable import MOUNTINFO, parse

    text = MOUNTINFO.read_bytes().decode("utf-8", "surrogateescape")
    return [
        entry.mountpoint
        for entry in parse(text)
        if entry.type == KERNEL_TYPE and entry.mountpoint.startswith(incomplete)
    ]
