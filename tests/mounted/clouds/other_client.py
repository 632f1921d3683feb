"""Another client of a mounted bucket: what the suite asks of each cloud's own SDK, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Head:
    """What another client is told of an object. Names of metadata are without their prefix."""

    size: int
    etag: str
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """`Cache-Control` and `Content-Encoding`, where they are kept."""


class OtherClient(Protocol):
    """One bucket, by a program that is not bucketfs. May be used from several threads."""

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write an object whole, whatever is there."""

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""

    def head(self, key: str) -> Head:
        """Return what is said of an object. Fails where there is none."""

    def delete(self, key: str) -> None:
        """Delete an object."""

    def keys(self, prefix: str) -> list[str]:
        """Return all keys that begin with `prefix`, in the order of the listing."""

    def unfinished(self, prefix: str) -> list[str]:
        """Return the keys below `prefix` that have an upload which is not complete."""


SHOWN_HEADERS = ("Cache-Control", "Content-Encoding")
"""What `Head.headers` may hold."""
