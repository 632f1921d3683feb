"""Read one version of one object at the speed of the wire, for all handles that have it open.

Sequential readers are served by long ranged reads that run ahead of them (`streams`), how far is
decided by `window`; random readers get what they ask for. Each byte range is fetched once, however
many wait for it, and every request is pinned to the version: a replaced object is `ObjectChanged`,
never mixed bytes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence

import trio

from bucketfs.counting import causes
from bucketfs.errors import ConfusedServer, ObjectChanged, ObjectNotFound, StorageError
from bucketfs.pagecache.blocks.source import Source
from bucketfs.pagecache.budget import Budget
from bucketfs.pagecache.buffers import Buffers
from bucketfs.pagecache.cursor import Cursor
from bucketfs.pagecache.streams import Stream
from bucketfs.pagecache.window import (
    BACKWARD_SEEK,
    KIB,
    PARALLEL_SEGMENT,
    ReadSettings,
    is_nearly_received,
    page_ceil,
    page_floor,
    segment_end,
    tail_start,
)
from bucketfs.storage.interface import ObjectInfo

logger = logging.getLogger(__name__)

IDLE_S = 1.0
"""After so long without a read, what a run fetched ahead is given to whoever needs memory."""
SMALLEST_CHUNK = 128 * KIB


class ObjectReader:
    """The bytes of one version of an object in `source`; any number of tasks read at once, in trio.

    `data` is the whole object where somebody has it already: then nothing is ever requested.
    Memory is counted in `budget`, save that each reader that waits gets its one request's worth.
    Requests run in `nursery` and outlive a cancelled `read`, because others may share them.
    """

    def __init__(
        self,
        source: Source,
        info: ObjectInfo,
        *,
        budget: Budget,
        nursery: trio.Nursery,
        settings: ReadSettings | None = None,
        data: bytes | None = None,
    ) -> None:
        if data is not None and len(data) != info.size:
            raise ValueError(f"{len(data)} bytes given for an object of {info.size}")
        self.info = info
        self._source = source
        self._budget = budget
        self._nursery = nursery
        self._settings = settings or ReadSettings()
        self._data = None if data is None else memoryview(data)
        share = page_floor(budget.limit_bytes // 32)
        chunk_bytes = min(self._settings.chunk_bytes, max(SMALLEST_CHUNK, share))
        self._buffers = Buffers(budget, chunk_bytes)
        self._ahead_bytes = max(
            2 * chunk_bytes, min(self._settings.ahead_bytes, budget.limit_bytes // 8)
        )
        self._cursors: list[Cursor] = []
        self._changed: ObjectChanged | None = None
        self._is_closed = False
        budget.add_reclaimer(self._reclaim)

    async def read(self, start: int, length: int) -> Sequence[bytes | memoryview]:
        """Return bytes `start` to `start + length` in pieces, without copying.

        The range lies within `info.size`. Not a checkpoint where the bytes are in memory. The
        pieces stay valid as long as they are held. Cancelled, the request goes on for others.
        Raises: ObjectChanged (and from then on always) where the object is not `info.version`
        any more; any other StorageError once, the next read tries again.
        """
        if self._data is not None:
            return (self._data[start : start + length],)
        end = start + length
        if start < 0 or length < 0 or end > self.info.size:
            raise ValueError(f"bytes {start} to {end} of an object of {self.info.size}")
        cursor = self._cursor_for(start, length)
        self._steer(cursor, start)
        self._ask(cursor, start, end)
        self._read_ahead(cursor)
        views: list[bytes | memoryview] = []
        while start < end:
            self._check_usable()
            stream = self._holding(start, cursor) or self._fetch(cursor, start, end)
            stop = min(end, stream.end)
            if stream.front < stop:
                cursor.has_stalled = True
                await stream.wait(start, stop)
            # ATOMIC: what has arrived is not given back between the wait and the views.
            stop = min(stop, stream.front)
            if stream.kept_from <= start < stop:
                views += stream.views(start, stop)
                start = stop
        if not self._buffers.has_memory():
            # Who was served may stay away for long: nothing that it has passed waits for it.
            cursor.drop_passed()
        return views

    @property
    def held_bytes(self) -> int:
        """How many bytes are in memory."""
        if self._data is not None:
            return self._data.nbytes
        streams = (stream for cursor in self._cursors for stream in cursor.streams)
        return sum(stream.front - stream.kept_from for stream in streams)

    def moved(self, info: ObjectInfo) -> None:
        """Say that the same bytes are now `info`'s key and version; requests under way go on."""
        self.info = info
        self._changed = None

    def close(self) -> None:
        """Stop what runs and give back the memory; reads that wait fail; views stay valid.

        A request that stands in the network ends by itself, in the nursery, with its next bytes.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._budget.remove_reclaimer(self._reclaim)
        for cursor in self._cursors:
            cursor.drop()
        self._cursors.clear()
        self._buffers.close()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("the reader is closed")
        if self._changed is not None:
            raise copy.copy(self._changed) from self._changed

    def _cursor_for(self, start: int, length: int) -> Cursor:
        """Return the cursor whose run this read goes on with, or a new one; most recent last."""
        self._check_usable()
        for cursor in reversed(self._cursors):
            if cursor.run.reaches(start, length):
                break
        else:
            self._forget_longest_unused()
            cursor = Cursor(start, self._settings)
            self._cursors.append(cursor)
        if cursor is not self._cursors[-1]:
            self._cursors.remove(cursor)
            self._cursors.append(cursor)
        cursor.used_s = trio.current_time()
        cursor.run.advance(start, start + length)
        return cursor

    def _forget_longest_unused(self) -> None:
        if len(self._cursors) < self._settings.max_runs:
            return
        for cursor in self._cursors:
            if not cursor.is_waited_for:
                cursor.drop()
                self._cursors.remove(cursor)
                return

    def _holding(self, offset: int, cursor: Cursor) -> Stream | None:
        """Return a stream that has the byte at `offset` or will have it; `cursor`'s own first."""
        for stream in cursor.streams:
            if stream.holds(offset):
                return stream
        for other in self._cursors:
            for stream in other.streams:
                if stream.holds(offset):
                    return stream
        return None

    def _steer(self, cursor: Cursor, start: int) -> None:
        """Let the streams of `cursor` go on, and drop what it has passed before `start`."""
        limit = cursor.run.position + self._ahead_of(cursor)
        # Bytes kept for reads that come out of order are a luxury.
        kept = BACKWARD_SEEK if self._buffers.has_memory() else 0
        passed = min(start, cursor.run.position - kept)
        for stream in tuple(cursor.streams):
            stream.allow(limit)
            stream.drop_before(passed)
            if stream.is_finished and stream.front <= passed:
                cursor.streams.remove(stream)

    def _ask(self, cursor: Cursor, start: int, end: int) -> None:
        """Begin requests for those of the bytes `start` to `end` that nobody has or fetches."""
        start = self._covered_from(start, cursor)
        while start < end:
            self._fetch(cursor, start, end)
            start = self._covered_from(start, cursor)

    def _read_ahead(self, cursor: Cursor) -> None:
        """Begin the requests beyond the run's position that are due."""
        if not cursor.run.is_sequential:
            return
        position = cursor.run.position
        ahead = self._ahead_of(cursor)
        covered = self._covered_from(position, cursor)
        while covered < self.info.size and covered < position + ahead:
            if not self._buffers.has_memory():
                self._buffers.ask_for_memory(trio.lowlevel.current_trio_token())
                return
            if not self._is_next_due(cursor, covered, ahead) or not causes.may_ask():
                return
            covered = self._fetch(cursor, covered, covered).end

    def _is_next_due(self, cursor: Cursor, covered: int, ahead: int) -> bool:
        """Say whether a request from `covered` on should begin now."""
        running = [stream for stream in cursor.streams if not stream.is_stopped]
        window = cursor.run.window(cursor.ceiling)
        if cursor.count.streams > 1:
            is_wanted = covered - cursor.run.position < min(window, ahead)
            return is_wanted and len(running) < cursor.count.streams
        if covered - cursor.run.position > min(window, ahead) // 2:
            # Refilled at half: a reader of a header only, or a slow one, has enough for now.
            return False
        return not running or (
            len(running) == 1 and is_nearly_received(window, running[0].missing_bytes)
        )

    def _ahead_of(self, cursor: Cursor) -> int:
        """Return how many bytes may be ahead of the reader: a segment for each parallel stream."""
        if cursor.count.streams == 1:
            return self._ahead_bytes
        most = max(self._ahead_bytes, self._budget.limit_bytes // 2)
        return min(most, PARALLEL_SEGMENT * cursor.count.streams)

    def _covered_from(self, offset: int, cursor: Cursor) -> int:
        """Return where the first byte from `offset` on is that nobody has or fetches."""
        while (stream := self._holding(offset, cursor)) is not None:
            offset = stream.front if stream.is_stopped else stream.end
        return offset

    def _fetch(self, cursor: Cursor, start: int, asked_end: int) -> Stream:
        """Begin a request for `start` to at least `asked_end`, and more where a run goes on."""
        causes.check_may_ask()  # not in the request: others may wait for it who are not refused
        size = self.info.size
        if size <= self._settings.whole_bytes:
            start, end = 0, size
        else:
            start = self._begin(cursor, start)
            end = segment_end(cursor.run, start, asked_end, size, cursor.window_limit())
            end = self._next_held(start, end)
        stream = Stream(
            start,
            end,
            max(cursor.run.position + self._ahead_of(cursor), page_ceil(asked_end)),
            buffers=self._buffers,
            pause_s=self._settings.pause_s,
            streams_beside=cursor.count.streams,
        )
        cursor.streams.append(stream)
        cursor.streams.sort(key=lambda each: each.start)
        self._nursery.start_soon(self._carry_out, cursor, stream, name="read ahead")
        return stream

    def _begin(self, cursor: Cursor, start: int) -> int:
        """Return where to begin: a small gap that reordered reads left will be asked for too.

        So will what is before a first read near the end: archives and columnar files have their
        directory there, and are read backwards from the last bytes.
        """
        if cursor.run.is_sequential:
            before = _last_end(cursor.streams, start)
            return before if before > 0 and start - before <= BACKWARD_SEEK else page_floor(start)
        tail = tail_start(self.info.size, start)
        held = max(_last_end(each.streams, start) for each in self._cursors)
        return max(tail, held)

    def _next_held(self, start: int, end: int) -> int:
        """Return the end of a request from `start` that fetches nothing that is here already."""
        for cursor in self._cursors:
            for stream in cursor.streams:
                if start < stream.kept_from < end and stream.holds(stream.kept_from):
                    end = stream.kept_from
        return end

    async def _carry_out(self, cursor: Cursor, stream: Stream) -> None:
        """Run the request of `stream`; its error goes to those who wait for it, never further."""
        info = self.info
        error: StorageError | None = ConfusedServer(
            "the request ended without an answer", key=info.key, operation="read"
        )
        try:
            await self._source.read_range(
                info.key, stream.start, stream.end - stream.start, stream, info.version
            )
            error = self._shortness(stream, info)
        except (ObjectChanged, ObjectNotFound) as exc:
            error = self._lost_version(exc, info)
        except StorageError as exc:
            error = exc
        except Exception as exc:
            logger.exception("a bug while reading %r", info.key)
            error = StorageError("reading failed by a bug", key=info.key, operation="read")
            error.__cause__ = exc
        finally:
            # Also where the mount is being torn down: nobody may be left waiting.
            stream.finish(error)
        self._finished(cursor, stream)

    def _finished(self, cursor: Cursor, stream: Stream) -> None:
        """Keep what a finished stream brought if somebody may still want it, and go on."""
        if self._is_closed or cursor not in self._cursors:
            stream.drop_all()
            return
        cursor.learn(stream, self._settings)
        if stream.error is not None:
            logger.debug("read ahead: %s", stream.error)
        elif not stream.was_ended_early:
            self._read_ahead(cursor)

    def _shortness(self, stream: Stream, info: ObjectInfo) -> StorageError | None:
        """Return the error of an answer that ended before the object does, None for a good one."""
        if stream.front >= stream.end or stream.was_ended_early:
            return None
        return ConfusedServer(
            f"the object ends at byte {stream.front} though it has {info.size}",
            key=info.key,
            operation="read",
        )

    def _lost_version(self, exc: StorageError, info: ObjectInfo) -> StorageError | None:
        """Return the error for a version that is gone, None where it has moved meanwhile."""
        if self.info is not info:
            return None
        if isinstance(exc, ObjectChanged):
            self._changed = exc
            return exc
        gone = ObjectChanged(
            "the object that is open was deleted",
            key=exc.key,
            operation=exc.operation,
            request_id=exc.request_id,
        )
        gone.__cause__ = exc
        return gone

    def _reclaim(self, count: int) -> int:
        """Free what is idle or was passed by its reader, up to about `count` bytes."""
        used_before = self._budget.used_bytes
        self._buffers.drain(count)
        idle_before_s = trio.current_time() - IDLE_S
        for cursor in tuple(self._cursors):
            freed = used_before - self._budget.used_bytes
            if freed >= count:
                break
            if cursor.used_s <= idle_before_s and not cursor.is_waited_for:
                cursor.drop()
            else:
                cursor.drop_passed()
            self._buffers.drain(count - freed)
        return max(0, used_before - self._budget.used_bytes)


def _last_end(streams: Iterable[Stream], offset: int) -> int:
    """Return where the last of `streams` that end up to `offset` does, -1 where none."""
    ends = (stream.front if stream.is_stopped else stream.end for stream in streams)
    return max((end for end in ends if end <= offset), default=-1)
