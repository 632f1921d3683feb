"""Listings with delimiter, marker and limit over drivers that only iterate below a prefix.

A walk is kept open between two pages, so that a listing of n objects costs n/1000 requests and
not the square of that; what a delimiter joins is still walked over. A walk whose place was taken
(or that has read ahead of a change that this store made) begins anew and skips.
Everything here blocks but `changed`.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator

from bucketfs.errors import ConfusedServer, InvalidRequest, ObjectNotFound, Transient
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes
from bucketfs.storage.libcloud.drivers import DriverPool, Lease, Traits
from bucketfs.storage.libcloud.refusals import speaking
from bucketfs.storage.libcloud.values import info_of

_OPEN_WALKS = 8
_MOST_SCANNED = 20_000
"""Objects that one page walks over at most: it may have fewer entries than asked for, or none."""


class Walk:
    """One iteration below a prefix, with the driver that it needs until its end."""

    def __init__(self, lease: Lease, traits: Traits, prefix: str) -> None:
        self.lease = lease
        self.prefix = prefix
        self.is_stale = False
        """A key below `prefix` was changed after bytes of this walk may have been read."""
        self._traits = traits
        self._infos: Iterator[ObjectInfo] | None = None
        self._last = ""

    def step(self) -> ObjectInfo | None:
        """Return the next object, None at the end. Raises: BucketNotFound."""
        if self._infos is None:
            self._infos = self._ordered() if self._traits.is_local else self._ascending()
        try:
            with speaking(self.lease, "list"):
                return next(self._infos, None)
        except ObjectNotFound as exc:
            # The local driver looks at each file that it found, which may be gone by then.
            message = "the container changed while it was listed"
            raise Transient(message, operation="list") from exc

    def _ascending(self) -> Iterator[ObjectInfo]:
        for info in self._all():
            if key_bytes(info.key) <= key_bytes(self._last):
                raise ConfusedServer("the driver does not list in order", operation="list")
            self._last = info.key
            yield info

    def _ordered(self) -> Iterator[ObjectInfo]:
        """Yield what the local driver has: it walks all before its first word, and so do we."""
        found = (info for info in self._all() if info.key.startswith(self.prefix))
        yield from sorted(found, key=lambda info: key_bytes(info.key))

    def _all(self) -> Iterator[ObjectInfo]:
        container = self.lease.container
        # The local driver filters no better than we do, and warns of it.
        prefix = None if self._traits.is_local else self.prefix or None
        for found in self.lease.driver.iterate_container_objects(container, prefix=prefix):
            yield info_of(found, self._traits, is_listed=True)


class Lister:
    """Lists one container. Methods may be called in any threads at the same time."""

    def __init__(self, pool: DriverPool, traits: Traits) -> None:
        self._pool = pool
        self._traits = traits
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: OrderedDict[int, Walk] = OrderedDict()
        self._walking: set[Walk] = set()

    def first(self, prefix: str) -> ObjectInfo | None:
        """Return the first object below `prefix`, None where there is none."""
        with self._pool.lease() as lease:
            return Walk(lease, self._traits, prefix).step()

    def page(self, prefix: str, delimiter: str, marker: str | None, limit: int) -> ListPage:
        """Return the next page. Raises: BucketNotFound."""
        number, last = _place(marker)
        walk = self._resumed(number, prefix)
        try:
            page, last, is_done = self._collect(walk, delimiter, last, limit)
        except BaseException:
            self._end(walk)
            raise
        if is_done:
            self._end(walk)
            return ListPage(*page, None)
        return ListPage(*page, f"{self._keep(walk)}:{last}")

    def changed(self, key: str) -> None:
        """Say that this store has written or deleted `key`."""
        with self._lock:
            for walk in (*self._walking, *self._waiting.values()):
                if key.startswith(walk.prefix):
                    walk.is_stale = True

    def close(self) -> None:
        """Give back the drivers of walks that nobody goes on with."""
        with self._lock:
            walks = list(self._waiting.values())
            self._waiting.clear()
        for walk in walks:
            self._pool.give(walk.lease)

    def _collect(
        self, walk: Walk, delimiter: str, last: str, limit: int
    ) -> tuple[tuple[list[ObjectInfo], list[str]], str, bool]:
        """Return objects and prefixes after `last`, the last key that was seen, and if it ended."""
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        joined = _joined(last, walk.prefix, delimiter)
        passed = key_bytes(last)
        scanned = 0
        while len(objects) + len(prefixes) < limit and scanned < _MOST_SCANNED:
            info = walk.step()
            if info is None:
                return (objects, prefixes), last, True
            if key_bytes(info.key) <= passed:
                continue
            scanned += 1
            last = info.key
            below = _joined(last, walk.prefix, delimiter)
            if below is None:
                objects.append(info)
            elif below != joined:
                prefixes.append(below)
            joined = below
        return (objects, prefixes), last, False

    def _resumed(self, number: int, prefix: str) -> Walk:
        with self._lock:
            walk = self._waiting.pop(number, None)
        if walk is None or walk.is_stale:
            # Our place, if it is still known, is taken over with its driver.
            lease = walk.lease if walk is not None else self._pool.take()
            walk = Walk(lease, self._traits, prefix)
        with self._lock:
            self._walking.add(walk)
        return walk

    def _keep(self, walk: Walk) -> int:
        number = next(self._numbers)
        with self._lock:
            self._walking.discard(walk)
            self._waiting[number] = walk
            dropped = []
            while len(self._waiting) > _OPEN_WALKS:
                dropped.append(self._waiting.popitem(last=False)[1])
        for other in dropped:
            self._pool.give(other.lease)
        return number

    def _end(self, walk: Walk) -> None:
        with self._lock:
            self._walking.discard(walk)
        self._pool.give(walk.lease)


def _joined(key: str, prefix: str, delimiter: str) -> str | None:
    """Return the common prefix that `key` is shown as; None where it is shown as itself."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if end < 0 else key[: end + len(delimiter)]


def _place(marker: str | None) -> tuple[int, str]:
    if marker is None:
        return 0, ""
    number, separator, last = marker.partition(":")
    if not separator or not number.isdigit():
        raise InvalidRequest("not a marker of this store", operation="list")
    return int(number), last
