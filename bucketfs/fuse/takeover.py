"""Mount points whose process was killed: told from those that live, and freed for the next mount.

The kernel leaves such a mount standing, and everything there is ENOTCONN. It is taken away as late
as possible, when all else of the next mount is ready: what programs write meanwhile fails, instead
of going to the folder below, where nobody would look for it.
"""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable

log = logging.getLogger(__name__)

KERNEL_TYPE = "fuse.bucketfs"
"""What the kernel's table calls our mounts."""
ANSWER_S = 10.0
UNMOUNT_TIMEOUT_S = 30.0
_MOST_LAYERS = 8
"""Dead mounts on top of each other that are taken away."""


def has_no_process(mountpoint: Path) -> bool:
    """Tell whether what is mounted there has lost its process. May hang where that is stopped."""
    try:
        os.statvfs(mountpoint)
    except OSError as exc:
        return exc.errno == errno.ENOTCONN
    return False


async def is_dead(mountpoint: Path) -> bool:
    """Tell whether a mount of ours without a process is there; one that hangs is none."""
    entry = mounttable.find(mountpoint)
    if entry is None or entry.type != KERNEL_TYPE:
        return False
    with trio.move_on_after(ANSWER_S):
        return await trio.to_thread.run_sync(has_no_process, mountpoint, abandon_on_cancel=True)
    return False


async def free_dead(mountpoint: Path) -> bool:
    """Take away what dead mounts of ours are there; return whether there was one.

    Raises: ConfigurationError (it may not be taken away).
    """
    freed = False
    for _ in range(_MOST_LAYERS):
        entry = mounttable.find(mountpoint)
        if entry is None or not await is_dead(mountpoint):
            break
        # Another mount may have taken its place meanwhile.
        if mounttable.find(mountpoint) == entry:
            await trio.to_thread.run_sync(detach, mountpoint)
            log.info("took over %s: the process of %s is gone", mountpoint, entry.source)
            freed = True
    return freed


def detach(mountpoint: Path) -> None:
    """Unmount lazily, by fusermount3, which users may do too. Raises: ConfigurationError."""
    command = ["fusermount3", "-uz", "--", os.fspath(mountpoint)]
    before = mounttable.find(mountpoint)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=UNMOUNT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as exc:
        raise ConfigurationError("fusermount3 is missing: install the package fuse3") from exc
    except subprocess.TimeoutExpired as exc:
        raise ConfigurationError(f"unmounting {mountpoint} takes too long") from exc
    if done.returncode and mounttable.find(mountpoint) == before:
        raise ConfigurationError(f"cannot free {mountpoint}: {done.stderr.strip()}")
