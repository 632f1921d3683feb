"""Logs that grow by appends of the store: what goes over the wire, and what everybody sees."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from bucketfs.options import parse_options
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes, ObjectStore
from bucketfs.storage.opening import StoreOptions, open_store
from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import wait_until
from tests.mounted.counting import settled
from tests.mounts.mounting import Mount, error_of, mounted
from tests.servers.s3_server import RunningS3

T = TypeVar("T")
KIB = 1 << 10
CLOUDS = {"cos": "cos", "bos": "bos", "radosgw": "s3"}
"""Fixtures of the servers that append, and the schemes of their buckets."""

pytestmark = pytest.mark.mounted


@dataclass(frozen=True)
class Place:
    """A bucket with an object in it, behind a proxy that counts."""

    name: str
    url: str
    options: str
    environment: Mapping[str, str]
    proxy: FaultyServer
    folder: Path

    def mounted(self, *options: str, name: str = "mnt") -> AbstractContextManager[Mount]:
        """Mount the bucket."""
        options = (self.options, "ttl=0.5", *options)
        return mounted(self.url, self.folder, *options, environment=self.environment, name=name)

    def ask(self, question: Callable[[ObjectStore], Awaitable[T]]) -> T:
        """Ask the bucket something, past every mount."""

        async def asked() -> T:
            values = parse_options([self.options])
            options = StoreOptions(environment=self.environment, **values)  # type: ignore[arg-type]
            store = await open_store(self.url, options)
            try:
                return await question(store)
            finally:
                await store.aclose()

        return trio.run(asked)

    def is_appendable(self, key: str) -> bool:
        """Return whether an object could grow."""

        async def question(store: ObjectStore) -> bool:
            return (await store.stat(key)).is_appendable

        return self.ask(question)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""

        async def question(store: ObjectStore) -> bytes:
            data = bytearray((await store.stat(key)).size)
            await store.read_range(key, 0, len(data), MemorySink(data))
            return bytes(data)

        return self.ask(question)

    def append(self, key: str, position: int, data: bytes) -> None:
        """Append as another client would."""

        async def question(store: ObjectStore) -> None:
            await store.append(key, position, BytesBody(data))

        self.ask(question)


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    server = request.getfixturevalue(request.param)
    with faulty(server.endpoint) as proxy:
        options = f"endpoint={proxy.url}"
        if isinstance(server, RunningS3):
            options += ",region=us-east-1,addressing=path"
        url = f"{CLOUDS[request.param]}://{server.make_bucket()}"
        place = Place(request.param, url, options, server.environment, proxy, tmp_path)

        async def seed(store: ObjectStore) -> None:
            await store.write("any", BytesBody(b""), ObjectAttributes())

        place.ask(seed)
        yield place


class Log:
    """A file that is open for appending only."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def add(self, data: bytes) -> None:
        """Append, and wait for the bucket."""
        os.write(self._descriptor, data)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def test_a_synced_log_sends_only_what_is_new(place: Place) -> None:
    pieces = [os.urandom(64 * KIB) for _ in range(20)]
    with place.mounted() as mount, closing(Log(mount.path / "log")) as log:
        log.add(b"first\n")
        settled(lambda: len(place.proxy.seen))
        requests, sent = len(place.proxy.seen), place.proxy.received_bytes
        for piece in pieces:
            log.add(piece)
        settled(lambda: len(place.proxy.seen))
        # Ceph does not tell the version of what it appended: a HEAD each.
        most = 2 * len(pieces) if place.name == "radosgw" else len(pieces) + 1
        assert len(place.proxy.seen) - requests <= most
        assert place.proxy.received_bytes - sent <= 20 * 64 * KIB + 4 * KIB
    assert place.get("log") == b"first\n" + b"".join(pieces)
    assert place.is_appendable("log")


def test_another_mount_sees_the_growth_and_its_time(place: Place) -> None:
    with (
        place.mounted() as mount,
        place.mounted(name="other") as other,
        closing(Log(mount.path / "log")) as log,
    ):
        there, expected = other.path / "log", b""
        for line in (b"one\n", b"two\n", b"three\n"):
            log.add(line)
            expected += line
            wait_until(partial(shows, there, expected))
        mine = (mount.path / "log").stat()
        assert abs(there.stat().st_mtime - mine.st_mtime) <= 2
        assert there.stat().st_mode & 0o777 == mine.st_mode & 0o777 == 0o640


def shows(path: Path, expected: bytes) -> bool:
    """Return whether a file has these bytes; never others than some that it had."""
    try:
        found = path.read_bytes()
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return False
    assert expected.startswith(found)
    return found == expected


def test_an_overtaken_writer_is_told_and_harms_nothing(place: Place) -> None:
    with place.mounted() as mount, closing(Log(mount.path / "log")) as log:
        log.add(b"one\n")
        place.append("log", 4, b"of others\n")
        assert error_of(log.add, b"ours\n") == "ESTALE"
        assert (mount.path / "log").read_bytes() == b"one\nours\n"
        assert place.get("log") == b"one\nof others\n"
        (mount.path / "log").unlink()


def test_a_rename_or_chmod_makes_it_an_ordinary_file_that_goes_on(place: Place) -> None:
    with place.mounted() as mount:
        with closing(Log(mount.path / "log")) as log:
            log.add(b"one\n")
            (mount.path / "log").rename(mount.path / "old")
            log.add(b"two\n")
        assert place.get("old") == b"one\ntwo\n"
        assert not place.is_appendable("old")
        with closing(Log(mount.path / "log")) as log:
            log.add(b"new\n")
        assert place.is_appendable("log")
        os.utime(mount.path / "log", ns=(10**18, 10**18))
        assert not place.is_appendable("log")
        with closing(Log(mount.path / "log")) as log:
            log.add(b"more\n")
        os.chmod(mount.path / "log", 0o600)
        os.utime(mount.path / "log", ns=(10**18, 10**18))
    with place.mounted(name="cold") as cold:
        found = (cold.path / "log").stat()
        assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o600, 10**18)
        assert (cold.path / "log").read_bytes() == b"new\nmore\n"


@pytest.mark.parametrize(("when", "grows"), [("always", True), ("auto", False), ("never", False)])
def test_the_option_says_which_new_files_grow(place: Place, when: str, grows: bool) -> None:
    with place.mounted(f"append={when}") as mount:
        with open(mount.path / "log", "ab") as file:
            file.write(b"one\n")
        assert place.is_appendable("log") is grows
        with open(mount.path / "log", "ab") as file:
            file.write(b"two\n")
        assert place.is_appendable("log") is grows
        (mount.path / "copy").write_bytes(b"written otherwise")
        assert not place.is_appendable("copy")
    assert place.get("log") == b"one\ntwo\n"


def test_what_others_let_grow_goes_on_unless_never(place: Place) -> None:
    place.append("log", 0, b"by others\n")
    with place.mounted("append=never") as mount, place.mounted(name="other") as other:
        with open(other.path / "log", "ab") as file:
            file.write(b"ours\n")
        assert place.is_appendable("log")
        wait_until(lambda: (mount.path / "log").stat().st_size == 15)
        with open(mount.path / "log", "ab") as file:
            file.write(b"never\n")
        assert not place.is_appendable("log")
    assert place.get("log") == b"by others\nours\nnever\n"
