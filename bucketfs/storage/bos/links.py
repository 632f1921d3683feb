"""Native symlinks of BOS: objects that stand for another key.

To the layers above a native symlink is what their own symlinks are: a small object whose metadata
say that it is a link and whose bytes are the link's target. BOS names the target by its key, so the
bytes are the way from the link's directory to that key, and both stay right when a folder of the
bucket is mounted. A target in another bucket is shown as `bos:/bucket/key`, which leads nowhere.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat
from dataclasses import dataclass

from bucketfs.errors import ConfusedServer, InvalidKey
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.headers import FORBID_OVERWRITE
from bucketfs.storage.bos.keys import check_key
from bucketfs.storage.interface import ObjectInfo, Version
from bucketfs.storage.s3.headers import seconds_ns

_VERSION_PREFIX = "~link-"
_TARGET_HEADER = "x-bce-symlink-target"
_BUCKET_HEADER = "x-bce-symlink-bucket"
_MODE = str(stat.S_IFLNK | 0o777)


@dataclass(frozen=True, slots=True)
class Symlink:
    """Where a link leads: a key, of this bucket (`bucket` None) or another."""

    target: str
    bucket: str | None = None

    def text(self, key: str) -> str:
        """Return the POSIX target of the link at `key`."""
        if self.bucket is not None:
            return f"bos:/{self.bucket}/{self.target}"
        return posixpath.relpath(f"/{self.target}", posixpath.dirname(f"/{key}"))


def is_link(version: Version) -> bool:
    """Return whether a version is of a native symlink."""
    return version.startswith(_VERSION_PREFIX)


def link_info(key: str, link: Symlink, modified_ns: int) -> ObjectInfo:
    """Return what a native symlink is to the layers above."""
    data = link.text(key).encode("utf-8", "surrogateescape")
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    version = Version(f"{_VERSION_PREFIX}{digest}")
    return ObjectInfo(key, len(data), version, modified_ns, {"mode": _MODE})


class Links:
    """Reads and makes native symlinks."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def read(self, key: str) -> tuple[Symlink, ObjectInfo]:
        """Return the link at `key`. Raises: ObjectNotFound, NotALink."""
        response = await self._calls.send("GET", "read_symlink", key, query=[("symlink", "")])
        target = response.headers.get(_TARGET_HEADER)
        if not target:
            raise ConfusedServer("a symlink has no target", key=key, operation="read_symlink")
        target = target.encode("latin-1").decode("utf-8", "surrogateescape")
        link = Symlink(target, response.headers.get(_BUCKET_HEADER) or None)
        return link, link_info(key, link, seconds_ns(response.headers.get("last-modified")))

    async def make(self, key: str, link: Symlink, *, may_replace: bool = True) -> ObjectInfo:
        """Make a link at `key`; its target need not be there.

        Raises: ObjectChanged (something is there and `may_replace` is False), InvalidKey.
        """
        check_key(link.target, "make_symlink", is_new=False)
        headers = {_TARGET_HEADER: _as_header(link.target)}
        if link.bucket is not None:
            headers[_BUCKET_HEADER] = link.bucket
        if not may_replace:
            headers[FORBID_OVERWRITE] = "true"
        response = await self._calls.send(
            "PUT", "make_symlink", key, query=[("symlink", "")], headers=headers
        )
        return link_info(key, link, seconds_ns(response.headers.get("date")))


def _as_header(target: str) -> str:
    """Return a key as its bytes stand in a header: raw, as the SDKs send it. Raises: InvalidKey."""
    if target != target.strip() or not target.isprintable():
        raise InvalidKey(
            "a header cannot carry this target of a symlink", key=target, operation="make_symlink"
        )
    return target.encode().decode("latin-1")
