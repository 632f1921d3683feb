"""`python -m scripts.benchmark.steps`: CPU that the mount's own steps cost, without a server's.

One look at an object: from the store's `stat` to the wire and back, 1 and 16 at a time, against a
server in another process. One look-up of the kernel: `stat` of files whose names the mount knows
and the kernel has forgotten (root only). The least of several rounds, in microseconds of CPU of the
one process: who else uses the machine matters little.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import trio

from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.opening import StoreOptions, open_store
from scripts.scaling.keyspace import KeySpace
from scripts.scaling.measuring import KEYS, Mount, mounted_at, served

LOOKS = 2000
ROUNDS = 7
FILES = 2000


def cost_of_looks(endpoint: str, at_a_time: int) -> float:
    """Return the microseconds of one look at an object."""
    keys = KeySpace(1000)

    async def look(store: ObjectStore, numbers: range) -> None:
        for number in numbers:
            await store.stat(keys[number % len(keys)])

    async def measure() -> float:
        options = StoreOptions(endpoint=endpoint, region="us-east-1", addressing="path")
        store = await open_store("s3://b", options)
        least = float("inf")
        for _ in range(ROUNDS):
            began_s = time.process_time()
            async with trio.open_nursery() as nursery:
                for first in range(at_a_time):
                    nursery.start_soon(look, store, range(first, LOOKS, at_a_time))
            least = min(least, time.process_time() - began_s)
        await store.aclose()
        return least / LOOKS * 1e6

    return trio.run(measure)


def cost_of_lookups(mount: Mount, at_a_time: int) -> float:
    """Return the microseconds of one look-up of a name that the mount knows."""
    paths = [mount.path / "d" / str(number) for number in range(FILES)]
    paths[0].parent.mkdir(exist_ok=True)
    for path in paths:
        path.write_bytes(b"x")
    least = float("inf")
    with ThreadPoolExecutor(at_a_time) as pool:
        for _ in range(ROUNDS):
            Path("/proc/sys/vm/drop_caches").write_text("2")
            time.sleep(0.2)
            before_s = mount.cpu_s()
            list(pool.map(os.stat, paths))
            least = min(least, mount.cpu_s() - before_s)
    return least / FILES * 1e6


def main() -> None:
    """Measure and print."""
    os.environ.update(KEYS)
    rows: list[tuple[str, Callable[[], float]]] = []
    with served(1000) as server, tempfile.TemporaryDirectory() as folder:
        for at_a_time in (1, 16):
            look = partial(cost_of_looks, server.endpoint, at_a_time)
            rows.append((f"look at an object, {at_a_time} at a time", look))
        if os.geteuid() == 0:
            with mounted_at(Path(folder), "memory://steps", "ttl=3600") as mount:
                for at_a_time in (1, 8):
                    lookup = partial(cost_of_lookups, mount, at_a_time)
                    rows.append((f"look-up of a known name, {at_a_time} at a time", lookup))
                _print(rows)
        else:
            _print(rows)


def _print(rows: list[tuple[str, Callable[[], float]]]) -> None:
    print("| step | CPU (us) |\n|---|---:|")
    for name, measure in rows:
        print(f"| {name} | {measure():.0f} |", flush=True)


if __name__ == "__main__":
    main()
