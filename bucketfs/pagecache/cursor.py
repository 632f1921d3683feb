"""Cursor: one sequential reading of an object, and the requests that feed it."""

from __future__ import annotations

import trio

from bucketfs.pagecache.streams import Stream
from bucketfs.pagecache.window import MIB, PARALLEL_SEGMENT, ReadSettings, Run, StreamCount

SMALLEST_CEILING = MIB
MEASURED_BYTES = 4 * MIB
"""Streams shorter than this say more of latency than of the connection's rate."""


class Cursor:
    """A run with the streams that feed it, ascending by offset."""

    __slots__ = ("ceiling", "count", "has_stalled", "run", "streams", "used_s")

    def __init__(self, start: int, settings: ReadSettings) -> None:
        self.run = Run(start)
        self.streams: list[Stream] = []
        self.count = StreamCount(settings.concurrency)
        self.ceiling = settings.max_window
        self.has_stalled = False
        self.used_s = trio.current_time()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for one of its streams."""
        return any(stream.is_waited_for for stream in self.streams)

    def window_limit(self) -> int:
        """Return the longest request for it now: short ones where several run side by side."""
        return min(self.ceiling, PARALLEL_SEGMENT) if self.count.streams > 1 else self.ceiling

    def learn(self, stream: Stream, settings: ReadSettings) -> None:
        """Take the experience of a finished stream: its rate, and whether there was memory."""
        if stream.was_short_of_memory:
            self.ceiling = max(SMALLEST_CEILING, self.ceiling // 2)
        else:
            self.ceiling = min(settings.max_window, self.ceiling * 2)
        if stream.received >= MEASURED_BYTES:
            self.count.observe(stream.rate, stream.streams_beside, self.has_stalled)
            self.has_stalled = False

    def drop(self) -> None:
        """Stop the streams and give back their memory, save what is waited for."""
        for stream in self.streams:
            stream.drop_all()

    def drop_passed(self) -> None:
        """Give back what the run has passed, though reads out of order might have wanted it."""
        for stream in self.streams:
            stream.drop_before(min(self.run.position, stream.front))
