"""The work that every tool does: reads (r), listings (l), writes (w), memory (m).

A figure is taken until the data is in the bucket, not until a local cache has it. Every piece of
work can be run alone: what another would have left for it is made first, untimed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from scripts.benchmark.results import Results, seconds
from scripts.benchmark.tools import Juicefs, Tool

MIB = 1 << 20
SMALL = 1000
FOLDERS, PER_FOLDER = 50, 100
ENTRIES = FOLDERS * PER_FOLDER
THREADS = 16
RANDOM_READS = 300
APPENDS = 50
TITLES = {
    "r1": "seq read cold",
    "r2": "seq read again",
    "r3": "random 4K read cold",
    "r4": "read 1000 4K files",
    "r5": "same, 16 threads",
    "l1": "find 5000 in 50 dirs",
    "l2": "ls -lR same, cold",
    "l3": "ls -lR again",
    "l4": "find, second mount",
    "l5": "ls -lR, second mount",
    "w1": "seq write durable",
    "w2": "write 300 4K files",
    "w3": "write 1000 4K, 16 thr",
    "w4": "append 64K + fsync",
    "w5": "edit 4K inside big",
    "w6": "rename big file",
    "w7": "rename dir of 100",
    "w8": "rm -r 1000 files",
    "w9": "cp -r 1200 files",
}
"""Short name of a piece of work, as `--only` takes it -> what it is."""

SECOND_MOUNT = ("l4", "l5")
"""Of these a mount with the same cache folder has seen everything before."""

MEMORY = "m1 peak memory"
_FAILURES = (
    OSError,
    subprocess.SubprocessError,
    AssertionError,
    BotoCoreError,
    ClientError,
)


def big_file(folder: Path, mib: int) -> Path:
    """Return a local file of `mib` random MiB, made once."""
    path = folder / "source.bin"
    if not path.exists() or path.stat().st_size != mib * MIB:
        with open(path, "wb") as file:
            for _ in range(mib):
                file.write(random.randbytes(MIB))
    return path


class Work:
    """One tool's run over all the work, or over what `wanted` names (empty: all)."""

    def __init__(
        self, tool: Tool, folder: Path, mib: int, wanted: set[str], results: Results
    ) -> None:
        self._tool = tool
        self._folder = folder
        self._mib = mib
        self._wanted = wanted
        self._results = results
        self._source = big_file(folder, mib)
        self._seed = tool.mnt / "seed"
        self._run = tool.mnt / f"run{int(time.time())}"
        self._peak_mib = 0.0
        self._done: set[str] = set()
        self._needs: dict[str, tuple[str, Callable[[], None]]] = {
            "r2": ("r1", self._read_big),
            "l3": ("l2", self._ls),
            "w8": ("w3", self._fill),
        }

    def run(self) -> None:
        """Do it all; a piece of work that fails is noted and the next goes on."""
        self._sow()
        for fresh in (
            {"r1": self._read_cold, "r2": self._read_again},
            {"r3": self._read_random},
            {"r4": self._read_small},
            {"r5": self._read_small_parallel},
            {"l1": self._find},
            {"l2": self._list_long, "l3": self._list_again},
        ):
            self._all_of(fresh)
        # With the cache folder of the mount before, which has seen it all.
        self._all_of({"l4": self._find_again}, keeps_cache=True)
        self._all_of({"l5": self._list_remembered}, keeps_cache=True)
        writes = {
            "w1": self._write_big,
            "w2": self._write_small,
            "w3": self._write_small_parallel,
            "w4": self._append,
            "w5": self._edit,
            "w6": self._rename_big,
            "w7": self._rename_folder,
            "w9": self._copy_tree,
            "w8": self._remove_tree,
        }
        self._all_of(writes)
        if MEMORY not in self._results.figures:
            self._results.put(MEMORY, self._peak_mib, "MiB")

    def _all_of(self, work: dict[str, Callable[[], None]], *, keeps_cache: bool = False) -> None:
        """Do what is wanted of `work` on one fresh mount."""
        chosen = {name: do for name, do in work.items() if not self._wanted or name in self._wanted}
        if not chosen:
            return
        if keeps_cache and "l2" not in self._done:
            self._tool.mount()
            self._ls()
            self._tool.unmount()
        self._tool.mount(keeps_cache=keeps_cache)
        if "w1" in work:
            self._run.mkdir()
        for name, do in chosen.items():
            try:
                self._prepare(name)
                do()
                self._done.add(name)
            except _FAILURES as exc:
                self._results.fail(title(name), exc)
        try:
            self._peak_mib = max(self._peak_mib, self._tool.peak_memory_mib())
        except OSError as exc:
            self._results.fail(MEMORY, exc)  # the mount's process has ended
        self._tool.unmount()

    def _prepare(self, name: str) -> None:
        """Do what another piece of work would have done for `name`, unless it did."""
        former, make = self._needs.get(name, ("", None))
        if make is not None and former not in self._done:
            make()

    def _put(self, name: str, amount: float, unit: str, work: Callable[[], object]) -> None:
        self._results.put(title(name), amount / seconds(work), unit)

    def _sow(self) -> None:
        """Put what is read into the bucket: past the mounts, but juicefs reads only its own."""
        if isinstance(self._tool, Juicefs):
            self._tool.mount()
            self._sow_files(self._seed)
            self._tool.unmount()
            return
        local = self._folder / "seed"
        if not local.exists():
            self._sow_files(local)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._upload, (path for path in local.rglob("*") if path.is_file())))

    def _upload(self, path: Path) -> None:
        key = path.relative_to(self._folder).as_posix()
        self._tool.s3.upload_file(str(path), self._tool.bucket, key)

    def _sow_files(self, top: Path) -> None:
        (top / "small").mkdir(parents=True)
        shutil.copyfile(self._source, top / "big.bin")
        for number in range(SMALL):
            (top / "small" / f"{number:04}").write_bytes(os.urandom(4096))
        for folder in range(FOLDERS):
            (top / "tree" / f"d{folder:02}").mkdir(parents=True)
            for number in range(PER_FOLDER):
                (top / "tree" / f"d{folder:02}" / f"f{number:03}").write_bytes(b"x" * 10)

    def _read_big(self) -> None:
        block = bytearray(MIB)
        total = 0
        with open(self._seed / "big.bin", "rb", buffering=0) as file:
            while count := file.readinto(block):
                total += count
        assert total == self._mib * MIB, total

    def _read_cold(self) -> None:
        self._put("r1", self._mib, "MiB/s", self._read_big)

    def _read_again(self) -> None:
        self._put("r2", self._mib, "MiB/s", self._read_big)

    def _read_random(self) -> None:
        numbers = random.Random(7)

        def read() -> None:
            with open(self._seed / "big.bin", "rb", buffering=0) as file:
                for _ in range(RANDOM_READS):
                    offset = numbers.randrange(self._mib * 256) * 4096
                    assert len(os.pread(file.fileno(), 4096, offset)) == 4096

        self._put("r3", RANDOM_READS, "op/s", read)

    def _read_one(self, number: int) -> None:
        assert len((self._seed / "small" / f"{number:04}").read_bytes()) == 4096

    def _read_small(self) -> None:
        def read() -> None:
            for number in range(SMALL):
                self._read_one(number)

        self._put("r4", SMALL, "file/s", read)

    def _read_small_parallel(self) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            work = lambda: list(pool.map(self._read_one, range(SMALL)))  # noqa: E731
            self._put("r5", SMALL, "file/s", work)

    def _walk(self) -> None:
        found = sum(len(files) for _, _, files in os.walk(self._seed / "tree"))
        assert found == ENTRIES, found

    def _find(self) -> None:
        self._put("l1", ENTRIES, "entry/s", self._walk)

    def _find_again(self) -> None:
        self._put("l4", ENTRIES, "entry/s", self._walk)

    def _ls(self) -> None:
        command = ["ls", "-lR", str(self._seed / "tree")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _list_long(self) -> None:
        self._put("l2", ENTRIES + FOLDERS, "entry/s", self._ls)

    def _list_again(self) -> None:
        self._put("l3", ENTRIES + FOLDERS, "entry/s", self._ls)

    def _list_remembered(self) -> None:
        self._put("l5", ENTRIES + FOLDERS, "entry/s", self._ls)

    def _key(self, *parts: str) -> str:
        return "/".join([self._run.name, *parts])

    def _write_big(self) -> None:
        target = self._run / "w.bin"

        def write() -> None:
            command = ["dd", f"if={self._source}", f"of={target}", "bs=1M", "conv=fsync"]
            subprocess.run(command, check=True, capture_output=True)
            self._tool.wait_durable(self._key("w.bin"), self._mib * MIB)

        self._put("w1", self._mib, "MiB/s", write)

    def _write_small(self) -> None:
        def write() -> None:
            for number in range(300):
                (self._run / f"s{number}").write_bytes(b"y" * 4096)
            self._tool.wait_count(self._key("s"), 300)

        self._put("w2", 300, "file/s", write)

    def _write_small_parallel(self) -> None:
        (self._run / "t").mkdir()
        self._put("w3", SMALL, "file/s", self._fill)

    def _fill(self) -> None:
        """Write the files of `t`, which may be there in part."""
        (self._run / "t").mkdir(exist_ok=True)

        def write_one(number: int) -> None:
            (self._run / "t" / f"s{number}").write_bytes(b"y" * 4096)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write_one, range(SMALL)))
        self._tool.wait_count(self._key("t/"), SMALL)

    def _append(self) -> None:
        def append() -> None:
            with open(self._run / "log", "ab", buffering=0) as file:
                for _ in range(APPENDS):
                    file.write(b"z" * 65536)
                    os.fsync(file.fileno())
            self._tool.wait_durable(self._key("log"), APPENDS * 65536)

        self._put("w4", APPENDS, "op/s", append)

    def _edit(self) -> None:
        former = self._tool.etag("seed/big.bin")

        def edit() -> None:
            with open(self._seed / "big.bin", "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), os.urandom(4096), self._mib * MIB // 2)
                os.fsync(file.fileno())
            self._tool.wait_changed("seed/big.bin", former)

        self._results.put(title("w5"), seconds(edit), "s")

    def _rename_big(self) -> None:
        def rename(source: str, target: str) -> None:
            os.rename(self._seed / source, self._seed / target)
            self._tool.wait_durable(f"seed/{target}", self._mib * MIB)

        self._results.put(title("w6"), seconds(lambda: rename("big.bin", "moved.bin")), "s")
        rename("moved.bin", "big.bin")

    def _rename_folder(self) -> None:
        def rename(source: str, target: str) -> None:
            os.rename(self._seed / "tree" / source, self._seed / "tree" / target)
            self._tool.wait_count(f"seed/tree/{target}/", PER_FOLDER)

        self._results.put(title("w7"), seconds(lambda: rename("d07", "e07")), "s")
        rename("e07", "d07")

    def _copy_tree(self) -> None:
        tree = self._folder / "tree"
        if not tree.exists():
            numbers = random.Random(3)
            for folder in range(200):
                place = tree / f"a{folder % 20}" / f"b{folder}"
                place.mkdir(parents=True)
                for number in range(6):
                    data = numbers.randbytes(numbers.randrange(500, 60000))
                    (place / f"f{number}.dat").write_bytes(data)

        def copy() -> None:
            flags = ["-r", "--preserve=timestamps,mode"]
            subprocess.run(["cp", *flags, tree, self._run / "tree"], check=True)
            self._tool.wait_count(self._key("tree/"), 1200)

        self._put("w9", 1200, "file/s", copy)

    def _remove_tree(self) -> None:
        self._put("w8", SMALL, "file/s", lambda: shutil.rmtree(self._run / "t"))


def title(name: str) -> str:
    """Return how a piece of work is called in the table."""
    return f"{name} {TITLES[name]}"
