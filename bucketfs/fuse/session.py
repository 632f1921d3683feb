"""Session: the connection to the kernel: mounting, serving, tuning, ending.

There is one session a process, because pyfuse3 keeps it in module state. Nothing here touches the
mount point after `mount`: this process would wait for itself.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pyfuse3
import trio

from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable, takeover, turnstile
from bucketfs.fuse.operations import Operations

log = logging.getLogger(__name__)

FILE_SYSTEM_TYPE = "bucketfs"
READ_AHEAD_KIB = 4096
"""Measured: with 128 KiB the kernel sends small requests and reads at 0.6 of this speed."""
MAX_BACKGROUND = 64
CONGESTION_THRESHOLD = 48
LEAST_TASKS = 4
"""Idle tasks beyond these end, and with them their request buffer of 1 MiB."""
MOST_TASKS = 128
_MOUNT_CHECK_S = 10.0
FUSE_CONF = Path("/etc/fuse.conf")


def mount_options(
    source: str,
    *,
    is_read_only: bool = False,
    allow_other: bool = False,
    kernel_options: Iterable[str] = (),
) -> set[str]:
    """Return libfuse's options; `source` (a URL without secrets) is what mount(8) will show."""
    options = {
        f"fsname={_plain(source)}",
        f"subtype={FILE_SYSTEM_TYPE}",
        "default_permissions",
        *kernel_options,
    }
    if is_read_only:
        options.add("ro")
    if allow_other:
        options.add("allow_other")
    return options


def _plain(source: str) -> str:
    """Return `source` in ASCII (pyfuse3 takes nothing else), commas escaped for libfuse."""
    text = os.fsencode(source).decode("ascii", "backslashreplace")
    return text.replace("\\", "\\\\").replace(",", "\\,")


async def check_mountpoint(mountpoint: Path) -> None:
    """Make sure that something can be mounted there. Raises: ConfigurationError.

    Call it before `Session.mount`. A mount point that hangs is given up after some seconds. A mount
    of ours whose process is gone is no hindrance: `takeover.free_dead` takes it away.
    """
    entry = mounttable.find(mountpoint)
    if await takeover.is_dead(mountpoint):
        return
    if entry is not None and entry.type.startswith("fuse"):
        raise ConfigurationError(
            f"{mountpoint} is a mount already ({entry.source}, {entry.type}); if its process is "
            f"gone, free it by: fusermount3 -u {mountpoint}"
        )
    with trio.move_on_after(_MOUNT_CHECK_S):
        await trio.to_thread.run_sync(_check_folder, mountpoint, abandon_on_cancel=True)
        return
    raise ConfigurationError(f"{mountpoint} does not answer: is a dead server mounted there?")


def _check_folder(mountpoint: Path) -> None:
    try:
        with os.scandir(mountpoint) as entries:
            is_empty = next(entries, None) is None
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"the mount point {mountpoint} does not exist; make it by: mkdir -p {mountpoint}"
        ) from exc
    except NotADirectoryError as exc:
        raise ConfigurationError(f"the mount point {mountpoint} is not a directory") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot mount on {mountpoint}: {exc.strerror}") from exc
    if not is_empty:
        raise ConfigurationError(f"the mount point {mountpoint} is not an empty directory")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise ConfigurationError(
            "/dev/fuse cannot be opened: load the fuse module, or give the container the device"
        )


class Session:
    """The one connection of this process. Use: `mount`, `run`, `close`."""

    def __init__(self, operations: Operations, mountpoint: Path, options: set[str]) -> None:
        self.mountpoint = mountpoint
        self._operations = operations
        self._options = options
        self._is_running = False

    def mount(self) -> None:
        """Mount; requests wait until `run`. Raises: ConfigurationError (libfuse says why)."""
        if "allow_other" in self._options and not _may_let_others_in():
            raise ConfigurationError(
                "allow_other needs a line user_allow_other in /etc/fuse.conf, which only root can "
                f"write: echo user_allow_other | sudo tee -a {FUSE_CONF}"
            )
        try:
            pyfuse3.init(self._operations, os.fspath(self.mountpoint), self._options)
        except RuntimeError as exc:
            raise ConfigurationError(
                f"cannot mount on {self.mountpoint}: {exc} (may you mount there? is fuse3 "
                "installed? does /etc/fuse.conf allow these options?)"
            ) from exc

    async def run(self) -> None:
        """Serve until the kernel or `stop` ends it; every request begun is answered first."""
        self._is_running = True
        turnstile.install()
        try:
            await pyfuse3.main(min_tasks=LEAST_TASKS, max_tasks=MOST_TASKS)
        finally:
            self._is_running = False

    def stop(self) -> None:
        """Make `run` return, if it is running."""
        if self._is_running:
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmount if that has not happened yet (lazily: open files do not hinder), and clean up."""
        pyfuse3.close(unmount=True)

    async def wait_answering(self) -> None:
        """Wait until the kernel has begun to talk, then tune it where we are permitted to."""
        await self._operations.initialised.wait()
        entry = mounttable.find(self.mountpoint)
        if entry is not None:
            tune(entry)


def _may_let_others_in() -> bool:
    """Tell whether fusermount3 lets us use `allow_other`."""
    if os.geteuid() == 0:
        return True
    try:
        lines = FUSE_CONF.read_text("utf-8", "replace").splitlines()
    except OSError:
        return True  # fusermount3 decides
    return any(line.strip() == "user_allow_other" for line in lines)


async def take_over(session: Session) -> None:
    """Mount, where a killed mount of ours may still stand. Raises: ConfigurationError."""
    if await takeover.free_dead(session.mountpoint):
        await check_mountpoint(session.mountpoint)
    session.mount()


def tune(entry: mounttable.MountEntry) -> None:
    """Let the kernel ask for more at a time. Only root may; a mount without it is only slower."""
    connection = Path("/sys/fs/fuse/connections") / str(entry.minor)
    for path, value in (
        (Path("/sys/class/bdi") / entry.device / "read_ahead_kb", READ_AHEAD_KIB),
        (connection / "max_background", MAX_BACKGROUND),
        (connection / "congestion_threshold", CONGESTION_THRESHOLD),
    ):
        try:
            path.write_text(str(value))
        except OSError as exc:
            log.debug("not tuned: %s: %s", path, exc)


async def end_on_signal(
    session: Session, drain: Callable[[], Awaitable[object]], hurry: Callable[[], object]
) -> None:
    """End the session at SIGTERM or SIGINT after `drain`; each further signal calls `hurry`.

    Runs until cancelled, so that no signal ends the process before everything is kept.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            is_first = True
            async for received in signals:
                name = signal.Signals(received).name
                if is_first:
                    log.info("%s: saving what is unsaved, then unmounting", name)
                    nursery.start_soon(_drain_then_stop, session, drain)
                else:
                    log.info("%s again: what is unsaved is kept on this machine", name)
                    hurry()
                is_first = False


async def _drain_then_stop(session: Session, drain: Callable[[], Awaitable[object]]) -> None:
    await drain()
    session.stop()
