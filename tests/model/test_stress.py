"""Several processes work on the same few names; then what one sees is what the bucket has.

Each process also keeps a diary that no other writes: an open file to which it appends lines while
the directories around it are renamed. No line of it may ever be lost.
"""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.mounted.conftest import s3_options
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3

PROCESSES = 6
DIRECTORIES = "abc"
EXPECTED = {
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EINVAL,
    errno.ESTALE,
}
BLOCK = 4096
LARGEST = 20_000


class Diary:
    """A file of numbered lines, open most of the time, wherever its directory is moved."""

    def __init__(self, top: Path, number: int, chance: random.Random) -> None:
        self.top = top
        self.name = f"diary-{number}"
        self.lines: list[bytes] = []
        self.chance = chance
        self.fd: int | None = None

    def write(self) -> None:
        """Append a line; at times sync, or close and find the file again."""
        if self.fd is None:
            self.fd = self._open()
        line = b"%d " % len(self.lines) + b"x" * self.chance.randrange(3000) + b"\n"
        assert os.write(self.fd, line) == len(line)
        self.lines.append(line)
        assert os.fstat(self.fd).st_size == sum(map(len, self.lines)), self.name
        kind = self.chance.random()
        if kind < 0.2:
            os.fsync(self.fd)
        elif kind < 0.4:
            self.close()

    def close(self) -> None:
        """Close, which must succeed."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            os.close(fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND
        if not self.lines:
            path = self.top / self.chance.choice(DIRECTORIES) / self.name
            return os.open(path, flags | os.O_CREAT | os.O_EXCL)
        # Its directory may be moving: all the names are tried.
        for _ in range(1000):
            for directory in self.chance.sample(DIRECTORIES, len(DIRECTORIES)):
                try:
                    return os.open(self.top / directory / self.name, flags)
                except OSError as error:
                    if error.errno not in EXPECTED:
                        raise
        raise AssertionError(f"{self.name} is lost")


class Mapped:
    """A file of one block that only this process writes, by shared mappings."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.expected = bytearray(BLOCK)
        path.write_bytes(self.expected)

    def write(self) -> None:
        """Change some bytes; then see them in the mapping and by read."""
        fd = os.open(self.path, os.O_RDWR)
        try:
            with mmap.mmap(fd, BLOCK) as mapping:
                assert mapping[:] == self.expected, self.path
                at = self.chance.randrange(BLOCK - 8)
                self.expected[at : at + 8] = mapping[at : at + 8] = self.chance.randbytes(8)
                if self.chance.random() < 0.5:
                    mapping.flush()
        finally:
            os.close(fd)
        assert self.path.read_bytes() == self.expected, self.path


def _worker(top: Path, seed: int, end: float, failures: multiprocessing.SimpleQueue[str]) -> None:
    chance = random.Random(seed)
    diary = Diary(top, seed, chance)
    mapped = Mapped(top / f"mapped-{seed}", chance)
    stale = steps = 0
    while time.monotonic() < end:
        path = top / chance.choice(DIRECTORIES) / chance.choice("pqrst")
        other = top / chance.choice(DIRECTORIES) / chance.choice("pqrst")
        steps += 1
        try:
            _step(chance, path, other, diary, mapped)
        except OSError as error:
            stale += error.errno == errno.ESTALE
            if error.errno not in EXPECTED:
                failures.put(f"{path}: {error!r}")
        except AssertionError as error:
            failures.put(f"{path}: {error!r}")
    diary.close()
    if stale > 5 + steps // 50:
        failures.put(f"{stale} of {steps} calls had ESTALE")
    if mapped.path.read_bytes() != mapped.expected:
        failures.put(f"{mapped.path} is not what was written")
    if diary.lines:
        (top / diary.name).write_bytes(b"".join(diary.lines))


def _step(chance: random.Random, path: Path, other: Path, diary: Diary, mapped: Mapped) -> None:
    kind = chance.randrange(15)
    if kind < 3:
        path.write_bytes(chance.randbytes(chance.randrange(LARGEST)))
    elif kind == 3:
        with open(path, "ab") as file:
            file.write(b"appended")
    elif kind == 4:
        os.truncate(path, chance.randrange(5000))
    elif kind == 5:
        path.read_bytes()
    elif kind == 6:
        path.unlink()
    elif kind == 7:
        path.rename(other)
    elif kind == 8:
        path.parent.mkdir()
    elif kind == 9:
        _write_in_place(chance, path)
    elif kind == 10:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(fd, chance.randbytes(chance.randrange(1, 300)))
        os.close(fd)
    elif kind < 13:
        diary.write()
    elif kind == 13:
        mapped.write()
    elif chance.random() < 0.2:
        path.parent.rename(other.parent)
    else:
        os.listdir(path.parent)


def _write_in_place(chance: random.Random, path: Path) -> None:
    """Cut, grow and write through a descriptor."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, chance.randrange(LARGEST))
        os.pwrite(fd, b"in place", chance.randrange(LARGEST))
        if chance.random() < 0.3:
            os.fsync(fd)
    finally:
        os.close(fd)


def _seen(top: Path) -> dict[str, bytes]:
    found = {}
    for folder, directories, names in os.walk(top):
        directories[:] = [name for name in directories if name != ".bucketfs"]
        for name in names:
            path = Path(folder) / name
            data = path.read_bytes()
            assert path.stat().st_size == len(data), path
            found[str(path.relative_to(top))] = data
    return found


def _work_together(top: Path, seed: int, seconds: float) -> None:
    failures: multiprocessing.SimpleQueue[str] = multiprocessing.SimpleQueue()
    end = time.monotonic() + seconds
    for name in DIRECTORIES:
        (top / name).mkdir()
    workers = [
        multiprocessing.Process(target=_worker, args=(top, seed * 100 + n, end, failures))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(seconds + 60)
        assert worker.exitcode == 0
    assert failures.empty(), failures.get()


def _check_diaries(seen: Mapping[str, bytes]) -> None:
    """What each process says that it wrote is what its diary has, wherever that is now."""
    for path, data in seen.items():
        if path.startswith("diary-"):
            places = [where for where in seen if where.endswith(f"/{path}")]
            assert len(places) == 1, (path, places)
            assert seen[places[0]] == data, path


def _stress(
    url: str,
    folder: Path,
    seed: int,
    seconds: float,
    *options: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    with mounted(
        url, folder, "ttl=1", *options, name=f"mnt{seed}", environment=environment
    ) as mount:
        _work_together(mount.path, seed, seconds)
        seen = _seen(mount.path)
        _check_diaries(seen)
    with mounted(url, folder, *options, name=f"cold{seed}", environment=environment) as mount:
        assert _seen(mount.path) == seen


def test_processes_on_the_same_names(tmp_path: Path, bucket_folder: Path) -> None:
    _stress(f"file://{bucket_folder}", tmp_path, 1, 5)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2, 80))
def test_processes_on_the_same_names_for_long(
    tmp_path: Path, bucket_folder: Path, seed: int
) -> None:
    _stress(f"file://{bucket_folder}", tmp_path, seed, 5)


@pytest.mark.campaign
@pytest.mark.parametrize("ttl", ["ttl=0", "ttl=1"])
@pytest.mark.parametrize("seed", range(80, 86))
def test_processes_on_the_same_names_of_a_server(
    radosgw: RunningS3, tmp_path: Path, seed: int, ttl: str
) -> None:
    bucket = radosgw.make_bucket()
    options = [s3_options(radosgw), ttl]
    _stress(f"s3://{bucket}", tmp_path, seed, 10, *options, environment=radosgw.environment)
