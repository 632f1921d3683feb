"""`bucketfs systemd`: the unit of a service that mounts one bucket.

The units in the folder systemd/ of the sources are made by this module too, and say why each line
is there (systemd/README.md).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer
from platformdirs import user_config_path

from bucketfs.cli.mounting import settings_from
from bucketfs.cli.profiles import FILE_VARIABLE, SYSTEM_FILE, Profile, find, is_url
from bucketfs.errors import ConfigurationError
from bucketfs.options import joined, split

SYSTEM_FOLDER = Path("/etc/systemd/system")
USER_FOLDER = Path("~/.config/systemd/user")
TEMPLATE = "bucketfs@.service"
WAIT = "mount_timeout=5m"
"""How long a service waits for its store at boot, unless its options say otherwise."""
_NAME = re.compile(r"[A-Za-z0-9:_.][A-Za-z0-9:_.-]*")

_UNIT = """\
[Unit]
Description=bucketfs mount {description}
{ordering}
# A mount that fails again and again is left alone after ten attempts.
StartLimitIntervalSec=15min
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
{environment}
ExecStart={command}
# It begins when the mount answers; while it waits for the network it asks for more time itself.
TimeoutStartSec=90s
# At the end everything is saved; as long as something moves, the mount asks for more time itself.
TimeoutStopSec=90s
KillMode=mixed
# The mount asks itself through the kernel; longer than any request may wait for a slow store.
WatchdogSec=5min
Restart=on-failure
RestartSec=5s
RestartPreventExitStatus=2
{hardening}
[Install]
WantedBy={target}
"""

_ROOT_HARDENING = """\
UMask=0077
{cache}# Nothing that gives the service a mount namespace of its own may stand here (ProtectSystem=,
# ProtectHome=, Private*=, ProtectKernel*=, ReadOnlyPaths= ...): the mount would be seen by nobody.
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
DevicePolicy=closed
DeviceAllow=/dev/fuse rw
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount
SystemCallErrorNumber=EPERM
"""

CAPABILITIES = "CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH"
"""For mounting; for mount points and folders of others."""

_USER_HARDENING = """\
UMask=0077
# fusermount3 is setuid root: NoNewPrivileges=yes, and all that implies it, would forbid the mount.
LockPersonality=yes
"""
_ORDERING = "Wants=network-online.target\nAfter=network-online.target nss-lookup.target"


def write_unit(
    name: str,
    source: str | None,
    mountpoint: Path | None,
    options: Sequence[str],
    folder: Path | None,
    *,
    is_user: bool,
) -> int:
    """Write the unit bucketfs@NAME and say how it is enabled; return the exit status.

    Raises: ConfigurationError (a wrong name, URL or option; the folder is not writable).
    """
    text = unit(name, source, mountpoint, options, is_user=is_user)
    folder = folder or (USER_FOLDER.expanduser() if is_user else SYSTEM_FOLDER)
    path = folder / f"bucketfs@{name}.service"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror}") from exc
    systemctl = "systemctl --user" if is_user else "systemctl"
    typer.echo(f"wrote {path}; it is started, now and at boot, by:")
    typer.echo(f"  {systemctl} daemon-reload")
    typer.echo(f"  {systemctl} enable --now bucketfs@{name}")
    if is_user:
        typer.echo("  loginctl enable-linger  # at boot, not at login")
    return 0


def unit(
    name: str,
    source: str | None,
    mountpoint: Path | None,
    options: Sequence[str],
    *,
    is_user: bool = False,
) -> str:
    """Return the text of the unit that mounts a URL or profile (None: the one called `name`).

    Raises: ConfigurationError.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"the name {name!r} may have letters, digits and : _ . - only")
    source = source or name
    settings = settings_from(
        source, mountpoint, options, is_foreground=True, is_read_only=False, is_debug=False
    )
    profile = None if is_url(source) else find(source)
    place = [] if mountpoint is None else [os.fspath(settings.mountpoint)]
    items = joined(_items(name, profile, options, is_user=is_user))
    words = [
        *_program(),
        "mount",
        source,
        *place,
        "--foreground",
        *(["-o", items] if items else []),
    ]
    parent = _quoted(os.fspath(settings.mountpoint.parent))
    return _UNIT.format(
        description=_specifiers(name),
        ordering=f"RequiresMountsFor={parent}"
        if is_user
        else f"{_ORDERING}\nRequiresMountsFor={parent}",
        environment="\n".join(_environment(name, profile, is_user=is_user)),
        command=" ".join(map(_quoted_word, words)),
        hardening=_USER_HARDENING if is_user else _root_hardening(name),
        target="default.target" if is_user else "multi-user.target",
    )


def _items(
    name: str, profile: Profile | None, options: Sequence[str], *, is_user: bool
) -> list[str]:
    """Return the options of a service: those given, and defaults for what nobody said."""
    items = [item for text in options for item in split(text)]
    given = {item.partition("=")[0] for item in items}
    if profile is not None:
        given |= {*profile.defaults, *profile.table}
    added = [] if "mount_timeout" in given else [WAIT]
    if "cache_dir" not in given and not is_user:
        added.append(f"cache_dir=/var/cache/bucketfs/{name}")
    return [*added, *items]


def _environment(name: str, profile: Profile | None, *, is_user: bool) -> Iterator[str]:
    """Yield where a service has its profile from, if it would not look there, and its keys."""
    known = user_config_path("bucketfs") / "config.toml" if is_user else SYSTEM_FILE
    if profile is not None and profile.file not in (known, SYSTEM_FILE):
        yield f"Environment={_quoted(f'{FILE_VARIABLE}={profile.file}')}"
    yield f"EnvironmentFile=-{_environment_file(name, is_user=is_user)}"


def template(*, is_user: bool = False) -> str:
    """Return the text of the unit whose instances mount the profile of their name."""
    program = "%h/.local/bin/bucketfs" if is_user else "/usr/local/bin/bucketfs"
    file = _environment_file("%i", is_user=is_user)
    return _UNIT.format(
        description="%i",
        ordering="# A unit of a user cannot wait for units of the system."
        if is_user
        else _ORDERING,
        environment=f"EnvironmentFile=-{file}",
        command=f"{program} mount %i --foreground -o {WAIT}",
        hardening=_USER_HARDENING if is_user else _root_hardening(None),
        target="default.target" if is_user else "multi-user.target",
    )


def _environment_file(name: str, *, is_user: bool) -> str:
    return f"%h/.config/bucketfs/{name}.env" if is_user else f"/etc/bucketfs/{name}.env"


def _root_hardening(instance: str | None) -> str:
    """Return what root's service is left; `instance`: whose cache folder systemd is to make."""
    cache = f"CacheDirectory=bucketfs/{instance}\nCacheDirectoryMode=0700\n" if instance else ""
    return _ROOT_HARDENING.format(cache=cache, capabilities=CAPABILITIES)


def _program() -> list[str]:
    """Return how this installation is run: its command, or its Python and the package."""
    command = Path(sys.executable).with_name("bucketfs")
    if shutil.which(command) is not None:
        return [os.fspath(command)]
    return [sys.executable, "-P", "-m", "bucketfs"]


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return a word of a unit file as systemd reads it: quoted, "%" doubled, bytes as they are."""
    if re.search(r"[\n\r\0]", text):
        raise ConfigurationError(f"{text!r} cannot be written into a unit: it has a line break")
    escaped = _specifiers(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"' if re.search(r"[\s\"'\\;#]", text) or not text else escaped


def _quoted_word(text: str) -> str:
    """Return an argument of ExecStart=, where "$" begins a variable too."""
    return _quoted(text).replace("$", "$$")
