"""A process that works on a mount and tells a log outside of it what was acknowledged.

`python -m tests.crash.worker FOLDER NUMBER SEED SECONDS [KILL_PID KILL_AFTER]`: takes its `World`
from FOLDER/world-NUMBER.pickle, appends to FOLDER/log-NUMBER, works below FOLDER/mnt. With
KILL_PID it sends SIGKILL to that process at the moment when its KILL_AFTER-th call that promises
something has returned. It ends when the mount is dead, when a call fails, or after SECONDS, when it
closes what it has open. A call that fails otherwise than by the death of the mount is in the log
with its errno; the judge treats it as one that was under way.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.oracle import line
from tests.crash.world import MODE, Operation, World, content

SHARED = "shared"
SHARED_LOG = "shared/log"
WRONG = "wrong"
"""Told instead of an errno: a call showed what is not so."""
SLOTS = 3
FILES = 12
LARGEST = 20 << 20
PROMISES = {
    *("fsync", "close", "rename", "unlink", "mkdir", "rmdir", "rename_directory", "chmod", "line")
}
WEIGHTS = {
    "create": 8,
    "open": 6,
    "open_truncating": 2,
    "write": 18,
    "truncate": 1,
    "fsync": 6,
    "close": 10,
    "rename": 5,
    "unlink": 3,
    "mkdir": 2,
    "rmdir": 1,
    "rename_directory": 3,
    "chmod": 3,
    "sync_directory": 1,
    "line": 3,
    "read": 5,
    "list": 2,
}


class Chooser:
    """Chooses the next call: one that POSIX allows in this world."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self._number = number
        self._chance = chance
        self._own = f"w{number}"

    def choose(self, world: World) -> Operation:
        """Return a call that should return 0."""
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        while True:
            kind = self._chance.choices(kinds, weights)[0]
            found: Operation | None = getattr(self, f"_{kind}")(world)
            if found is not None:
                return {"do": kind, **found}

    def _new_path(self, world: World) -> str:
        places = [f"{self._own}/", f"{SHARED}/{self._own}-"]
        places += [f"{path}/" for path in world.directories if path != self._own]
        return self._chance.choice(places) + self._chance.choice("abcdef")

    def _path(self, world: World) -> str | None:
        return self._chance.choice(sorted(world.files)) if world.files else None

    def _slot(self, world: World) -> int | None:
        return self._chance.choice(sorted(world.slots)) if world.slots else None

    def _free(self, world: World) -> int | None:
        return next((slot for slot in range(SLOTS) if slot not in world.slots), None)

    def _closed_file(self, world: World) -> str | None:
        path = self._path(world)
        return None if path is None or world.is_open(world.files[path]) else path

    def _create(self, world: World) -> Operation | None:
        slot, path = self._free(world), self._new_path(world)
        if slot is None or path in world.files or len(world.files) >= FILES:
            return None
        return {"slot": slot, "path": path}

    def _open(self, world: World) -> Operation | None:
        slot, path = self._free(world), self._closed_file(world)
        if slot is None or path is None:
            return None
        return {"slot": slot, "path": path, "appends": self._chance.random() < 0.5}

    def _open_truncating(self, world: World) -> Operation | None:
        found = self._open(world)
        return {"slot": found["slot"], "path": found["path"]} if found else None

    def _write(self, world: World) -> Operation | None:
        slot = self._slot(world)
        if slot is None:
            return None
        size = len(world.slots[slot].file.now.data)
        kind = self._chance.random()
        length = self._chance.randrange(1, 6000)
        if kind < 0.1:
            length = self._chance.randrange(6000, 300_000)
        elif kind < 0.13 and self._number < 2:
            length = self._chance.randrange(5 << 20, LARGEST)
        at = self._chance.choice((size, size, self._chance.randrange(size + 3000)))
        if at + length > LARGEST:
            return None
        return {"slot": slot, "at": at, "seed": self._chance.getrandbits(48), "length": length}

    def _truncate(self, world: World) -> Operation | None:
        slot = self._slot(world)
        return None if slot is None else {"slot": slot, "size": self._chance.randrange(9000)}

    def _fsync(self, world: World) -> Operation | None:
        slot = self._slot(world)
        return None if slot is None else {"slot": slot}

    _close = _fsync

    def _rename(self, world: World) -> Operation | None:
        path, new = self._path(world), self._new_path(world)
        return None if path in (None, new) else {"path": path, "new_path": new}

    def _unlink(self, world: World) -> Operation | None:
        path = self._path(world)
        return None if path is None else {"path": path}

    def _directory(self, world: World) -> str | None:
        known = sorted(world.directories - {self._own})
        return self._chance.choice(known) if known else None

    def _new_directory(self, world: World) -> str | None:
        path = f"{self._own}/dir-{self._chance.choice('pqrs')}"
        return None if path in world.directories else path

    def _mkdir(self, world: World) -> Operation | None:
        path = self._new_directory(world)
        return None if path is None else {"path": path}

    def _rmdir(self, world: World) -> Operation | None:
        path = self._directory(world)
        return None if path is None or world.below(path) else {"path": path}

    def _rename_directory(self, world: World) -> Operation | None:
        path, new = self._directory(world), self._new_directory(world)
        return None if path is None or new is None else {"path": path, "new_path": new}

    def _chmod(self, world: World) -> Operation | None:
        path = self._path(world)
        mode = self._chance.choice((0o600, 0o640, 0o644, 0o700, 0o755))
        return None if path is None else {"path": path, "mode": mode}

    def _sync_directory(self, world: World) -> Operation | None:
        return {"path": self._own}

    def _line(self, world: World) -> Operation | None:
        return {"number": world.lines}

    def _read(self, world: World) -> Operation | None:
        path = self._path(world)
        return None if path is None else {"path": path}

    def _list(self, world: World) -> Operation | None:
        return {"path": self._chance.choice(sorted(world.directories))}


class Hands:
    """Makes the calls."""

    def __init__(self, top: Path, number: int) -> None:
        self._top = top
        self._number = number
        self._descriptors: dict[int, int] = {}

    def carry_out(self, operation: Operation) -> object:
        """Make one call; return what it showed, if it shows something. Raises: OSError."""
        arguments = {name: value for name, value in operation.items() if name != "do"}
        return getattr(self, f"_{operation['do']}")(**arguments)

    def _create(self, slot: int, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._descriptors[slot] = os.open(self._top / path, flags, MODE)

    def _open(self, slot: int, path: str, appends: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND if appends else os.O_RDWR
        self._descriptors[slot] = os.open(self._top / path, flags)

    def _open_truncating(self, slot: int, path: str) -> None:
        self._descriptors[slot] = os.open(self._top / path, os.O_RDWR | os.O_TRUNC)

    def _write(self, slot: int, at: int, seed: int, length: int) -> None:
        # The kernel makes requests of at most 1 MiB of it and tells how far it came before a kill.
        left = memoryview(content(seed, length))
        while left:
            written = os.pwrite(self._descriptors[slot], left, at)
            left, at = left[written:], at + written

    def _truncate(self, slot: int, size: int) -> None:
        os.ftruncate(self._descriptors[slot], size)

    def _fsync(self, slot: int) -> None:
        os.fsync(self._descriptors[slot])

    def _close(self, slot: int) -> None:
        os.close(self._descriptors.pop(slot))

    def _rename(self, path: str, new_path: str) -> None:
        os.rename(self._top / path, self._top / new_path)

    _rename_directory = _rename

    def _unlink(self, path: str) -> None:
        os.unlink(self._top / path)

    def _mkdir(self, path: str) -> None:
        os.mkdir(self._top / path)

    def _rmdir(self, path: str) -> None:
        os.rmdir(self._top / path)

    def _chmod(self, path: str, mode: int) -> None:
        os.chmod(self._top / path, mode)

    def _sync_directory(self, path: str) -> None:
        descriptor = os.open(self._top / path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _line(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._top / SHARED_LOG, flags)
        try:
            os.write(descriptor, line(self._number, number))
            if number % 2:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, path: str) -> bytes:
        return (self._top / path).read_bytes()

    def _list(self, path: str) -> list[str]:
        return sorted(os.listdir(self._top / path))


def must_show(world: World, operation: Operation) -> object:
    """Return what a call that shows something must show its own process."""
    path = operation.get("path", "")
    if operation["do"] == "read":
        return world.files[path].now.data
    if operation["do"] == "list":
        known = [*world.files, *world.directories]
        return sorted(name[len(path) + 1 :] for name in known if name.rpartition("/")[0] == path)
    return None


def operations(world: World, number: int, seed: int, seconds: float) -> Iterator[Operation]:
    """Yield calls until the time is over, then those that close what is open."""
    chooser = Chooser(number, random.Random(seed))
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        yield chooser.choose(world)
    for slot in sorted(world.slots):
        yield {"do": "close", "slot": slot}


def work(folder: Path, number: int, seed: int, seconds: float, kill: tuple[int, int]) -> None:
    """Work until a call fails or the time is over."""
    world: World = pickle.loads((folder / f"world-{number}.pickle").read_bytes())
    log = os.open(folder / f"log-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    hands = Hands(folder / "mnt", number)
    kill_pid, left = kill
    for operation in operations(world, number, seed, seconds):
        os.write(log, json.dumps(operation).encode() + b"\n")
        name, began_s = None, time.monotonic()
        try:
            shown, wanted = hands.carry_out(operation), must_show(world, operation)
            if shown != wanted:
                name = WRONG
                (folder / f"wrong-{number}").write_text(f"{operation}: {shown!r}, not {wanted!r}")
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
        if kill_pid and operation["do"] in PROMISES and name is None:
            left -= 1
            if not left:
                os.kill(kill_pid, signal.SIGKILL)
        answer = {"error": name, "seconds": round(time.monotonic() - began_s, 4)}
        os.write(log, json.dumps(answer).encode() + b"\n")
        if name is not None:
            return
        world.begin(operation)
        world.apply(operation)


if __name__ == "__main__":
    os.umask(0o022)
    pid, after = (int(sys.argv[5]), int(sys.argv[6])) if len(sys.argv) > 5 else (0, 0)
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), (pid, after))
