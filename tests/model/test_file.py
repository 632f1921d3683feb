"""Random reads, writes, truncations, mmaps and reopenings of one file, against a bytearray."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
from pathlib import Path

import pytest

from tests.mounted.conftest import s3_options
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3

LARGEST = 3_000_000
SEEDS = range(6)
STEPS = 400
SMALL_MEMORY = ("memory=16M", "part_size=5M")


class Exerciser:
    """One file and what it must hold."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.expected = bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def run(self, steps: int) -> None:
        """Do `steps` random operations, comparing after each read."""
        operations = [self.read, self.read, self.write, self.write, self.truncate, self.append]
        operations += [self.write_mapped, self.read_mapped, self.sync, self.reopen]
        operations += [self.rename, self.replace, self.grow]
        for _ in range(steps):
            self.random.choice(operations)()
        assert os.fstat(self.fd).st_size == len(self.expected)
        os.close(self.fd)

    def span(self, limit: int) -> tuple[int, int]:
        """Return a random (offset, length) below `limit`, often short, sometimes page-aligned."""
        offset = self.random.randrange(limit + 1)
        if self.random.random() < 0.3:
            offset &= ~4095
        length = self.random.choice([1, 100, 4096, 70_000, 300_000])
        return offset, min(length, limit - offset)

    def read(self) -> None:
        """Compare a range, and one that crosses the end."""
        offset, length = self.span(len(self.expected))
        data = os.pread(self.fd, length + 10, offset)
        assert data == self.expected[offset : offset + length + 10]

    def write(self) -> None:
        """Overwrite or grow, leaving a hole at times."""
        offset, length = self.span(LARGEST)
        data = self.random.randbytes(max(length, 1))
        assert os.pwrite(self.fd, data, offset) == len(data)
        if offset > len(self.expected):
            self.expected.extend(bytes(offset - len(self.expected)))
        self.expected[offset : offset + len(data)] = data

    def append(self) -> None:
        """Write at the end through a second descriptor."""
        data = self.random.randbytes(self.random.randrange(1, 5000))
        with open(self.path, "ab", buffering=0) as file:
            file.write(data)
        self.expected.extend(data)

    def truncate(self) -> None:
        """Cut or grow."""
        size = self.random.randrange(LARGEST)
        os.ftruncate(self.fd, size)
        del self.expected[size:]
        self.expected.extend(bytes(size - len(self.expected)))

    def write_mapped(self) -> None:
        """Change bytes by a shared mapping."""
        if not self.expected:
            return
        offset, length = self.span(len(self.expected))
        data = self.random.randbytes(length)
        with mmap.mmap(self.fd, len(self.expected)) as mapping:
            mapping[offset : offset + length] = data
            mapping.flush()
        self.expected[offset : offset + length] = data

    def read_mapped(self) -> None:
        """Compare bytes of a mapping."""
        if not self.expected:
            return
        offset, length = self.span(len(self.expected))
        with mmap.mmap(self.fd, len(self.expected), prot=mmap.PROT_READ) as mapping:
            assert mapping[offset : offset + length] == self.expected[offset : offset + length]

    def grow(self) -> None:
        """Write on at the end for a while, so that the file streams."""
        for _ in range(self.random.randrange(8)):
            if len(self.expected) > LARGEST * 4:
                return
            data = self.random.randbytes(self.random.choice([1 << 20, 300_000, 4096]))
            assert os.pwrite(self.fd, data, len(self.expected)) == len(data)
            self.expected.extend(data)

    def rename(self) -> None:
        """Give the file another name while it is open, at times over another file."""
        number = int(self.path.suffix[1:] or 0) + self.random.randrange(1, 3)
        new = self.path.with_suffix(f".{number % 4}")
        if self.random.random() < 0.3:
            new.write_bytes(b"to be replaced")
        self.path.rename(new)
        self.path = new

    def replace(self) -> None:
        """Unlink the open file, go on with it, then put its bytes under its name again."""
        self.path.unlink()
        self.write()
        self.read()
        self.truncate()
        self.read()
        assert os.fstat(self.fd).st_nlink == 0
        with open(self.path, "xb") as file:
            file.write(self.expected)
        self.read()
        self.reopen()

    def sync(self) -> None:
        """Save to the bucket."""
        os.fsync(self.fd)

    def reopen(self) -> None:
        """Close, and open again."""
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR)


def _exercise(path: Path, seed: int, steps: int) -> None:
    """Run one exerciser, and leave beside its file a copy of what that must hold."""
    exerciser = Exerciser(path, seed)
    exerciser.run(steps)
    exerciser.path.rename(path)
    path.with_suffix(".expected").write_bytes(exerciser.expected)


def _exercise_many(top: Path, seed: int, steps: int) -> None:
    processes = [
        multiprocessing.Process(target=_exercise, args=(top / f"file-{n}", seed * 10 + n, steps))
        for n in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _check_many(top: Path) -> None:
    for n in range(4):
        path = top / f"file-{n}"
        assert path.read_bytes() == path.with_suffix(".expected").read_bytes(), path


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_holds_what_was_written(tmp_path: Path, bucket_folder: Path, seed: int) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, *SMALL_MEMORY) as mount:
        exerciser = Exerciser(mount.path / "file", seed)
        exerciser.run(STEPS)
        exerciser.path.rename(mount.path / "file")
    assert (bucket_folder / "file").read_bytes() == exerciser.expected
    with mounted(f"file://{bucket_folder}", tmp_path, name="second") as mount:
        assert (mount.path / "file").read_bytes() == exerciser.expected


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(100, 130))
def test_for_long(tmp_path: Path, bucket_folder: Path, seed: int) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, *SMALL_MEMORY) as mount:
        exerciser = Exerciser(mount.path / "file", seed)
        exerciser.run(3000)
        exerciser.path.rename(mount.path / "file")
    assert (bucket_folder / "file").read_bytes() == exerciser.expected


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(130, 140))
def test_several_files_at_once(tmp_path: Path, bucket_folder: Path, seed: int) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, *SMALL_MEMORY) as mount:
        _exercise_many(mount.path, seed, 500)
        _check_many(mount.path)
    _check_many(bucket_folder)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(140, 146))
def test_several_files_at_once_on_a_server(tmp_path: Path, radosgw: RunningS3, seed: int) -> None:
    url = f"s3://{radosgw.make_bucket()}"
    options = s3_options(radosgw)
    with mounted(url, tmp_path, options, *SMALL_MEMORY, environment=radosgw.environment) as mount:
        _exercise_many(mount.path, seed, 200)
        _check_many(mount.path)
    with mounted(url, tmp_path, options, environment=radosgw.environment, name="second") as mount:
        _check_many(mount.path)
