"""Listings of a folder in the order of keys, a page at a time, in a worker thread.

A directory sorts as its name with `/` behind it, so walking names in that order gives all keys in
theirs. The walk of a listing that goes on is kept for its next page: a folder of a million files
is read and sorted once, not once a page.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from bucketfs.errors import NotSupported
from bucketfs.storage.directory.failures import NOT_THERE
from bucketfs.storage.directory.folder import DIRECTORY, Folder
from bucketfs.storage.directory.labels import Labels
from bucketfs.storage.directory.layout import is_private
from bucketfs.storage.directory.markers import marker_info
from bucketfs.storage.directory.objects import listed_info
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes

KEPT_WALKS = 16
KEPT_S = 30.0
"""A walk shows the names of its beginning; after so long a page begins a new one."""

Entry = tuple[str, ObjectInfo | None]
"""A key with its info, or a common prefix with None."""

PageKey = tuple[str, str, str]


@dataclass(slots=True)
class _Walk:
    entries: Iterator[Entry]
    ahead: Entry
    begun_s: float


class Listings:
    """The listings of one folder. Methods block; they may run in any threads at the same time."""

    def __init__(self, folder: Folder, labels: Labels) -> None:
        self._folder = folder
        self._labels = labels
        self._walks: OrderedDict[PageKey, _Walk] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, prefix: str, delimiter: str, marker: str | None, limit: int) -> ListPage:
        """Return the page after `marker`. Raises: NotSupported for a delimiter that is not `/`."""
        if delimiter not in ("", "/"):
            raise NotSupported("a folder is listed with the delimiter / or none", key=prefix)
        walk = self._taken((prefix, delimiter, marker)) if marker is not None else None
        begun_s = walk.begun_s if walk else time.monotonic()
        entries = walk.entries if walk else self._begun(prefix, bool(delimiter), marker)
        ahead = walk.ahead if walk else next(entries, None)
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = marker or ""
        while ahead is not None and len(objects) + len(prefixes) < limit:
            last, info = ahead
            if info is None:
                prefixes.append(last)
            else:
                objects.append(info)
            ahead = next(entries, None)
        if ahead is None:
            return ListPage(objects, prefixes, None)
        self._keep((prefix, delimiter, last), _Walk(entries, ahead, begun_s))
        return ListPage(objects, prefixes, last)

    def close(self) -> None:
        """Drop the walks that are kept, with their open directories."""
        with self._lock:
            walks = list(self._walks.values())
            self._walks.clear()
        for walk in walks:
            _close(walk)

    def _taken(self, key: PageKey) -> _Walk | None:
        with self._lock:
            walk = self._walks.pop(key, None)
        if walk is not None and time.monotonic() - walk.begun_s > KEPT_S:
            _close(walk)
            return None
        return walk

    def _keep(self, key: PageKey, walk: _Walk) -> None:
        dropped: list[_Walk] = []
        with self._lock:
            if key in self._walks:
                dropped.append(self._walks.pop(key))
            self._walks[key] = walk
            while len(self._walks) > KEPT_WALKS:
                dropped.append(self._walks.popitem(last=False)[1])
        for old in dropped:
            _close(old)

    def _begun(self, prefix: str, is_flat: bool, marker: str | None) -> Iterator[Entry]:
        base, _, start = prefix.rpartition("/")
        names = tuple(base.split("/")) if base or prefix.startswith("/") else ()
        if any(name in ("", ".", "..") for name in names) or (names and is_private(names[0])):
            return
        above = f"{base}/" if names else ""
        after = None if marker is None else key_bytes(marker)
        try:
            with self._folder.directory(names) as found:
                fd = os.dup(found)
        except OSError as exc:
            if exc.errno not in (*NOT_THERE, errno.ENAMETOOLONG) or self._is_bucket_gone():
                raise
            return
        if self._is_bucket_gone():
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "the bucket's folder was removed")
        yield from self._walk(fd, above, start, is_flat, after)

    def _walk(
        self, fd: int, above: str, start: str, is_flat: bool, after: bytes | None
    ) -> Iterator[Entry]:
        """Yield what is in the open directory `fd` after `after`, and close it."""
        try:
            if above and not start and (after is None or key_bytes(above) > after):
                yield from self._marker(fd, above)
            for name in _sorted_names(fd, above, start):
                key = above + name
                if after is not None and not _is_after(key, after, is_flat):
                    continue
                if not name.endswith("/"):
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            yield key, listed_info(key, status)
                elif is_flat:
                    yield key, None
                else:
                    below = _opened(fd, name[:-1])
                    if below is not None:
                        yield from self._walk(below, key, "", is_flat, after)
        finally:
            os.close(fd)

    def _marker(self, fd: int, key: str) -> Iterator[Entry]:
        label = self._labels.read(fd, key)
        if label is None or not label.is_implicit:
            info = marker_info(key, os.fstat(fd), label)
            yield key, ObjectInfo(key, 0, info.version, info.modified_ns)

    def _is_bucket_gone(self) -> bool:
        return os.fstat(self._folder.root).st_nlink == 0


def _sorted_names(fd: int, above: str, start: str) -> list[str]:
    """Return the names of files, and with `/` of directories, in the order of keys."""
    names: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name
            if not name.startswith(start) or (not above and is_private(name)):
                continue
            if entry.is_dir(follow_symlinks=False):
                names.append(name + "/")
            elif entry.is_file(follow_symlinks=False):
                names.append(name)
    names.sort(key=key_bytes)
    return names


def _is_after(key: str, after: bytes, is_flat: bool) -> bool:
    found = key_bytes(key)
    if found > after:
        return True
    # A directory that was begun has more keys behind the marker.
    return not is_flat and key.endswith("/") and after.startswith(found)


def _opened(above: int, name: str) -> int | None:
    try:
        return os.open(name, DIRECTORY, dir_fd=above)
    except OSError as exc:
        if exc.errno in NOT_THERE:
            return None
        raise


def _close(walk: _Walk) -> None:
    close = getattr(walk.entries, "close", None)
    if close is not None:
        close()
