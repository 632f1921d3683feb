"""Another client changes a bucket while programs read, walk and write on a mount of it.

Every change is noted with the time when it began and when it ended; whatever a program sees must
have been so at some moment between `BOUND_S` before it began and its end. For long runs:
`python -m tests.model.changing --seconds 600 --seed 7`.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TTL_S = 1.0
SLACK_S = 2.0
"""What a busy machine may take between the end of a belief and a program that sees it."""
BOUND_S = TTL_S + SLACK_S
DIRECTORIES = [f"d{wide}/e{deep}" for wide in range(4) for deep in range(3)]
KEYS = [f"{place}/f{number}" for place in [*DIRECTORIES, "d0", "g"] for number in range(5)]
LARGEST = 300_000


def content(key: str, version: int) -> bytes:
    """Return the bytes of a version: each piece of them says which one it is."""
    size = random.Random(f"{key}{version}").choice([0, 1, 100, 5000, LARGEST])
    line = f"{key} {version}\n".encode()
    return line + (line * (size // len(line) + 1))[:size]


@dataclass
class Change:
    """A version that was put (None: a deletion), and the time in which that happened."""

    version: int | None
    began_s: float
    ended_s: float = float("inf")


@dataclass
class History:
    """What was under each key, and when. Nothing was there before."""

    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, key: str, version: int | None) -> Change:
        """Note that a change begins."""
        with self.lock:
            change = Change(version, time.monotonic())
            self.changes[key].append(change)
        return change

    def might_be(self, key: str, version: int | None, first_s: float, last_s: float) -> bool:
        """Whether a version (None: nothing) may have been there at some moment of a time."""
        with self.lock:
            changes = [Change(None, -1.0, -1.0), *self.changes[key]]
        for place, change in enumerate(changes):
            following = changes[place + 1 : place + 2]
            is_over = bool(following) and following[0].ended_s < first_s
            if change.version == version and change.began_s <= last_s and not is_over:
                return True
        return False

    def surely_there(self, key: str, first_s: float, last_s: float) -> bool:
        """Whether some version was there at every moment of a time."""
        with self.lock:
            changes = list(self.changes[key])
        before = [change for change in changes if change.ended_s <= first_s]
        after = [change for change in changes if change.ended_s > first_s]
        is_there = bool(before) and before[-1].version is not None
        return is_there and not any(
            change.version is None and change.began_s <= last_s for change in after
        )

    def changed(self, key: str, first_s: float, last_s: float) -> bool:
        """Whether a change may have happened in a time."""
        with self.lock:
            return any(
                change.began_s <= last_s and change.ended_s >= first_s
                for change in self.changes[key]
            )


class Storm:
    """The threads of one run, and what they found wrong."""

    def __init__(self, top: Path, client: Any, bucket: str, seed: int, seconds: float) -> None:
        self.top = top
        self.history = History()
        self.failures: list[str] = []
        self.counts: dict[str, int] = defaultdict(int)
        self._client = client
        self._bucket = bucket
        self._seed = seed
        self._ends_s = time.monotonic() + seconds

    def run(self) -> None:
        """Run everything at once, then compare once more when all is quiet."""
        actors: list[Callable[[random.Random], None]] = [
            *(lambda chance, half=half: self._change(chance, half) for half in (0, 1)),
            self._read,
            self._read,
            self._look,
            self._walk,
            self._find,
            *(lambda chance, own=own: self._write(chance, own) for own in (0, 1)),
        ]
        threads = [
            threading.Thread(target=self._act, args=(number, actor), daemon=True)
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self._ends_s - time.monotonic()) + 120)
            assert not thread.is_alive(), "a thread hangs"
        time.sleep(BOUND_S)
        self._compare()

    def _act(self, number: int, actor: Callable[[random.Random], None]) -> None:
        chance = random.Random(self._seed * 100 + number)
        while time.monotonic() < self._ends_s and len(self.failures) < 10:
            try:
                actor(chance)
            except Exception as exc:
                self.failures.append(f"{actor}: {exc!r}")

    # -- the other client

    def _change(self, chance: random.Random, half: int) -> None:
        """Put or delete one key of a half that no other thread changes."""
        key = chance.choice(KEYS[half::2])
        former = [change.version for change in self.history.changes[key]]
        is_put = chance.random() < 0.6
        change = self.history.begin(key, len(former) + 1 if is_put else None)
        if change.version is not None:
            body = content(key, change.version)
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
        else:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        change.ended_s = time.monotonic()
        self.counts["changes"] += 1
        time.sleep(chance.random() * 0.05)

    # -- programs on the mount

    def _read(self, chance: random.Random) -> None:
        key = chance.choice(KEYS)
        began_s = time.monotonic()
        try:
            data: bytes | None = (self.top / key).read_bytes()
        except OSError as exc:
            self._refused(key, exc, began_s)
            return
        assert data is not None
        self.counts["reads"] += 1
        line = data.partition(b"\n")[0].decode()
        name, _, version = line.rpartition(" ")
        if name != key or data != content(key, int(version)):
            self.failures.append(f"{key}: torn or wrong, it begins with {line!r}")
        elif not self.history.might_be(key, int(version), began_s - BOUND_S, time.monotonic()):
            self.failures.append(f"{key}: version {version} is stale")

    def _look(self, chance: random.Random) -> None:
        key = chance.choice(KEYS)
        began_s = time.monotonic()
        try:
            size = os.stat(self.top / key).st_size
        except OSError as exc:
            self._refused(key, exc, began_s)
            return
        self.counts["looks"] += 1
        versions = range(1, len(self.history.changes[key]) + 1)
        if not any(
            len(content(key, version)) == size
            and self.history.might_be(key, version, began_s - BOUND_S, time.monotonic())
            for version in versions
        ):
            self.failures.append(f"{key}: no version of late has {size} bytes")

    def _refused(self, key: str, exc: OSError, began_s: float) -> None:
        first_s, now_s = began_s - BOUND_S, time.monotonic()
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            self.counts["absent"] += 1
            if not self.history.might_be(key, None, first_s, now_s):
                self.failures.append(f"{key}: absent, but it was there")
        elif exc.errno == errno.ESTALE:
            self.counts["replaced"] += 1
            if not self.history.changed(key, first_s, now_s):
                self.failures.append(f"{key}: ESTALE, but nobody changed it")
        else:
            self.failures.append(f"{key}: {exc!r}")

    def _walk(self, chance: random.Random) -> None:
        began_s = time.monotonic()
        found = set()
        for folder, _, names in os.walk(self.top):
            place = os.path.relpath(folder, self.top)
            found |= {os.path.normpath(f"{place}/{name}") for name in names}
        self._check_walk("os.walk", found, began_s)

    def _find(self, chance: random.Random) -> None:
        began_s = time.monotonic()
        command = ["find", ".", "-type", "f"]
        # It complains of what vanishes under its feet, and goes on.
        done = subprocess.run(command, cwd=self.top, capture_output=True, check=False)
        found = {os.path.normpath(os.fsdecode(line)) for line in done.stdout.splitlines()}
        self._check_walk("find", found, began_s)

    def _check_walk(self, walker: str, found: set[str], began_s: float) -> None:
        """What a walk showed was there, and what was there all the time it showed."""
        ended_s = time.monotonic()
        self.counts["walks"] += 1
        for key in KEYS:
            versions = range(1, len(self.history.changes[key]) + 1)
            if key in found and not any(
                self.history.might_be(key, version, began_s - BOUND_S, ended_s)
                for version in versions
            ):
                self.failures.append(f"{walker} shows {key}, which was not there")
            if key not in found and self.history.surely_there(key, began_s - BOUND_S, ended_s):
                self.failures.append(f"{walker} misses {key}")
        strangers = {name for name in found - set(KEYS) if "own" not in name}
        if strangers:
            self.failures.append(f"{walker} shows {strangers}")

    def _write(self, chance: random.Random, own: int) -> None:
        """Make, change, rename and remove a file; each is seen by everybody here at once."""
        directory = self.top / chance.choice(DIRECTORIES)
        path = directory / f"own{own}-{chance.randrange(3)}"
        data = chance.randbytes(chance.choice([0, 10, 5000]))
        try:
            path.write_bytes(data)
            self._seen(path, data)
            other = path.with_name(path.name + "-renamed")
            path.rename(other)
            self._gone(path)
            self._seen(other, data)
            other.unlink()
            self._gone(other)
            self.counts["writes"] += 1
        except FileNotFoundError as exc:
            # The directory was only there as long as the other client had something in it.
            if exc.filename is not None and "own" in str(exc.filename) and directory.is_dir():
                time.sleep(BOUND_S / 10)
        except OSError as exc:
            if exc.errno not in (errno.ESTALE, errno.ENOTDIR):
                raise
        time.sleep(chance.random() * 0.1)

    def _seen(self, path: Path, data: bytes) -> None:
        if path.read_bytes() != data or path.stat().st_size != len(data):
            self.failures.append(f"{path}: not what was just written")
        if path.name not in os.listdir(path.parent):
            self.failures.append(f"{path}: just written and not listed")

    def _gone(self, path: Path) -> None:
        if path.exists():
            self.failures.append(f"{path}: just removed and there")
        if path.parent.is_dir() and path.name in os.listdir(path.parent):
            self.failures.append(f"{path}: just removed and listed")

    # -- afterwards

    def _compare(self) -> None:
        """Listings, look-ups and the bucket agree when nobody changes anything any more."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        stored = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        stored = {key for key in stored if not key.endswith("/")}
        listed = set()
        for folder, _, names in os.walk(self.top):
            place = os.path.relpath(folder, self.top)
            listed |= {os.path.normpath(f"{place}/{name}") for name in names}
        found = {key for key in [*KEYS, *stored] if (self.top / key).exists()}
        if not stored == listed == found:
            self.failures.append(f"stored {stored ^ listed}, looked up {stored ^ found} differ")
        for key in stored & set(KEYS):
            last = self.history.changes[key][-1].version
            if last is None or (self.top / key).read_bytes() != content(key, last):
                self.failures.append(f"{key} is not what was stored last")


def main() -> None:
    """Run for as long as argv asks, on radosgw."""
    from tests.mounted.conftest import s3_options
    from tests.mounts.mounting import mounted
    from tests.servers.plugin import radosgw_of_one_machine

    parser = argparse.ArgumentParser(prog="python -m tests.model.changing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, radosgw_of_one_machine(Path(name)) as server:
        bucket = server.make_bucket()
        options = (s3_options(server), f"ttl={TTL_S:g}")
        folder = Path(name) / "mount"
        with mounted(f"s3://{bucket}", folder, *options, environment=server.environment) as mount:
            storm = Storm(mount.path, server.client(), bucket, arguments.seed, arguments.seconds)
            storm.run()
    print(dict(storm.counts))
    for failure in storm.failures:
        print(failure)
    raise SystemExit(1 if storm.failures else 0)


if __name__ == "__main__":
    main()
