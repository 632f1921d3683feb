"""The disk cache of real mounts: later ones ask for no bytes, and none is ever shown wrong ones."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trio

from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.opening import open_store
from tests.mounted.conftest import wait_until
from tests.mounted.counting import Counted, counted, settled
from tests.mounted.test_command_line import ROOT, bucketfs
from tests.mounts.mounting import Mount, mounted

MIB = 1 << 20
LARGE = random.Random(7).randbytes(20 * MIB + 321)
SMALL = {f"d/f{number}": b"small %d" % number for number in range(30)}
ON = "read_cache=256M"


@pytest.fixture(params=["s3", "cos"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Counted]:
    with counted(request.param, request) as found:
        yield found


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Counted]:
    with counted("s3", request) as found:
        yield found


def upload(cloud: Counted, objects: dict[str, bytes]) -> None:
    """Put objects into the bucket as another client would."""

    async def put() -> None:
        store = await open_store(cloud.url, cloud.store_options)
        for key, data in objects.items():
            await store.write(key, BytesBody(data), ObjectAttributes())
        await store.aclose()

    trio.run(put)


def on(cloud: Counted, folder: Path, *options: str) -> AbstractContextManager[Mount]:
    return mounted(cloud.url, folder, cloud.options, *options, environment=cloud.environment)


def stats(mount: Mount) -> dict[str, int]:
    done = bucketfs("stats", "--json", mount.path)
    pages: dict[str, int] = json.loads(done.stdout)["pages"]
    return pages


def bytes_of(asked: list[str], name: str) -> list[str]:
    """Return those of the requests that fetch bytes of an object."""
    return [ask for ask in asked if ask.startswith("GET ") and ask.partition("?")[0].endswith(name)]


def read_all(top: Path) -> dict[str, bytes]:
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def wait_held(mount: Mount, count: int) -> None:
    wait_until(lambda: stats(mount)["cached_blocks"] >= count, f"{count} blocks on disk", 30)


def test_the_next_mount_asks_for_no_bytes(cloud: Counted, tmp_path: Path) -> None:
    upload(cloud, {"large": LARGE, **SMALL})
    everything = {"large": LARGE, **SMALL}
    with on(cloud, tmp_path, ON) as mount:
        assert read_all(mount.path) == everything
        wait_held(mount, 21 + len(SMALL))
    with on(cloud, tmp_path, ON) as mount:
        asked = cloud.count(lambda: read_all(mount.path))
        assert bytes_of(asked, "large") == []
        assert read_all(mount.path) == everything
        figures = stats(mount)
        assert figures["cache_hit_bytes"] >= len(LARGE)
        assert figures["cached_blocks"] == 21 + len(SMALL)


def test_a_replaced_object_is_shown_as_it_is_now(cloud: Counted, tmp_path: Path) -> None:
    upload(cloud, {"large": LARGE})
    with on(cloud, tmp_path, ON, "ttl=0") as mount:
        assert (mount.path / "large").read_bytes() == LARGE
        wait_held(mount, 21)
        with open(mount.path / "large", "rb") as file:
            newer = bytes(reversed(LARGE))
            upload(cloud, {"large": newer})
            # One open is one version, and the disk has all of it.
            assert file.read() == LARGE
        assert (mount.path / "large").read_bytes() == newer
    with on(cloud, tmp_path, ON, "ttl=0") as mount:
        assert (mount.path / "large").read_bytes() == newer
        (mount.path / "large").write_bytes(b"mine")
        assert (mount.path / "large").read_bytes() == b"mine"
    with on(cloud, tmp_path, ON, "ttl=0") as mount:
        assert (mount.path / "large").read_bytes() == b"mine"


def test_a_killed_mount_leaves_a_cache_that_works(s3: Counted, tmp_path: Path) -> None:
    upload(s3, {"large": LARGE})
    for pause_s in (0.0, 0.02, 0.1):
        with on(s3, tmp_path, ON) as mount:
            with open(mount.path / "large", "rb") as file:
                file.read(3 * MIB)
            time.sleep(pause_s)
            mount.kill()
    with on(s3, tmp_path, ON) as mount:
        assert (mount.path / "large").read_bytes() == LARGE
        wait_held(mount, 21)
        assert list((tmp_path / "mnt.cache" / "blocks" / "tmp").iterdir()) == []
    assert "lost+found" not in os.listdir(tmp_path / "mnt.cache")
    done = bucketfs("recover", tmp_path / "mnt.cache")
    assert "blocks" not in done.stdout + done.stderr
    with on(s3, tmp_path, ON) as mount:
        asked = s3.count(lambda: (mount.path / "large").read_bytes())
        assert bytes_of(asked, "large") == []


def test_damage_on_disk_is_never_shown(s3: Counted, tmp_path: Path) -> None:
    upload(s3, {"large": LARGE})
    with on(s3, tmp_path, ON) as mount:
        (mount.path / "large").read_bytes()
        wait_held(mount, 21)
    files = sorted((tmp_path / "mnt.cache" / "blocks").glob("??/*"))
    numbers = random.Random(2)
    for path in files[::2]:
        data = bytearray(path.read_bytes())
        data[numbers.randrange(len(data))] ^= 1 + numbers.randrange(255)
        path.write_bytes(data)
    files[1].write_bytes(files[3].read_bytes())
    with on(s3, tmp_path, ON) as mount:
        assert (mount.path / "large").read_bytes() == LARGE
        assert stats(mount)["cache_damaged_blocks"] == 12
        assert mount.log_text().count("is damaged") == 1
    # A block that broke off in the middle was read on from there: whole it came the next time.
    with on(s3, tmp_path, ON) as mount:
        assert (mount.path / "large").read_bytes() == LARGE
        assert stats(mount)["cache_damaged_blocks"] == 0
        wait_held(mount, 21)


# -- warmup


def test_what_was_warmed_up_is_read_without_asking(cloud: Counted, tmp_path: Path) -> None:
    upload(cloud, {"large": LARGE, "empty": b"", "e/deep/g": LARGE[:MIB], **SMALL})
    with on(cloud, tmp_path, ON) as mount:
        done = bucketfs("warmup", mount.path / "large", mount.path / "e", mount.path / "d" / "f3")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "3 files (21.0 MiB) in the disk cache\n"
        asked = cloud.count(lambda: (mount.path / "large").read_bytes())
        assert bytes_of(asked, "large") == []
        assert (mount.path / "large").read_bytes() == LARGE
        again = cloud.count(lambda: bucketfs("warmup", mount.path))
        assert bytes_of(again, "large") == []
        assert stats(mount)["cached_blocks"] == 21 + 1 + len(SMALL)
        report = json.loads(bucketfs("stats", "--json", mount.path).stdout)
        causes = {row["name"]: row for row in report["programs"] if row["kind"] == "mount"}
        assert causes["warmup"]["received_bytes"] >= len(LARGE)
        lines = bucketfs("stats", mount.path).stdout.splitlines()
        assert "cache\tcached_blocks\t52" in lines
        assert any(line.startswith("budget\tread_cache_bytes\t") for line in lines)


def test_what_is_too_much_is_said(s3: Counted, tmp_path: Path) -> None:
    objects = {f"f{number}": LARGE for number in range(4)}
    upload(s3, objects)
    with on(s3, tmp_path, "read_cache=64M") as mount:
        done = bucketfs("warmup", mount.path)
        assert done.returncode == 1
        assert "2 files" in done.stdout
        assert "the disk cache of 64.0 MiB is too small for 2 files (40.0 MiB)" in done.stderr
        assert stats(mount)["cached_bytes"] <= 64 * MIB


def test_what_cannot_be_warmed_up_is_said(s3: Counted, tmp_path: Path) -> None:
    upload(s3, {"f": b"x"})
    done = bucketfs("warmup", tmp_path)
    assert done.returncode == 1
    assert "is not on a mount of bucketfs" in done.stderr
    with on(s3, tmp_path) as mount:
        done = bucketfs("warmup", mount.path)
        assert done.returncode == 1
        assert "mount with -o read_cache=SIZE" in done.stderr
        assert not (tmp_path / "mnt.cache" / "blocks").exists()
        done = bucketfs("warmup", mount.path / "none")
        assert done.returncode == 1
        assert "No such file" in done.stderr
    mount.path.mkdir(exist_ok=True)
    done = bucketfs("mount", "file:///tmp", mount.path, "-o", "read_cache=1G")
    assert done.returncode == 1
    assert "read_cache= means nothing to file:" in done.stderr


def test_an_interrupted_warm_up_stops(s3: Counted, tmp_path: Path) -> None:
    upload(s3, {f"f{number:04}": b"%d" % number for number in range(1500)})
    with on(s3, tmp_path, ON, "concurrency=1") as mount:
        command = [sys.executable, "-m", "bucketfs", "warmup", str(mount.path)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: stats(mount)["cached_blocks"] > 10, "the first blocks", 30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "Traceback" not in said
        settled(lambda: len(s3.asked()))
        assert stats(mount)["cached_blocks"] < 1500
