"""A mounted cloud, and a directory on it as another client of the same bucket has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.mounted.clouds.exceptions import EXCEPTIONS
from tests.mounted.clouds.other_client import Head, OtherClient
from tests.mounts.mounting import Mount, mounted


@dataclass(frozen=True)
class Cloud:
    """A bucket and how to mount it. `endpoint` None: there is no server."""

    name: str
    url: str
    options: tuple[str, ...]
    environment: Mapping[str, str]
    client: OtherClient
    endpoint: str | None = None

    def mounted(
        self, folder: Path, *options: str, prefix: str = "", name: str = "mnt"
    ) -> AbstractContextManager[Mount]:
        """Mount it, or what is below `prefix`, with a `ttl` of half a second."""
        url = f"{self.url}/{prefix}" if prefix else self.url
        options = (*self.options, "ttl=0.5", *options)
        return mounted(url, folder, *options, environment=self.environment, name=name)


@dataclass(frozen=True)
class Place:
    """A directory of a mounted bucket. Names are below it; `prefix` is that of its keys."""

    cloud: Cloud
    prefix: str
    path: Path

    def lacks(self, ability: str) -> bool:
        """Return whether the cloud is excepted from what a test shows of `ability`."""
        return self.cloud.name in EXCEPTIONS[ability].clouds

    def put(
        self,
        name: str,
        body: bytes = b"",
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write an object beside the mount."""
        self.cloud.client.put(
            self.prefix + name, body, metadata=metadata, content_type=content_type, headers=headers
        )

    def get(self, name: str) -> bytes:
        """Return an object's bytes."""
        return self.cloud.client.get(self.prefix + name)

    def head(self, name: str) -> Head:
        """Return what another client is told of an object."""
        return self.cloud.client.head(self.prefix + name)

    def delete(self, name: str) -> None:
        """Delete an object beside the mount."""
        self.cloud.client.delete(self.prefix + name)

    def names(self) -> list[str]:
        """Return all keys of the directory, without its prefix and without its own marker."""
        keys = self.cloud.client.keys(self.prefix)
        return [key[len(self.prefix) :] for key in keys if key != self.prefix]

    def unfinished(self) -> list[str]:
        """Return the names of which an upload is not complete."""
        keys = self.cloud.client.unfinished(self.prefix)
        return [key[len(self.prefix) :] for key in keys]

    def below(self, name: str) -> Place:
        """Return the directory `name` of this one."""
        return dataclasses.replace(self, prefix=f"{self.prefix}{name}/", path=self.path / name)

    def remounted(
        self, folder: Path, *options: str, name: str = "cold"
    ) -> AbstractContextManager[Mount]:
        """Mount the same directory once more, by another process that knows nothing of it yet."""
        return self.cloud.mounted(folder, *options, prefix=self.prefix.rstrip("/"), name=name)
