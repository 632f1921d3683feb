"""Names of programs by the ids of their processes, as /proc has them at the moment.

The kernel tells the thread that asks; the name is that of its process, as `ps -c` shows it (15
bytes). Nothing is read before somebody wants to know: when a request to the store is made.
"""

from __future__ import annotations

import os
import threading

from bucketfs.counting.causes import Cause, Program

MOST_KNOWN = 1024
"""Processes whose names are remembered."""

EXITED = "exited"
"""The name of one that had ended before anybody looked."""
UNKNOWN = "unknown"
"""The name of one that cannot be seen: in another namespace (the kernel says 0), or hidden."""

_READ_BYTES = 2048
"""Enough for the lines of /proc/PID/status up to Tgid."""


class Programs:
    """Names by process (or thread) ids. Methods may be called in any thread."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._lock = threading.Lock()
        # By id: the thread's own name, and that of its process.
        self._known: dict[int, tuple[bytes, str]] = {}

    def of(self, cause: Cause) -> Program:
        """Return whom a cause belongs to; it is looked for once."""
        program = cause.program
        if program is None:
            program = cause.program = Program("program", self.name_of(cause.pid))
        return program

    def settled(self, cause: Cause) -> Cause:
        """Return a cause for what was promised to a process, which may be gone when it is done."""
        return Cause(0, self.of(cause))

    def name_of(self, pid: int) -> str:
        """Return the name of the process that a thread is of.

        One small read of /proc: a process that has become another program (exec) is told by its
        new name. A thread of the same id and name is taken for the one seen before.
        """
        if pid <= 0:
            return UNKNOWN
        own = self._read(f"{pid}/comm")
        with self._lock:
            known = self._known.get(pid)
        if own is None:
            return known[1] if known is not None else _missing(pid)
        if known is not None and known[0] == own:
            return known[1]
        leader = self._leader_of(pid)
        name = own if leader == pid else self._read(f"{leader}/comm") or own
        text = name.rstrip(b"\n").decode("utf-8", "backslashreplace")
        with self._lock:
            self._known.pop(pid, None)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[pid] = (own, text)
        return text

    def _leader_of(self, pid: int) -> int:
        """Return the id of the process that a thread is of."""
        for line in (self._read(f"{pid}/status") or b"").split(b"\n"):
            if line.startswith(b"Tgid:"):
                return int(line[5:])
        return pid

    def _read(self, name: str) -> bytes | None:
        try:
            number = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(number, _READ_BYTES)
            finally:
                os.close(number)
        except OSError:
            return None


def _missing(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return EXITED
    except OSError:
        return UNKNOWN
    return UNKNOWN
