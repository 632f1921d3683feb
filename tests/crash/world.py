"""What one process did to its part of a mount, and what may be left of it after a kill: the oracle.

A worker tells its log every system call before it makes it and every answer before the next call.
A `World` is that log carried out in memory. It says at any moment what another mount may find:

- *Names.* mkdir, rmdir, rename, unlink and chmod of a closed file have happened when they returned
  0. The one call that was under way may have happened or not: `alternatives` are both worlds, and
  nothing else is allowed, but what `remains_of_rename` says.
- *Bytes* of a file are those of its last fsync or close that returned 0 (a file that had none is
  absent), or those of a moment since at which a save may have begun: an fsync or close that failed
  or was under way, a rename of the file or of a directory above it. Such a moment is *offered*.
  Never a mixture, never a length that no call made, never zeros that nobody wrote.
- *Objects of removed files.* A large file that is open when its name goes keeps its object until
  its last close: another client may see it in the bucket until the next mount has come.
- *Bytes that wait in a journal* (`Rules.may_mix`): a file that was written since its last close may
  also hold, at each place, what any write since had put there, as on a local disk. Without such
  writes it is exactly what was acknowledged.

Worlds are values for tests: not shared between threads, picklable, small.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import Any

Operation = dict[str, Any]
"""`do` names the call; the rest are its arguments, as JSON has them."""

MODE = 0o644
SYNCS = ("fsync", "close")


@dataclass(frozen=True)
class Version:
    """Bytes and permission bits of a file; `mode` None where the observer could not see them."""

    data: bytes
    mode: int | None = MODE


@dataclass
class File:
    """One file, wherever it is. `saved` None: nothing of it was ever acknowledged."""

    saved: Version | None = None
    history: list[Version] = field(default_factory=lambda: [Version(b"")])
    """What it was since `saved`, oldest first; the last is what a reader of this mount sees."""
    offered: list[Version] = field(default_factory=list)
    """What a save that may have happened would have stored."""
    beneath: list[Version | None] = field(default_factory=lambda: [None])
    """What its name may have until its first save: nothing, or what it has replaced there."""

    @property
    def allowed(self) -> list[Version | None]:
        """Return what may be found under its name."""
        return [*(self.beneath if self.saved is None else [self.saved]), *self.offered]

    @property
    def now(self) -> Version:
        """Return what a reader of this mount sees."""
        return self.history[-1]

    def change(self, version: Version) -> None:
        """Note a change that is acknowledged by no save yet."""
        self.history.append(version)

    def offer(self) -> None:
        """Note that a save of what it is now may happen."""
        if self.history[-1] is not self.saved:
            self.offered.append(self.now)

    def acknowledge(self) -> None:
        """Note that what it is now was acknowledged."""
        self.saved = self.now
        self.history, self.offered = [self.now], []


@dataclass
class Slot:
    """An open descriptor. `file` goes on when its name is gone."""

    file: File
    appends: bool = False


def content(seed: int, length: int) -> bytes:
    """Return the bytes that a write with `seed` puts down."""
    return random.Random(seed).randbytes(length)


@dataclass
class World:
    """Files and directories of one worker, by path below the mount point, and what it has open."""

    files: dict[str, File] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    slots: dict[int, Slot] = field(default_factory=dict)
    lines: int = 0
    """How many lines of the shared log this worker has acknowledged."""
    hidden: dict[str, tuple[File, Version]] = field(default_factory=dict)
    """Removed files that are open, by the path that each had, and what was saved of them then."""

    def begin(self, operation: Operation) -> None:
        """Note that a call is about to be made: what it may save from now on."""
        kind = operation["do"]
        if kind in SYNCS:
            self.slots[operation["slot"]].file.offer()
        elif kind == "rename":
            self.files[operation["path"]].offer()
        elif kind in ("rename_directory", "sync_directory"):
            for path in self.below(operation["path"]):
                self.files[path].offer()

    def apply(self, operation: Operation) -> None:
        """Note that a call has returned 0."""
        getattr(self, f"_{operation['do']}")(**{k: v for k, v in operation.items() if k != "do"})

    def below(self, directory: str) -> list[str]:
        """Return the paths of the files in a directory."""
        return [path for path in self.files if path.startswith(f"{directory}/")]

    def is_open(self, file: File) -> bool:
        """Return whether a descriptor of a file is open."""
        return any(slot.file is file for slot in self.slots.values())

    def _create(self, slot: int, path: str) -> None:
        self.files[path] = File()
        self.slots[slot] = Slot(self.files[path])

    def _open(self, slot: int, path: str, appends: bool) -> None:
        self.slots[slot] = Slot(self.files[path], appends)

    def _open_truncating(self, slot: int, path: str) -> None:
        self._open(slot, path, False)
        self._truncate(slot, 0)

    def _write(self, slot: int, at: int, seed: int, length: int) -> None:
        file = self.slots[slot].file
        data, new = file.now.data, content(seed, length)
        if self.slots[slot].appends:
            at = len(data)
        data = data.ljust(at, b"\0")
        file.change(Version(data[:at] + new + data[at + length :], file.now.mode))

    def _truncate(self, slot: int, size: int) -> None:
        file = self.slots[slot].file
        file.change(Version(file.now.data[:size].ljust(size, b"\0"), file.now.mode))

    def _fsync(self, slot: int) -> None:
        self.slots[slot].file.acknowledge()

    def _close(self, slot: int) -> None:
        file = self.slots.pop(slot).file
        file.acknowledge()
        if not self.is_open(file):
            self.hidden = {path: hid for path, hid in self.hidden.items() if hid[0] is not file}

    def _chmod(self, path: str, mode: int) -> None:
        file = self.files[path]
        file.change(Version(file.now.data, mode))
        if not self.is_open(file):
            file.acknowledge()

    def _rename(self, path: str, new_path: str) -> None:
        file, replaced = self.files.pop(path), self.files.get(new_path)
        file.beneath = [None] if replaced is None else replaced.allowed
        self.files[new_path] = file

    def _unlink(self, path: str) -> None:
        file = self.files.pop(path)
        if self.is_open(file) and file.saved is not None:
            self.hidden[path] = file, file.saved

    def _mkdir(self, path: str) -> None:
        self.directories.add(path)

    def _rmdir(self, path: str) -> None:
        self.directories.remove(path)

    def _rename_directory(self, path: str, new_path: str) -> None:
        for old in self.below(path):
            self.files[new_path + old[len(path) :]] = self.files.pop(old)
        self.directories.remove(path)
        self.directories.add(new_path)

    def _sync_directory(self, path: str) -> None:
        for below in self.below(path):
            self.files[below].acknowledge()

    def _read(self, path: str) -> None:
        """Nothing: it only looks."""

    _list = _read

    def _line(self, number: int) -> None:
        self.lines = number + 1


def alternatives(world: World, under_way: Operation | None) -> list[World]:
    """Return the worlds that may be left when `under_way` may have happened or not."""
    if under_way is None:
        return [world]
    after = copy.deepcopy(world)
    after.apply(under_way)
    return [world, after]
