"""Native symlinks of BOS: objects that stand for another key.

To the layers above a native symlink is what their own symlinks are: a small object whose metadata
say that it is a link and whose bytes are the link's target. BOS names the target by its key, so the
bytes are the way from the link's directory to that key, whichever folder of the bucket is
mounted. A target in another bucket is shown as `bos:/bucket/key`, which leads nowhere.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from bucketfs.errors import ConfusedServer, InvalidKey, ObjectNotFound
from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.headers import FORBID_OVERWRITE
from bucketfs.storage.bos.keys import check_key
from bucketfs.storage.bos.refusals import NotALink
from bucketfs.storage.headers import seconds_ns
from bucketfs.storage.interface import ObjectInfo, Version

_VERSION_PREFIX = "~link-"
_TARGET_HEADER = "x-bce-symlink-target"
_BUCKET_HEADER = "x-bce-symlink-bucket"
_LISTED_S = 60.0
_LISTED_PAGES = 20
_PAGE_KEYS = 1000
_LARGEST_LISTED_BYTES = 1024
"""What a listing shows as the size of a link is not documented; it is not much."""
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

    def moved(self, key: str, new_key: str) -> Symlink | None:
        """Return the link that has at `new_key` the text which this one has at `key`.

        As everywhere, a link that moves keeps its text and so may lead elsewhere. None: to a place
        that no key can name.
        """
        if self.bucket is not None:
            return self
        path = posixpath.join(posixpath.dirname(new_key), self.text(key))
        target = posixpath.normpath(path)
        found = Symlink(f"{target}/" if self.target.endswith("/") else target)
        return found if found.text(new_key) == self.text(key) else None


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
    """Reads and makes native symlinks.

    HEAD of a link whose target is gone says 404, as of any absent key. To ask a second time for
    each absent key would double what a look-up costs; so it is done for those that were listed a
    short while ago: who is listed and absent has gone meanwhile, or is such a link.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._pages: deque[tuple[float, dict[str, Version]]] = deque(maxlen=_LISTED_PAGES)

    def listed(self, objects: Iterable[ObjectInfo]) -> None:
        """Remember those of a page of a listing that may be links."""
        page = {info.key: info.version for info in objects if info.size <= _LARGEST_LISTED_BYTES}
        self._pages.appendleft((trio.current_time() + _LISTED_S, page))

    def is_listed_as(self, key: str, version: Version) -> bool:
        """Return whether a listing gave a key this version, which HEAD does not show for a link."""
        return self._listed_version(key) == version

    def removed(self, key: str) -> None:
        """Forget a key that is no longer there."""
        for _, page in self._pages:
            page.pop(key, None)

    async def find_dangling(self, key: str) -> ObjectInfo | None:
        """Return the link at `key`, None where nothing says that there may be one."""
        if self._listed_version(key) is None:
            return None
        try:
            _, info = await self.read(key)
        except (ObjectNotFound, NotALink):
            self.removed(key)
            return None
        return info

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
        info = link_info(key, link, seconds_ns(response.headers.get("date")))
        newest = self._pages[0][1] if self._pages else {}
        if 0 < len(newest) < _PAGE_KEYS:
            newest[key] = info.version
        else:
            self.listed([info])
        return info

    def _listed_version(self, key: str) -> Version | None:
        now_s = trio.current_time()
        while self._pages and self._pages[-1][0] < now_s:
            self._pages.pop()
        return next((page[key] for _, page in self._pages if key in page), None)


def _as_header(target: str) -> str:
    """Return a key as its bytes stand in a header: raw, as the SDKs send it. Raises: InvalidKey."""
    if target != target.strip() or not target.isprintable():
        raise InvalidKey(
            "a header cannot carry this target of a symlink", key=target, operation="make_symlink"
        )
    return target.encode().decode("latin-1")
