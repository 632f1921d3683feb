"""Reads: ranges of one version, although drivers take no condition with a download.

Where the server shows an ETag that is the driver's hash, the answer to the range itself proves
its version, before a byte is passed on. Elsewhere the object is fetched whole into a temporary
file, looked at again, and read from there: the driver cannot say which version a range was of.
Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bucketfs.errors import ConfusedServer, ObjectChanged, Transient
from bucketfs.storage.headers import content_range, version_of
from bucketfs.storage.interface import ObjectInfo, Sink, Version
from bucketfs.storage.libcloud.drivers import DriverPool, Lease, Traits
from bucketfs.storage.libcloud.refusals import speaking
from bucketfs.storage.libcloud.spool import Spool, SpoolFile
from bucketfs.storage.libcloud.values import info_of, name_of
from bucketfs.storage.refusals import InvalidRange
from bucketfs.transport.exchange import Response


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a driver described it."""

    found: Any
    info: ObjectInfo


class Reader:
    """Looks at objects and reads them. Methods may be called in any threads at the same time."""

    def __init__(self, pool: DriverPool, traits: Traits, spool: Spool) -> None:
        self._pool = pool
        self._traits = traits
        self._spool = spool
        # None: not known yet; whether the ETag of an answer is the hash of the driver.
        self._shows_version: bool | None = None if traits.has_ranges else False

    @property
    def may_prove(self) -> bool:
        """Return whether a read of what was seen need not look again, as far as is known."""
        return self._shows_version is not False

    def look(self, key: str) -> Seen:
        """Return an object as it is now. Raises: ObjectNotFound, InvalidKey."""
        with self._pool.lease() as lease:
            return self._look(lease, key, "stat")

    def read(
        self,
        key: str,
        start: int,
        stop: int,
        sink: Sink,
        if_version: Version | None,
        known: Seen | None,
    ) -> Seen:
        """Put bytes `start` to `stop` into `sink`, where the object has them.

        `known` is an object seen before: good enough where the answer proves its version.
        Raises: ObjectNotFound, ObjectChanged (not `if_version`).
        """
        with self._pool.lease() as lease:
            if known is None or self._shows_version is not True or start >= stop:
                known = self._look(lease, key, "read")
            check_version(known.info, if_version, "read")
            stop = min(stop, known.info.size)
            if start >= stop:
                return known
            if self._shows_version is True:
                self._read_range(lease, known, start, stop, sink, if_version)
                return known
        file = self._spool.whole(key, known.info.version, lambda: self.fetch(known))
        file.pour(start, stop, sink)
        return known

    def fetch(self, seen: Seen) -> SpoolFile:
        """Return all bytes of the version that was seen. Raises: ObjectChanged."""
        key, file = seen.info.key, self._spool.file()
        with self._pool.lease() as lease:
            if seen.info.size:
                with hanging_up(lease), speaking(lease, "read", key):
                    file.fill(_stream(lease, seen.found))
                    is_proved = self._shows_version is True and self._is_of(lease.head, seen.info)
            else:
                is_proved = True
            if not is_proved:
                check_version(self._look(lease, key, "read").info, seen.info.version, "read")
        if file.size != seen.info.size:
            raise Transient(f"{file.size} bytes came, not {seen.info.size}", key=key)
        return file

    def _look(self, lease: Lease, key: str, operation: str) -> Seen:
        name = name_of(key, self._traits, operation)
        with speaking(lease, operation, key):
            found = lease.driver.get_object(lease.container.name, name)
            head = lease.head
            info = info_of(found, self._traits, head.headers if head is not None else None)
        if self._shows_version is None and head is not None:
            self._shows_version = self._is_of(head, info)
        return Seen(found, info)

    def _read_range(
        self,
        lease: Lease,
        seen: Seen,
        start: int,
        stop: int,
        sink: Sink,
        if_version: Version | None,
    ) -> None:
        key = seen.info.key
        try:
            with hanging_up(lease), speaking(lease, "read", key):
                pieces = lease.driver.download_object_range_as_stream(seen.found, start, stop)
                pieces = iter(pieces)
                first = next(pieces, b"")  # some drivers ask only now
                if not self._is_of(lease.head, seen.info):
                    _refuse_other(key, if_version)
                _check_range(lease.head, seen.info, start, stop)
                _pour(first, pieces, stop - start, sink, key)
        except InvalidRange as exc:
            # It was long enough a moment ago.
            raise ObjectChanged("the object was replaced", key=key, operation="read") from exc

    def _is_of(self, head: Response | None, info: ObjectInfo) -> bool:
        if head is None or "etag" not in head.headers:
            return False
        return version_of(head.headers["etag"], 0, 0) == info.version


def check_version(info: ObjectInfo, if_version: Version | None, operation: str) -> None:
    """Raise ObjectChanged unless an object is the version asked for."""
    if if_version is not None and info.version != if_version:
        raise ObjectChanged("the object was replaced", key=info.key, operation=operation)


@contextmanager
def hanging_up(lease: Lease) -> Iterator[None]:
    """Drop what is left of an answer at the end of the block."""
    try:
        yield
    finally:
        lease.hang_up()


def _stream(lease: Lease, found: Any) -> Iterable[bytes]:
    stream: Iterable[bytes] = lease.driver.download_object_as_stream(found)
    return stream


def _refuse_other(key: str, if_version: Version | None) -> None:
    if if_version is not None:
        raise ObjectChanged("the object was replaced", key=key, operation="read")
    message = "the object was replaced between two requests"
    raise Transient(message, key=key, operation="read")


def _check_range(head: Response | None, info: ObjectInfo, start: int, stop: int) -> None:
    found = content_range(head.headers) if head is not None else None
    if found is not None and found != (start, stop - 1, info.size):
        raise ConfusedServer("another range came than was asked", key=info.key, operation="read")


def _pour(first: bytes, rest: Iterator[bytes], left: int, sink: Sink, key: str) -> None:
    piece = first
    while piece:
        if len(piece) > left:
            raise ConfusedServer("more bytes came than were asked", key=key, operation="read")
        left -= len(piece)
        view = memoryview(piece)
        while view.nbytes:
            room = sink.room()[: view.nbytes]
            if not room.nbytes:
                return
            room[:] = view[: room.nbytes]
            sink.advance(room.nbytes)
            view = view[room.nbytes :]
        piece = next(rest, b"")
    if left:
        raise Transient("the answer is shorter than announced", key=key, operation="read")
