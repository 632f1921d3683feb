"""How far to read ahead: the policy of sequential reading, pure.

Offsets, lengths and rates in; decisions out. No clock, no memory, no requests: `reader` does those.

A *run* is one sequential reading of an object (several may go on at once: header and body, two
processes). What is fetched ahead is never more than twice what was read of the run, so that random
reads cost what they ask for, and a run that goes on doubles its requests up to one long stream.
The constants are those of mountpoint-s3 (first request, seek tolerance) and goofys (kept tail).
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20
PAGE = 4 * KIB

FIRST_WINDOW = MIB + 128 * KIB
"""First request at the start of an object: Linux reads 128 KiB ahead of a first MiB."""
FORWARD_SEEK = 16 * MIB
BACKWARD_SEEK = MIB
"""Also how much of what was read is kept for readers that come out of order."""
REORDERED_REQUESTS = 4
"""How many requests of the kernel's read-ahead may overtake each other."""
PARALLEL_SEGMENT = 8 * MIB
"""Length of each request where several run side by side."""
FAST_STREAM = 120_000_000
"""Bytes a second of one stream above which more streams only cost the server more.

One connection to a cloud brings 50 to 100 MB/s; a server on a busy machine of its own brings more,
and three times the CPU went into serving one object by parallel requests.
"""
WORTHWHILE_GAIN = 1.3
"""More streams have to move this much more together, or they are given up."""
HOLD_SEGMENTS = 32
"""How many requests to wait, after more streams did not help, until they are tried again."""
DENSITY_SPAN = 16 * MIB
TAIL_BYTES = 128 * KIB
"""What comes along with a read near the end of an object: the footer of most Parquet files, the
directory of a zip file of a thousand names."""


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Limits of reading, the same for every object of a mount; sizes in bytes."""

    chunk_bytes: int = 2 * MIB
    """The unit in which memory is taken, and kept for reuse."""
    whole_bytes: int = MIB
    """Objects up to this size are fetched by one request, whatever is asked of them."""
    max_window: int = 128 * MIB
    """The longest request of a single stream (most of it waits on the wire, not in memory)."""
    ahead_bytes: int = 16 * MIB
    """How far the bytes in memory may be ahead of the reader, for each stream."""
    concurrency: int = 8
    """Most streams of one run side by side."""
    max_runs: int = 8
    """Runs remembered for one object; the longest unused is forgotten."""
    pause_s: float = 1.0
    """How long a stream may wait for its reader before its connection is given up."""


def page_floor(offset: int) -> int:
    """Return the start of the page that `offset` lies in."""
    return offset - offset % PAGE


def page_ceil(offset: int) -> int:
    """Return the end of the page that the byte before `offset` lies in."""
    return page_floor(offset + PAGE - 1)


class Run:
    """One sequential reading: where it is, how much it has read, what belongs to it."""

    __slots__ = ("_dense_bytes", "_dense_from", "_from_start", "position", "reads", "run_bytes")

    def __init__(self, start: int) -> None:
        self.position = start
        """The end of the furthest read."""
        self.run_bytes = 0
        """Bytes asked for since it began."""
        self.reads = 0
        self._from_start = start == 0
        self._dense_from = start
        self._dense_bytes = 0

    @property
    def is_sequential(self) -> bool:
        """Say whether reading ahead is likely to be of use: a second read, or the first at 0."""
        return self.reads >= 2 or (self._from_start and self.reads >= 1)

    def reaches(self, start: int, length: int) -> bool:
        """Say whether a read goes on with this run: next to it, or a seek that it tolerates."""
        reach = REORDERED_REQUESTS * length
        if self._is_dense():
            reach = max(reach, self.run_bytes)
        gap = start - self.position
        if gap >= 0:
            return gap <= min(reach, FORWARD_SEEK)
        return -gap <= min(reach + length, BACKWARD_SEEK + length)

    def advance(self, start: int, end: int) -> None:
        """Take a read that `reaches` into the run."""
        self.position = max(self.position, end)
        self.run_bytes += end - start
        self.reads += 1
        self._dense_bytes += end - start
        span = self.position - self._dense_from
        if span > DENSITY_SPAN:
            # Judge by the recent past: a run that begins to stride is no stream any more.
            self._dense_from += span // 2
            self._dense_bytes //= 2

    def window(self, ceiling: int) -> int:
        """Return how long the next request may be beyond what is asked: 0 to `ceiling` bytes."""
        if not self.is_sequential:
            return 0
        least = FIRST_WINDOW if self._from_start else 0
        return min(max(least, 2 * self.run_bytes), ceiling)

    def _is_dense(self) -> bool:
        """Say whether most of the span that the run went over was read."""
        span = self.position - self._dense_from
        return span <= 4 * self._dense_bytes


def segment_end(run: Run, start: int, asked_end: int, size: int, ceiling: int) -> int:
    """Return where a request from `start` should end: at least `asked_end`, at most `size`.

    What is left of the object comes along where it is less than half of the request.
    """
    end = max(page_ceil(asked_end), page_ceil(start + run.window(ceiling)))
    if run.is_sequential and size - end < (end - start) // 2:
        return size
    return min(end, size)


def tail_start(size: int, start: int) -> int:
    """Return where a request should begin of which a reader of no run wants the byte at `start`."""
    tail = page_floor(max(0, size - TAIL_BYTES))
    return tail if start >= tail else page_floor(start)


def is_nearly_received(window: int, missing: int) -> bool:
    """Say whether the next request should go out: `missing` bytes of the current are to come.

    A quarter of the window, at most 4 MiB: about what a wire carries while an answer begins.
    """
    return missing <= min(4 * MIB, max(window // 4, 256 * KIB))


class StreamCount:
    """How many streams a run uses side by side: found by trying, 1 unless more really help.

    On a near or busy server a second stream costs CPU and gains nothing; on a far one each
    connection is slow by itself and streams add up.
    """

    __slots__ = ("_before_trial", "_hold", "_limit", "streams")

    def __init__(self, limit: int) -> None:
        self.streams = 1
        self._limit = limit
        self._before_trial: float | None = None
        self._hold = 0

    def observe(self, rate: float, streams: int, has_stalled: bool) -> None:
        """Learn from a finished request: its bytes a second, with how many streams it ran.

        `has_stalled`: the reader had to wait since the last observation.
        """
        if streams != self.streams:
            return
        together = rate * streams
        if self._before_trial is not None:
            gain = together / max(self._before_trial, 1.0)
            self._before_trial = None
            if gain < WORTHWHILE_GAIN:
                self.streams = max(1, self.streams // 2)
                self._hold = HOLD_SEGMENTS
                return
        if self._hold:
            self._hold -= 1
            return
        if has_stalled and rate < FAST_STREAM and self.streams < self._limit:
            self._before_trial = together
            self.streams = min(self._limit, self.streams * 2)
