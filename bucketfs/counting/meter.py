"""The meter: every request that is sent to the store, by what it asks for and by who caused it.

What sends requests (the HTTP client, or a store without a wire) begins one here before and ends it
afterwards, in whatever thread it runs, so that each attempt counts, as the server bills it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.histogram import Histogram
from bucketfs.counting.programs import Programs

MOST_PROGRAMS = 100
"""Programs that are told apart; beyond them the one with the fewest requests joins the others."""

OTHERS = Program("others", "others")
_TOO_MANY = 429


class Asked:
    """One request as it goes on. What carries it out fills it in.

    `status` is that of its answer (None: none came), `latency_s` until the answer's head had come.
    Bytes are of bodies. `is_failed`, where it is set, says more than the status does.
    """

    __slots__ = (
        "began_s",
        "cause",
        "is_failed",
        "latency_s",
        "operation",
        "received_bytes",
        "sent_bytes",
        "status",
    )

    def __init__(self, operation: str, cause: Cause) -> None:
        self.operation = operation
        self.cause = cause
        self.status: int | None = None
        self.latency_s: float | None = None
        self.sent_bytes = 0
        self.received_bytes = 0
        self.is_failed: bool | None = None
        self.began_s = time.monotonic()

    def answered(self, status: int) -> None:
        """Note that the head of an answer has come."""
        self.status = status
        self.latency_s = time.monotonic() - self.began_s

    def has_failed(self) -> bool:
        """Return whether no usable answer came: none at all, 5xx, or "too many requests".

        An answer like "there is none" or "not allowed" is no failure.
        """
        if self.is_failed is not None:
            return self.is_failed
        return self.status is None or self.status == _TOO_MANY or 500 <= self.status < 600


class _Sum:
    """What requests of one kind or of one program come to."""

    __slots__ = ("failures", "received_bytes", "requests", "sent_bytes")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.sent_bytes = 0
        self.received_bytes = 0

    def add(self, asked: Asked, is_failed: bool) -> None:
        """Count one request."""
        self.requests += 1
        if is_failed:
            self.failures += 1
        self.sent_bytes += asked.sent_bytes
        self.received_bytes += asked.received_bytes

    def report(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {name: getattr(self, name) for name in _Sum.__slots__}


class _OperationSum(_Sum):
    """What the requests of one operation come to."""

    __slots__ = ("in_flight", "latency", "retries")

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = 0
        self.retries = 0
        self.latency = Histogram()

    def details(self, *, has_histogram: bool) -> dict[str, Any]:
        """Return the figures by name, where asked for with the whole histogram."""
        found = {"histogram": self.latency.details()} if has_histogram else {}
        return {**found, **self.report()}

    def report(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            **super().report(),
            "retries": self.retries,
            "in_flight": self.in_flight,
            "latency_s": self.latency.report(),
        }


class _ProgramSum(_Sum):
    """What the requests of one program come to, and how many there are of each operation."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def take(self, other: _ProgramSum) -> None:
        """Add what another comes to."""
        for name in _Sum.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.operations.update(other.operations)


class Meter:
    """Counts requests. `begin`, `end` and `retried` may be called in any thread."""

    def __init__(self, programs: Programs | None = None, *, most_programs: int = MOST_PROGRAMS):
        self._programs = programs or Programs()
        self._most_programs = most_programs
        self._lock = threading.Lock()
        self._operations: dict[str, _OperationSum] = {}
        self._date: tuple[str, float] | None = None
        self._by_program: dict[Program, _ProgramSum] = {}

    def note_date(self, date: str | None) -> None:
        """Note what a server said of the time, just now (the Date of its answer)."""
        if date is not None:
            self._date = (date, time.time())

    def clock_skew_s(self) -> float | None:
        """Return how far the server's clock is before ours, within some seconds; None: unknown."""
        if self._date is None:
            return None
        parsed = parsedate_tz(self._date[0])
        return None if parsed is None else mktime_tz(parsed) - self._date[1]

    def begin(self, operation: str) -> Asked:
        """Begin to count a request for the cause of what goes on now; `end` must follow."""
        cause = causes.current()
        cause.has_waited = True
        with self._lock:
            self._operation(operation).in_flight += 1
        return Asked(operation, cause)

    def end(self, asked: Asked) -> None:
        """Count a request that is over."""
        program = self._programs.of(asked.cause)
        is_failed = asked.has_failed()
        with self._lock:
            total = self._operation(asked.operation)
            total.in_flight -= 1
            total.add(asked, is_failed)
            if asked.latency_s is not None:
                total.latency.add(asked.latency_s)
            share = self._program(program)
            share.add(asked, is_failed)
            share.operations[asked.operation] += 1

    @contextmanager
    def counting(self, operation: str) -> Iterator[Asked]:
        """Count what the block asks for."""
        asked = self.begin(operation)
        try:
            yield asked
        finally:
            self.end(asked)

    def retried(self, operation: str) -> None:
        """Count a request that failed and is made again."""
        with self._lock:
            self._operation(operation).retries += 1

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        with self._lock:
            return sum(total.in_flight for total in self._operations.values())

    @property
    def failures(self) -> int:
        """How many requests had no usable answer."""
        with self._lock:
            return sum(total.failures for total in self._operations.values())

    def totals(self) -> tuple[dict[str, int], int]:
        """Return the requests so far by operation, and the bytes that came."""
        with self._lock:
            found = {name: total.requests for name, total in self._operations.items()}
            return found, sum(total.received_bytes for total in self._operations.values())

    def report(self, *, has_histograms: bool = False) -> dict[str, Any]:
        """Return everything: `requests` by operation, `programs` by who caused most of them."""
        with self._lock:
            operations = {
                name: total.details(has_histogram=has_histograms)
                for name, total in sorted(self._operations.items())
            }
            programs = [
                {
                    "kind": program.kind,
                    "name": program.name,
                    **share.report(),
                    "operations": dict(share.operations.most_common()),
                }
                for program, share in self._by_program.items()
            ]
        programs.sort(key=lambda row: (-row["requests"], row["kind"], row["name"]))
        return {"requests": operations, "programs": programs}

    def _operation(self, name: str) -> _OperationSum:
        found = self._operations.get(name)
        if found is None:
            found = self._operations[name] = _OperationSum()
        return found

    def _program(self, program: Program) -> _ProgramSum:
        """Return the sum of a program, making room for a new one; the lock is held."""
        found = self._by_program.get(program)
        if found is not None:
            return found
        if len(self._by_program) >= self._most_programs:
            told_apart = (known for known in self._by_program if known != OTHERS)
            fewest = min(told_apart, key=lambda known: self._by_program[known].requests)
            shares = self._by_program
            shares.setdefault(OTHERS, _ProgramSum()).take(shares.pop(fewest))
        found = self._by_program[program] = _ProgramSum()
        return found
