"""Files of which programs read a directory at the end and then some pieces: few requests.

A Parquet file is read as libraries do: eight bytes at the end, the footer before them, then the
chunks of some columns of some row groups.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.opening import open_store
from tests.mounted.counting import Counted, counted
from tests.mounts.mounting import mounted

pytestmark = pytest.mark.mounted

LOOK = 2
"""Requests for a name that nobody has listed, and its attributes."""
MEMBERS, MEMBER_BYTES = 200, 200_000
GROUPS, COLUMNS, CHUNK_BYTES, FOOTER_BYTES = 8, 10, 512 << 10, 48 << 10


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Iterator[Counted]:
    """A bucket whose requests are counted."""
    with counted("s3", request) as found:
        yield found


def asked_for(bucket: Counted, folder: Path, data: bytes, read: Callable[[Path], None]) -> int:
    """Return how many requests a new mount makes when an object of `data` is read by `read`."""

    async def put() -> None:
        store = await open_store(bucket.url, bucket.store_options)
        await store.write("file", BytesBody(data), ObjectAttributes())
        await store.aclose()

    trio.run(put)
    with mounted(bucket.url, folder, bucket.options, environment=bucket.environment) as mount:
        requests = bucket.count(lambda: read(mount.path / "file"))
    print(*requests, sep="\n")
    return len(requests)


def test_a_zip_file_is_listed_and_a_member_read_with_few_requests(
    bucket: Counted, tmp_path: Path
) -> None:
    member = random.Random(1).randbytes(MEMBER_BYTES)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for number in range(MEMBERS):
            made.writestr(f"member{number:03}", member)

    def read(path: Path) -> None:
        with zipfile.ZipFile(path) as found:
            assert len(found.namelist()) == MEMBERS
            assert found.read("member120") == member

    # The directory at the end; the member's header, and its bytes.
    assert asked_for(bucket, tmp_path, archive.getvalue(), read) <= LOOK + 3


def test_columns_of_a_parquet_file_cost_a_request_each(bucket: Counted, tmp_path: Path) -> None:
    data = random.Random(2).randbytes(GROUPS * COLUMNS * CHUNK_BYTES + FOOTER_BYTES + 8)
    wanted = [(group, column) for group in (1, 5) for column in (2, 3, 8)]

    def read(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            assert os.pread(descriptor, 8, size - 8) == data[-8:]
            start = size - 8 - FOOTER_BYTES
            assert os.pread(descriptor, FOOTER_BYTES, start) == data[start:-8]
            for group, column in wanted:
                start = (group * COLUMNS + column) * CHUNK_BYTES
                chunk = os.pread(descriptor, CHUNK_BYTES, start)
                assert chunk == data[start : start + CHUNK_BYTES]
        finally:
            os.close(descriptor)

    # The end with the footer; chunks, those side by side together or not.
    assert asked_for(bucket, tmp_path, data, read) <= LOOK + 1 + len(wanted)
