"""The kernel's mount table: what is mounted where, learned without touching a mount point.

A `stat` of a mount point may hang (its server is stuck) or deadlock (we are its server), so
everything that only needs the table reads /proc/self/mountinfo.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_OWNER = re.compile(r"(?:^|,)user_id=(\d+)(?:,|$)")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the table; `device` is `MAJOR:MINOR`, `owner_uid` who mounted it (of FUSE)."""

    mountpoint: str
    device: str
    type: str
    source: str
    owner_uid: int | None = None

    @property
    def minor(self) -> int:
        """The minor device number: the name of a FUSE connection below /sys/fs/fuse."""
        return int(self.device.partition(":")[2])


def parse(text: str) -> list[MountEntry]:
    """Return the entries of a mountinfo text (see proc(5)); lines of another shape are left out."""
    found = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(tail) >= 2:
            place, source = _unescape(fields[4]), _unescape(tail[1])
            owner_uid = _owner_of(tail[2] if len(tail) > 2 else "")
            found.append(MountEntry(place, fields[2], tail[0], source, owner_uid))
    return found


def find(mountpoint: Path) -> MountEntry | None:
    """Return what is on top at `mountpoint` (an absolute, resolved path), or None."""
    wanted = os.fspath(mountpoint)
    found = [entry for entry in entries() if entry.mountpoint == wanted]
    return found[-1] if found else None


def entries() -> list[MountEntry]:
    """Return all that is mounted, as this process sees it; what is on top comes last."""
    return parse(MOUNTINFO.read_bytes().decode("utf-8", "surrogateescape"))


def _owner_of(options: str) -> int | None:
    match = _OWNER.search(options)
    return int(match[1]) if match else None


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)
