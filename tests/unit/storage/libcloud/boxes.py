"""Containers for tests: behind a scripted server, or in a folder with a driver that lacks more."""

from __future__ import annotations

import functools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libcloud.storage.drivers.local import LocalStorageDriver

from bucketfs.storage.libcloud.drivers import DriverPool, Traits
from bucketfs.storage.libcloud.opening import open_libcloud
from bucketfs.storage.libcloud.spool import Spool
from bucketfs.storage.libcloud.store import LibcloudStore
from bucketfs.storage.location import StoreOptions, parse_url
from tests.unit.transport.scripted import Answer, Heard, ScriptedServer, reply

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
ETAG = "0123456789abcdef0123456789abcdef"
FOUND = {"ETag": f'"{ETAG}"', "Last-Modified": DATE, "Content-Type": "text/plain"}


def listing(*keys: str, is_truncated: bool = False) -> bytes:
    """Return a page of ListObjects."""
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>"
        f'<ETag>"{ETAG}"</ETag><Size>5</Size></Contents>'
        for key in keys
    )
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{entries}</ListBucketResult>"
    ).encode()


def dispatched(**answers: Answer) -> Answer:
    """Answer by method; `list` are GETs of the container, which is there."""

    def answer(connection: socket.socket, heard: Heard) -> bool:
        is_container = heard.target.partition("?")[0] == "/box"
        name = heard.method.lower()
        if is_container:
            name = "list" if name == "get" else "container"
        chosen = answers.get(name, reply(200) if is_container else reply(404))
        return chosen(connection, heard)

    return answer


@asynccontextmanager
async def s3_box(
    answer: Answer,
    provider: str = "s3",
    timeout_s: float = 5.0,
    certificate: Path | None = None,
) -> AsyncIterator[tuple[LibcloudStore, ScriptedServer]]:
    """Yield a store over Libcloud's S3 driver, and the server that it asks."""
    with ScriptedServer(answer, certificate=certificate) as server:
        options = StoreOptions(
            endpoint=server.origin,
            region="us-east-1",
            timeout_s=timeout_s,
            environment={"LIBCLOUD_KEY": "key", "LIBCLOUD_SECRET": "hunter2"},
        )
        store = await open_libcloud(parse_url(f"libcloud+{provider}://box"), options)
        yield store, server
        await store.aclose()


class WholeDriver(LocalStorageDriver):
    """A driver over a folder that lists lazily and has no ranges, and counts what it is asked."""

    def __init__(self, key: str, asked: list[str]) -> None:
        super().__init__(key, ex_use_locking=False)  # type: ignore[no-untyped-call]
        self.asked = asked

    def iterate_container_objects(
        self, container: Any, prefix: str | None = None, ex_prefix: str | None = None
    ) -> Iterator[Any]:
        """Yield objects one by one."""
        self.asked.append("list")
        objects = super().iterate_container_objects(container)  # type: ignore[no-untyped-call]
        for found in objects:
            if found.name.startswith(prefix or ""):
                self.asked.append(found.name)
                yield found

    def download_object_as_stream(self, obj: Any, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object."""
        self.asked.append(f"get {obj.name}")
        pieces: Any = super()
        found: Iterator[bytes] = pieces.download_object_as_stream(obj, chunk_size)
        return found


def folder_pool(folder: Path, asked: list[str]) -> DriverPool:
    """Return drivers over the container `box` in `folder`."""
    (folder / "box").mkdir(exist_ok=True)
    make: Callable[[], Any] = functools.partial(WholeDriver, str(folder), asked)
    return DriverPool(make, "box")


def folder_store(folder: Path, asked: list[str], **traits: Any) -> LibcloudStore:
    """Return a store over such drivers; `traits` may tell them from Libcloud's local driver."""
    given = {"is_local": True, "has_ranges": False, "has_parts": False, "vendor_prefix": None}
    known = Traits("whole", **{**given, **traits})
    return LibcloudStore(folder_pool(folder, asked), known, spool=Spool(str(folder)))
