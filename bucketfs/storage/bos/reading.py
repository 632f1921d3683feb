"""Ranged reads of one version; symlinks are read as themselves, whole objects are verified."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bucketfs.storage.bos.calls import Calls
from bucketfs.storage.bos.checksums import CheckedSink
from bucketfs.storage.bos.headers import crc32_of, is_symlink, object_info
from bucketfs.storage.bos.links import Links, is_link
from bucketfs.storage.calling import Taking
from bucketfs.storage.interface import ObjectInfo, Sink, Version
from bucketfs.storage.ranges import check_range, checked_end, checked_version, range_headers
from bucketfs.storage.refusals import InvalidRange
from bucketfs.transport.exchange import Intake, Response


class RangeReader:
    """Reads from objects of one bucket."""

    def __init__(
        self, calls: Calls, links: Links, stat: Callable[[str], Awaitable[ObjectInfo]]
    ) -> None:
        self._calls = calls
        self._links = links
        self._stat = stat

    async def read(
        self, key: str, first: int, left: int, sink: Sink, if_version: Version | None
    ) -> ObjectInfo:
        """Put up to `left` bytes from `first` into `sink`; the version is compared before any.

        Raises: ObjectNotFound, ObjectChanged, ObjectArchived, ConfusedServer (wrong bytes came).
        """
        if if_version is not None and is_link(if_version):
            return await self._read_link(key, first, left, sink, if_version)
        headers = range_headers(first, left, if_version)
        passing = CheckedSink(sink)

        def intake(head: Response) -> Intake:
            if is_symlink(head.headers):
                return Intake(sink, 0)
            info = checked_version(object_info(key, head.headers), if_version)
            check_range(head, info, first, left)
            return Intake(passing, left)

        taking = Taking(intake, sink, left)
        try:
            response = await self._calls.send("GET", "read", key, headers=headers, intake=taking)
        except InvalidRange:
            info = checked_version(await self._stat(key), if_version)
            if is_link(info.version):
                return await self._read_link(key, first, left, sink, if_version)
            return checked_end(info, first)
        if is_symlink(response.headers):
            return await self._read_link(key, first, left, sink, if_version)
        info = object_info(key, response.headers)
        expected = crc32_of(response.headers)
        if expected is not None and first == 0 and passing.taken == info.size:
            passing.check(expected, key)
        return info

    async def _read_link(
        self, key: str, first: int, left: int, sink: Sink, if_version: Version | None
    ) -> ObjectInfo:
        link, info = await self._links.read(key)
        checked_version(info, if_version)
        data = link.text(key).encode("utf-8", "surrogateescape")[first : first + left]
        while data and (room := sink.room()).nbytes:
            count = min(len(data), room.nbytes)
            room[:count] = data[:count]
            sink.advance(count)
            data = data[count:]
        return info
