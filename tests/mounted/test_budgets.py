"""Budgets of a real mount: what it takes of the machine, and what it does when they are full.

The peak of resident memory is VmHWM of the mount's process, the interpreter and all else included.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import Place, s3_options
from tests.mounts.mounting import Mount, error_of, mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20
LIMIT_BYTES = 200 * MIB
"""What a mount with the default budgets may take."""


def peak_bytes(mount: Mount) -> int:
    """Return the most memory that the mount's process ever had resident."""
    status = Path(f"/proc/{mount.process.pid}/status").read_text()
    match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1]) << 10


def block_of(number: int, index: int) -> bytes:
    """Return one MiB that is of this file and this place in it, and of no other."""
    return f"{number}:{index};".encode().ljust(64, b".") * (MIB // 64)


def write_and_read(top: Path, files: int, size_mib: int) -> None:
    """Write `files` files side by side, all open at once; then read them in the same way."""
    with ExitStack() as stack:
        handles = [stack.enter_context(open(top / f"f{n}", "wb", 0)) for n in range(files)]
        for index in range(size_mib):
            for number, handle in enumerate(handles):
                handle.write(block_of(number, index))
    with ExitStack() as stack:
        handles = [stack.enter_context(open(top / f"f{n}", "rb", 0)) for n in range(files)]
        for index in range(size_mib):
            for number, handle in enumerate(handles):
                assert handle.read(MIB) == block_of(number, index), (number, index)


def test_a_hundred_open_files_share_a_small_budget(tmp_path: Path, bucket_folder: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path, "memory=32M") as mount:
        write_and_read(mount.path, files=100, size_mib=3)
        assert peak_bytes(mount) < LIMIT_BYTES
        assert not list((tmp_path / "mnt.cache" / "spill").iterdir()), "spill files are removed"


@pytest.mark.campaign
def test_a_hundred_open_files_of_1_gib(tmp_path: Path, bucket_folder: Path) -> None:
    size_mib = int(os.environ.get("BUCKETFS_CAMPAIGN_MIB", "1024"))
    with mounted(f"file://{bucket_folder}", tmp_path, "memory=128M,disk=20G") as mount:
        write_and_read(mount.path, files=100, size_mib=size_mib)
        assert peak_bytes(mount) < LIMIT_BYTES + 64 * MIB


def test_a_large_copy_stays_within_the_default_budgets(place: Place, tmp_path: Path) -> None:
    with place.remounted(tmp_path) as mount:
        with open(mount.path / "big", "wb", 0) as file:
            for index in range(256):
                file.write(block_of(0, index))
        with open(mount.path / "big", "rb", 0) as file:
            for index in range(256):
                assert file.read(MIB) == block_of(0, index), index
        assert peak_bytes(mount) < LIMIT_BYTES
    found = place.server.client().head_object(Bucket=place.bucket, Key=f"{place.prefix}big")
    assert found["ContentLength"] == 256 * MIB


def test_full_budgets_are_enospc_and_lose_nothing(moto: RunningS3, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    with faulty(moto.endpoint) as proxy:
        options = (s3_options(moto), f"endpoint={proxy.url}", "memory=16M", "disk=64M", "timeout=1")
        with mounted(f"s3://{bucket}", tmp_path, *options, environment=moto.environment) as mount:
            fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
            proxy.fail_always("reset")
            written = write_until_error(fd, limit=200)
            assert 64 <= written < 100, "MiB that were taken until the budgets were full"
            assert error_of(os.fsync, fd) in ("EIO", "EAGAIN")
            proxy.heal()
            os.fsync(fd)
            os.write(fd, block_of(0, written))
            os.close(fd)
            assert mount.unmount() == 0
    body = moto.client().get_object(Bucket=bucket, Key="f")["Body"].read()
    assert body == b"".join(block_of(0, index) for index in range(written + 1))


def write_until_error(fd: int, limit: int) -> int:
    """Write whole blocks until there is no space; return how many the file has then."""
    for index in range(limit):
        try:
            taken = os.pwrite(fd, block_of(0, index), index * MIB)
            reason = errno.ENOSPC
        except OSError as error:
            taken, reason = 0, error.errno or 0
        if taken < MIB:
            assert errno.errorcode[reason] == "ENOSPC"
            os.ftruncate(fd, index * MIB)
            os.lseek(fd, 0, os.SEEK_END)
            return index
    raise AssertionError("it was never full")
