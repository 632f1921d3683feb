"""Start a real mount as a child process, and end it by its own id whatever happened meanwhile.

Nothing here touches a mounted path from a thread that must not hang: whether the mount is there is
read from /proc/self/mountinfo.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 30.0
END_S = 60.0


class MountFailed(AssertionError):
    """The child ended, or did not mount in time; the message has its log."""


@dataclass
class Mount:
    """A running mount: where it is, its process, its log file."""

    url: str
    path: Path
    process: subprocess.Popen[bytes]
    log: Path

    def unmount(self) -> int:
        """Unmount as a person would (fusermount3 -u), wait for the drain, return the exit code."""
        deadline = time.monotonic() + END_S
        while is_mounted(self.path):
            done = subprocess.run(["fusermount3", "-u", self.path], capture_output=True)
            if done.returncode and time.monotonic() > deadline:
                raise MountFailed(f"cannot unmount {self.path}: {done.stderr.decode()}")
            if done.returncode:
                time.sleep(0.1)
        return self.process.wait(END_S)

    def kill(self) -> None:
        """kill -9, then take the dead mount point away."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(END_S)
        subprocess.run(["fusermount3", "-uz", self.path], capture_output=True)

    def log_text(self) -> str:
        """Return what the mount logged so far."""
        return self.log.read_text(errors="replace")


def error_of(function: Callable[..., object], *arguments: object) -> str:
    """Return the name of the errno with which `function(*arguments)` fails, or "ok"."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def is_mounted(path: Path) -> bool:
    """Return whether a file system is mounted at `path`, without asking that file system."""
    wanted = str(path).replace(" ", "\\040")
    with open("/proc/self/mountinfo") as lines:
        return any(line.split()[4] == wanted for line in lines)


@contextmanager
def mounted(
    url: str,
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    name: str = "mnt",
) -> Iterator[Mount]:
    """Mount `url` at `folder/name` for the time of the block, with its cache in `folder`.

    The block may unmount or kill by itself. Raises: MountFailed, also when the log holds a
    traceback: a bug in a handler is EIO for one call, and a failed test.
    """
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    given = ",".join([f"cache_dir={folder / (name + '.cache')}", *options])
    command = [sys.executable, "-m", "bucketfs", "mount", url, str(path), "--foreground"]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*command, "-o", given],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    mount = Mount(url, path, process, log)
    try:
        _wait_until_mounted(mount)
        yield mount
        if process.poll() is None:
            mount.unmount()
    finally:
        subprocess.run(["fusermount3", "-uz", path], capture_output=True)
        if process.poll() is None:
            process.kill()
        process.wait(END_S)
    if "Traceback" in mount.log_text():
        raise MountFailed(f"the mount logged a traceback:\n{mount.log_text()[-6000:]}")


def _wait_until_mounted(mount: Mount) -> None:
    deadline = time.monotonic() + START_S
    while not is_mounted(mount.path):
        if mount.process.poll() is not None or time.monotonic() > deadline:
            raise MountFailed(f"{mount.url} was not mounted:\n{mount.log_text()[-3000:]}")
        time.sleep(0.02)
