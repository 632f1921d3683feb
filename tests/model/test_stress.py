"""Several processes work on the same few names; then what one sees is what the bucket has."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from tests.mounts.mounting import mounted

PROCESSES = 6
EXPECTED = {
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EINVAL,
    errno.ESTALE,
}


def _worker(top: Path, seed: int, end: float, failures: multiprocessing.SimpleQueue[str]) -> None:
    chance = random.Random(seed)
    while time.monotonic() < end:
        path = top / chance.choice("abc") / chance.choice("pqrst")
        other = top / chance.choice("abc") / chance.choice("pqrst")
        try:
            _step(chance, path, other)
        except OSError as error:
            if error.errno not in EXPECTED:
                failures.put(f"{path}: {error}")


def _step(chance: random.Random, path: Path, other: Path) -> None:
    kind = chance.randrange(10)
    if kind < 3:
        path.write_bytes(chance.randbytes(chance.randrange(20_000)))
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
    elif chance.random() < 0.2:
        path.parent.rename(other.parent)
    else:
        os.listdir(path.parent)


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


def _stress(tmp_path: Path, bucket: Path, seed: int, seconds: float) -> None:
    failures: multiprocessing.SimpleQueue[str] = multiprocessing.SimpleQueue()
    with mounted(f"file://{bucket}", tmp_path, "ttl=1", name=f"mnt{seed}") as mount:
        workers = [
            multiprocessing.Process(
                target=_worker,
                args=(mount.path, seed * 100 + n, time.monotonic() + seconds, failures),
            )
            for n in range(PROCESSES)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(seconds + 60)
            assert worker.exitcode == 0
        assert failures.empty(), failures.get()
        seen = _seen(mount.path)
    assert seen == _seen(bucket)
    for path in seen:
        (bucket / path).unlink()


def test_processes_on_the_same_names(tmp_path: Path, bucket_folder: Path) -> None:
    _stress(tmp_path, bucket_folder, seed=1, seconds=5)


@pytest.mark.campaign
def test_processes_on_the_same_names_for_long(tmp_path: Path, bucket_folder: Path) -> None:
    for seed in range(2, 80):
        _stress(tmp_path, bucket_folder, seed, seconds=5)
