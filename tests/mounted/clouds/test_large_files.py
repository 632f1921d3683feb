"""Over every cloud: files of many parts are written, changed, cut and grown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.clouds import exceptions
from tests.mounted.clouds.places import Place
from tests.mounted.conftest import SEEN_WITHIN_S, wait_until

MIB = 1 << 20


@pytest.fixture
def big(place: Place) -> Iterator[bytes]:
    """The bytes of the file `big` of 24 MiB and some, written by the mount; gone at the end."""
    data = os.urandom(MIB) * 24 + b"the end"
    with open(place.path / "big", "wb") as file:
        for offset in range(0, len(data), MIB):
            file.write(data[offset : offset + MIB])
    yield data
    place.delete("big")


def test_a_large_file_is_one_object(place: Place, big: bytes) -> None:
    assert place.names() == ["big"]
    assert place.get("big") == big
    assert (place.path / "big").read_bytes() == big


@pytest.mark.shows(exceptions.STREAMING)
def test_a_large_file_is_sent_by_parts(place: Place) -> None:
    path, data = place.path / "f", os.urandom(MIB) * 20
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        limit_s = 1.0 if place.lacks(exceptions.STREAMING) else SEEN_WITHIN_S
        wait_until(lambda: place.unfinished() == ["f"], "an upload of what is written", limit_s)
    assert place.unfinished() == []
    assert place.get("f") == data


def test_an_edit_of_a_large_file(place: Place, big: bytes) -> None:
    with open(place.path / "big", "r+b") as file:
        file.seek(12 * MIB)
        file.write(b"changed")
    assert place.get("big") == big[: 12 * MIB] + b"changed" + big[12 * MIB + 7 :]


@pytest.mark.shows(exceptions.PART_COPY)
def test_an_edit_of_a_large_file_sends_what_changed(
    place: Place, big: bytes, tmp_path: Path
) -> None:
    assert place.cloud.endpoint, "there is no server that could copy"
    with faulty(place.cloud.endpoint) as proxy:
        with (
            place.remounted(tmp_path, f"endpoint={proxy.url}") as mount,
            open(mount.path / "big", "r+b") as file,
        ):
            file.seek(12 * MIB)
            file.write(b"changed")
        uploads = [path for method, path in proxy.seen if method == "PUT"]
    assert place.get("big") == big[: 12 * MIB] + b"changed" + big[12 * MIB + 7 :]
    assert proxy.received_bytes < 17 * MIB, "the rest was to be copied on the server"
    assert len(uploads) <= 6, uploads


@pytest.mark.parametrize("size", [0, 9 * MIB, 20 * MIB, 35 * MIB])
def test_a_large_file_is_cut_and_grown(place: Place, big: bytes, size: int) -> None:
    path = place.path / "big"
    os.truncate(path, size)
    expected = big[:size].ljust(size, b"\0")
    assert place.get("big") == expected
    with path.open("r+b") as file:
        file.truncate(size // 2)
        file.seek(0, os.SEEK_END)
        file.write(b"appended")
    assert place.get("big") == expected[: size // 2] + b"appended"


def test_a_sparse_file(place: Place) -> None:
    path = place.path / "sparse"
    with open(path, "wb") as file:
        file.seek(30 * MIB)
        file.write(b"end")
        file.seek(7)
        file.write(b"start")
    expected = (bytes(7) + b"start").ljust(30 * MIB, b"\0") + b"end"
    assert place.get("sparse") == expected
    assert path.read_bytes() == expected
    path.unlink()
