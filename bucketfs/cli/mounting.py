"""`bucketfs mount`: options to settings, then the mount in this process or in a daemon."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bucketfs import logs
from bucketfs.cli.daemon import Ready, start_daemon
from bucketfs.cli.mountpoints import resolved
from bucketfs.cli.requirements import check_program, needing_fuse
from bucketfs.cli.resolving import resolve
from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    BucketNotFound,
    ConfigurationError,
    KeysUnavailable,
    StorageError,
    Transient,
)
from bucketfs.settings import MountSettings, disk_bytes_for, mask_url

log = logging.getLogger(__name__)

_REASONS: tuple[tuple[type[StorageError], str], ...] = (
    (BucketNotFound, "there is no such bucket"),
    (AccessDenied, "these credentials may not use it"),
    (KeysUnavailable, "there are no valid keys"),
    (Transient, "the store cannot be reached"),
)


def settings_from(
    source: str,
    mountpoint: Path | None,
    options: Sequence[str],
    *,
    is_foreground: bool,
    is_read_only: bool,
    is_debug: bool,
) -> MountSettings:
    """Return the settings that a command line, the environment and a profile ask for.

    `source` is a URL or the name of a profile. The mount point (None: the profile's) becomes
    absolute without symbolic links, as the kernel's table will show it. Raises: ConfigurationError.
    """
    asked = resolve(source, options)
    place = mountpoint or asked.mountpoint
    if place is None:
        raise ConfigurationError(f"where to? `bucketfs mount {mask_url(source)} MOUNTPOINT`")
    values = asked.values()
    values["is_read_only"] = is_read_only or bool(values.get("is_read_only"))
    values["is_debug"] = is_debug or bool(values.get("is_debug"))
    settings = MountSettings(
        url=asked.url,
        mountpoint=resolved(place),
        is_foreground=is_foreground,
        **values,  # type: ignore[arg-type]  # the table of options names settings and their types
    )
    if "disk_bytes" in values:
        return settings
    return replace(settings, disk_bytes=disk_bytes_for(settings.cache_folder))


def mount_bucket(settings: MountSettings) -> int:
    """Mount, and return the exit status: when it ended, or (a daemon) when it answers.

    Raises: BucketfsError where the mount could not be made.
    """
    check_program()
    if settings.is_foreground:
        try:
            return serve(settings, _nobody_waits)
        except StorageError as exc:
            raise ConfigurationError(describe_error(exc, settings.url)) from exc

    def describe(exc: BaseException) -> str:
        error = cause_of(exc)
        is_ours = isinstance(error, BucketfsError | OSError)
        log.error("the mount ended: %s", error, exc_info=None if is_ours else exc)
        return describe_error(error, settings.url)

    outcome = start_daemon(lambda ready: serve(settings, ready), describe)
    if outcome.error is None:
        return 0
    raise ConfigurationError(outcome.error)


def serve(settings: MountSettings, ready: Ready) -> int:
    """Run the mount in this process until it is unmounted; return its exit status.

    Raises: BucketfsError (unwrapped from the groups that nurseries make of it).
    """
    try:
        logs.configure(
            is_foreground=settings.is_foreground,
            is_debug=settings.is_debug,
            log_file=settings.log_file,
            name=str(settings.mountpoint),
            log_format=settings.log_format,
        )
    except OSError as exc:
        raise ConfigurationError(f"cannot write the log: {exc}") from exc
    import trio

    with needing_fuse():
        from bucketfs.fuse.supervising import Supervisor
        from bucketfs.mount import run_mount

    try:
        supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET"), _watchdog_s())
        return trio.run(run_mount, settings, ready, supervisor)
    except BaseExceptionGroup as group:
        cause = cause_of(group)
        if isinstance(cause, BucketfsError | OSError | KeyboardInterrupt) and not settings.is_debug:
            raise cause from group
        raise


def _watchdog_s() -> float | None:
    """Return how long the service manager waits for a sign of life; None: it does not."""
    time_us, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    is_meant = process is None or process == str(os.getpid())
    return int(time_us) / 1e6 if is_meant and time_us.isdecimal() and int(time_us) else None


def cause_of(exc: BaseException) -> BaseException:
    """Return the one exception that a person should hear of: the first BucketfsError of a group."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    leaves = list(_leaves(exc))
    return next((leaf for leaf in leaves if isinstance(leaf, BucketfsError)), leaves[0])


def describe_error(exc: BaseException, url: str, verb: str = "mount") -> str:
    """Return what a person reads of `exc`; anything but our own errors is called a bug."""
    if isinstance(exc, StorageError):
        reason = next((text for kind, text in _REASONS if isinstance(exc, kind)), "the store says")
        return f"cannot {verb} {mask_url(url)}: {reason}: {exc}"
    if isinstance(exc, BucketfsError | OSError):
        return str(exc)
    return f"a bug: {type(exc).__name__}: {exc} (the log has the traceback)"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for exc in group.exceptions:
        found.extend(_leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc])
    return found


def _nobody_waits() -> None:
    """Say on a terminal that the mount answers; nothing else waits for a foreground mount."""
    if sys.stderr.isatty():
        sys.stderr.write("bucketfs: mounted; Ctrl-C saves everything and unmounts\n")
