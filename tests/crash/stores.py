"""The buckets that the campaigns run on, without pytest: a server, and another client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.emulators.plugin import running as running_emulator
from tests.emulators.serving import RunningEmulator
from tests.mounted.clouds.bos_client import BaiduClient
from tests.mounted.clouds.boto3_client import Boto3Client
from tests.mounted.clouds.cos_client import CosClient
from tests.mounted.clouds.other_client import OtherClient
from tests.servers.plugin import juicefs_gateway, radosgw_of_one_machine
from tests.servers.s3_server import RunningS3

Server = RunningS3 | RunningEmulator


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket: how to mount it and how to look at it. `forget` frees a server's memory."""

    store: str
    url: str
    options: tuple[str, ...]
    environment: Mapping[str, str]
    client: OtherClient
    forget: Callable[[], None] = lambda: None


def bucket_of(server: Server, endpoint: str | None = None) -> Bucket:
    """Make a bucket. `endpoint`: where the mount is to connect instead (a faulty proxy)."""
    name = server.make_bucket()
    where = f"endpoint={endpoint or server.endpoint}"
    if isinstance(server, RunningS3):
        options = (where, "region=us-east-1", "addressing=path")
        client = Boto3Client(server, name)
        return Bucket(server.name, f"s3://{name}", options, server.environment, client)
    make = CosClient if server.name == "cos" else BaiduClient
    sdk: OtherClient = make(server, name)
    forget = server.knobs.seen.clear
    url = f"{server.name}://{name}"
    return Bucket(server.name, url, (where,), server.environment, sdk, forget)


@contextmanager
def _emulator(name: str, folder: Path) -> Iterator[RunningEmulator]:
    with running_emulator(name) as server:
        yield server


SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "juicefs": juicefs_gateway,
    "radosgw": radosgw_of_one_machine,
    "cos": lambda folder: _emulator("cos", folder),
    "bos": lambda folder: _emulator("bos", folder),
}
"""Name of a store to what runs its server, with its files in a folder."""
