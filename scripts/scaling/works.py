"""The work that is measured: what everyday programs do with a directory, or with a tree."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.scaling.keyspace import KeySpace

STATS = 1000


@dataclass(frozen=True)
class Done:
    """What a piece of work showed: entries, and when the first one came (None: not looked at)."""

    entries: int
    first_s: float | None = None


Work = Callable[[Path, KeySpace], Done]
"""Works below a mount point on which a key space is."""


def list_names(top: Path, keys: KeySpace) -> Done:
    """Do what `ls -f flat | wc -l` does, and see when the first name comes."""
    began = time.perf_counter()
    found, first_s = 0, None
    with os.scandir(top / "flat") as entries:
        for _ in entries:
            if first_s is None:
                first_s = time.perf_counter() - began
            found += 1
    return Done(found, first_s)


def list_long(top: Path, keys: KeySpace) -> Done:
    """Do `ls -lU flat | wc -l`."""
    return Done(_lines(["ls", "-lU", top / "flat"]) - 1)


def find_tree(top: Path, keys: KeySpace) -> Done:
    """Do `find tree | wc -l`."""
    return Done(_lines(["find", top / "tree"]))


def find_flat(top: Path, keys: KeySpace) -> Done:
    """Do `find flat | wc -l`."""
    return Done(_lines(["find", top / "flat"]))


def disk_usage(top: Path, keys: KeySpace) -> Done:
    """Do `du -s tree`, which looks at every file."""
    subprocess.run(["du", "-s", top / "tree"], check=True, stdout=subprocess.DEVNULL)
    return Done(keys.files)


def stat_random(top: Path, keys: KeySpace) -> Done:
    """Stat files of either shape, taken at random."""
    for number in random.Random(7).sample(range(len(keys)), STATS):
        os.stat(top / keys[number])
    return Done(STATS)


def read_large(top: Path, keys: KeySpace) -> Done:
    """Do `cat large.bin`, of 256 MiB; its entries are MiB."""
    block, count = bytearray(1 << 20), 0
    with open(top / "large.bin", "rb", buffering=0) as file:
        while read := file.readinto(block):
            count += read
    return Done(count >> 20)


def _lines(command: list[str | Path]) -> int:
    """Return how many lines a command writes, without holding them."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        count = 0
        while block := process.stdout.read(1 << 16):
            count += block.count(b"\n")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return count


WORKS: dict[str, Work] = {
    "ls -f flat": list_names,
    "find flat": find_flat,
    "find tree": find_tree,
    "stat 1000": stat_random,
    "ls -l flat": list_long,
    "du -s tree": disk_usage,
    "read 256 MiB": read_large,
}
"""Name of a piece of work, as `--only` takes it -> how it is done."""
