"""What a mount asks of each cloud for everyday operations: no more than the documents say.

Run with `-s` to see the table anew, and with `-v` for the requests of each operation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.opening import OPENERS, open_store
from tests.mounted.counting import Counted, counted
from tests.mounts.mounting import mounted

MIB = 1 << 20
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
HEADING = "## Requests"


def documented() -> dict[str, dict[str, int]]:
    """Return cloud -> operation -> requests, from the table in docs/performance.md."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    clouds = rows[0][1:]
    return {
        cloud.lower(): {
            row[0]: int(row[place]) for row in rows[1:] if re.fullmatch(r"\d+", row[place])
        }
        for place, cloud in enumerate(clouds, start=1)
    }


def make_tree(top: Path, name: str, files: int) -> None:
    (top / name).mkdir()
    for number in range(files):
        (top / name / f"f{number:04}").write_bytes(b"x")


def remove_tree(path: Path) -> None:
    for entry in list(os.scandir(path)):
        os.unlink(entry.path)
    path.rmdir()


def list_long(path: Path) -> None:
    for entry in list(os.scandir(path)):
        entry.stat(follow_symlinks=False)


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def edit(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def warm_operations(top: Path) -> dict[str, Callable[[], object]]:
    """Return operations on a mount that made everything itself, in the order to be done."""
    return {
        "create an empty file": (top / "empty").touch,
        "create a file of 1 MiB": lambda: (top / "one").write_bytes(bytes(MIB)),
        "write 20 MiB (parts of 8 MiB)": lambda: (top / "large").write_bytes(bytes(20 * MIB)),
        "change 4 bytes of the 20 MiB": lambda: edit(top / "large", 9 * MIB, b"edit"),
        "append 4 bytes to 1 MiB": lambda: append(top / "one", b"more"),
        "chmod": lambda: (top / "one").chmod(0o640),
        "rename a file": lambda: (top / "one").rename(top / "two"),
        "symlink": lambda: os.symlink("two", top / "link"),
        "mkdir": (top / "d").mkdir,
        "rename a directory of 10 files": lambda: (top / "ten").rename(top / "eleven"),
        "rm a file": (top / "two").unlink,
        "rm -r of a directory of 10 files": lambda: remove_tree(top / "eleven"),
        "rmdir": (top / "d").rmdir,
    }


def cold_operations(top: Path) -> dict[str, Callable[[], object]]:
    """Return operations on a mount that has just begun."""
    return {
        "stat of a file": (top / "large").stat,
        "stat of what is not there": lambda: (top / "absent").exists(),
        "read 1 KiB": (top / "small").read_bytes,
        "read 20 MiB": (top / "large").read_bytes,
        "ls of 1000": lambda: os.listdir(top / "thousand"),
        "ls -l of 10": lambda: list_long(top / "more"),
        "find of 10 directories of 10 files": lambda: list(os.walk(top / "tree")),
    }


def listed_operations(top: Path) -> dict[str, Callable[[], object]]:
    """Return operations in a directory of which this mount has done `ls`, and nothing else."""
    return {
        "stat of what is not there, after ls": lambda: (top / "more" / "absent").exists(),
        "read 1 byte, after ls": (top / "more" / "f7").read_bytes,
        "create an empty file, after ls": (top / "more" / "new").touch,
    }


async def seed(cloud: Counted) -> None:
    """Put objects into the bucket beside any mount."""
    store = await open_store(cloud.url, cloud.store_options)
    sizes = {f"thousand/f{number:04}": 1 for number in range(1000)} | {"small": 1024}
    sizes |= {f"more/f{number}": 1 for number in range(10)}
    sizes |= {f"tree/d{number // 10}/f{number % 10}": 1 for number in range(100)}
    async with trio.open_nursery() as nursery:
        for key, size in sizes.items():
            nursery.start_soon(store.write, key, BytesBody(bytes(size)), ObjectAttributes())
    await store.aclose()


def measure(cloud: Counted, folder: Path) -> dict[str, list[str]]:
    """Return the requests of each operation."""
    found = {}
    options = (cloud.options, "ttl=300")  # nothing is asked again because time passed
    with mounted(cloud.url, folder, *options, environment=cloud.environment) as mount:
        make_tree(mount.path, "ten", 10)
        for name, operation in warm_operations(mount.path).items():
            found[name] = cloud.count(operation)
    trio.run(seed, cloud)
    for number, name in enumerate(cold_operations(folder)):
        # Each with a cache folder of its own, which remembers nothing.
        with mounted(
            cloud.url, folder, *options, environment=cloud.environment, name=f"cold{number}"
        ) as mount:
            found[name] = cloud.count(cold_operations(mount.path)[name])
    with mounted(cloud.url, folder, *options, environment=cloud.environment, name="cold") as mount:
        # The first save of a mount also finds out what the server makes of conditions.
        cloud.count(lambda: (mount.path / "more" / "first").touch())
        cloud.count(lambda: os.listdir(mount.path / "more"))
        for name, operation in listed_operations(mount.path).items():
            found[name] = cloud.count(operation)
        cloud.count(lambda: list_long(mount.path / "more"))
        found["ls -l of 10 again"] = cloud.count(lambda: list_long(mount.path / "more"))
    return found


def test_every_cloud_has_a_column() -> None:
    assert documented().keys() == OPENERS.keys()


@pytest.mark.mounted
@pytest.mark.parametrize("cloud", documented())
def test_no_more_requests_than_documented(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with counted(cloud, request) as bucket:
        found = measure(bucket, tmp_path)
    for name, requests in found.items():
        print(f"| {name} | {len(requests)} |", *(f"\n      {line[:110]}" for line in requests[:12]))
    known = documented()[cloud]
    assert found.keys() == known.keys()
    excess = {name: asked for name, asked in found.items() if len(asked) > known[name]}
    assert excess == {}
