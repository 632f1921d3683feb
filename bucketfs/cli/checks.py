"""Checks of `bucketfs doctor`: of the machine, and of what a mount says of itself.

Each gives what it found: ok, warn or fail, in words, with what a person can do about it.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bucketfs import __version__
from bucketfs.cli.pending import size_words
from bucketfs.cli.resolving import OTHER_KEYS, Resolved
from bucketfs.control import Report
from bucketfs.storage.probing import CLOCK_TOLERANCE_S

OK, WARN, FAIL = "ok", "warn", "fail"

FUSE_DEVICE = Path("/dev/fuse")
FUSE_CONFIGURATION = Path("/etc/fuse.conf")
PACKAGES = ("pyfuse3", "trio", "requests", "urllib3", "typer", "rich", "anycrc")
LEAST_FILES = 1024
LEAST_FREE_BYTES = 1 << 30
LEAST_KERNEL = (4, 18)
"""That of the oldest distributions still in use; nothing here was tried on an older one."""
LONG_S = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found; `fix`: what a person can do about it ("" where nothing needs to)."""

    result: str
    what: str
    found: str
    fix: str = ""


def versions() -> dict[str, str]:
    """Return the versions of what a mount runs on."""
    found = {
        "bucketfs": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "system": platform.platform(),
        "machine": platform.machine(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def machine() -> Iterator[Check]:
    """Check what every mount needs of this machine."""
    known = versions()
    shown = ", ".join(f"{name} {known[name]}" for name in ("bucketfs", "python", "pyfuse3", "trio"))
    yield Check(OK, "versions", shown)
    yield _kernel(known["kernel"])
    yield _device()
    yield _fusermount()
    yield _others()
    yield _limits()


def _kernel(release: str) -> Check:
    numbers = release.split("-")[0].split(".")[:2]
    is_new = all(n.isdigit() for n in numbers) and tuple(map(int, numbers)) >= LEAST_KERNEL
    fix = "" if is_new else f"use Linux {'.'.join(map(str, LEAST_KERNEL))} or newer"
    return Check(OK if is_new else WARN, "kernel", f"{sys.platform} {release}", fix)


def _device() -> Check:
    if not FUSE_DEVICE.exists():
        fix = "modprobe fuse; a container needs --device /dev/fuse and --cap-add SYS_ADMIN"
        return Check(FAIL, "/dev/fuse", "it is not there", fix)
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        return Check(FAIL, "/dev/fuse", "you may not open it", f"chmod 666 {FUSE_DEVICE}")
    return Check(OK, "/dev/fuse", "it can be opened")


def _fusermount() -> Check:
    found = shutil.which("fusermount3")
    if found is None:
        return Check(FAIL, "fusermount3", "it is missing", "install the package fuse3")
    if os.geteuid() and not os.stat(found).st_mode & stat.S_ISUID:
        fix = f"chown root {found} && chmod u+s {found}"
        return Check(FAIL, "fusermount3", f"{found} is not set-user-ID root", fix)
    return Check(OK, "fusermount3", found)


def _others() -> Check:
    what = "user_allow_other"
    try:
        lines = [line.strip() for line in FUSE_CONFIGURATION.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        lines = []
    if what in lines:
        return Check(OK, what, f"it is set in {FUSE_CONFIGURATION}")
    if os.geteuid() == 0:
        return Check(OK, what, "it is not set; root needs it not")
    fix = f"only for -o allow_other: echo {what} | sudo tee -a {FUSE_CONFIGURATION}"
    return Check(WARN, what, f"it is not set in {FUSE_CONFIGURATION}", fix)


def _limits() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = soft == resource.RLIM_INFINITY or soft >= LEAST_FILES
    fix = "" if is_enough else f"ulimit -n {LEAST_FILES} (LimitNOFILE= in a unit)"
    return Check(OK if is_enough else WARN, "open files", f"{soft} of at most {hard}", fix)


def cache_folder(folder: Path) -> Check:
    """Check that there is room on the disk for what is not in the bucket yet."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{folder}: {size_words(free)} free"
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(FAIL, "cache folder", f"{place} cannot be written to", "-o cache_dir=PATH")
    if free < LEAST_FREE_BYTES:
        return Check(WARN, "cache folder", found, "make room, or choose another: -o cache_dir=PATH")
    return Check(OK, "cache folder", found)


def clock(skew_s: float | None) -> Check:
    """Check this machine's clock: servers refuse signatures of another time."""
    if skew_s is None:
        return Check(OK, "clock", "what the server's clock says is not known")
    found = f"the server's is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"
    if abs(skew_s) > CLOCK_TOLERANCE_S:
        return Check(FAIL, "clock", found, "set the clock (timedatectl set-ntp true)")
    return Check(OK, "clock", found)


def credentials(asked: Resolved) -> Check:
    """Tell where the keys come from; never what they are."""
    origin = asked.keys_origin
    if origin is None:
        where = "none were given: the files of the cloud's own tools are asked, or this machine"
    else:
        named = [item.option.name for item in asked.items if item.option.name in OTHER_KEYS]
        where = f"{', '.join(named)} of the {origin.words}" if named else f"of the {origin.words}"
    return Check(OK, "credentials", where)


def mount(health: Report, flights: Report, log: Report) -> Iterator[Check]:
    """Check what a mount that answers says of itself."""
    yield Check(OK, "mount process", f"it answers (pid {health['pid']})")
    yield _waiting(flights)
    failed, store = health["failed_files"], health["errors"]["store_failures"]
    place = health["mountpoint"]
    fix = f"bucketfs pending {place} says why" if failed else ""
    unsaved = f"{health['dirty_files']} files wait, {failed} of them failed"
    yield Check(WARN if failed else OK, "unsaved files", unsaved, fix)
    fix = f"bucketfs log {place} says which" if store else ""
    yield Check(WARN if store else OK, "the store", f"{store} requests without an answer", fix)
    errors, warnings = log.get("errors", 0), log.get("warnings", 0)
    fix = f"bucketfs log {place}" if errors or warnings else ""
    result = FAIL if errors else WARN if warnings else OK
    yield Check(result, "log", f"{errors} errors, {warnings} warnings since the mount", fix)
    yield clock(health.get("clock_skew_s"))
    yield cache_folder(Path(health["cache_folder"]))


def _waiting(flights: Report) -> Check:
    longest = max((row["seconds"] for row in flights["kernel"]), default=0.0)
    found = f"{len(flights['kernel'])} programs wait, the longest for {longest:.0f} s"
    if longest > LONG_S:
        return Check(WARN, "requests", found, "bucketfs inflight says what for")
    return Check(OK, "requests", found)
