"""Asking the mount process behind a mount point."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from bucketfs.control import places
from bucketfs.control.reports import Report
from bucketfs.errors import ConfigurationError

ANSWER_TIMEOUT_S = 30.0
"""A live mount sends a report far more often than this, whatever it is waiting for."""
_LONGEST_ANSWER_BYTES = 64 << 20
"""Root asks the mounts of other users as well, who may answer whatever they like."""
QUICK_TIMEOUT_S = 5.0
"""For questions that need no request: a process that is alive answers them from memory."""


class ControlClient:
    """Asks the mount process behind a mount point. Blocking; for commands, not for the mount.

    `owner_uid` is who mounted (default: you); root may ask the mounts of others.
    """

    def __init__(self, mountpoint: Path, owner_uid: int | None = None) -> None:
        self._path = places.find(mountpoint, ".sock", owner_uid)

    def is_alive(self) -> bool:
        """Return whether a mount process answers at all."""
        try:
            return bool(self.status())
        except (OSError, ConfigurationError):
            return False

    def status(self) -> Report:
        """Return one report. Raises: OSError where no mount process listens, or none answers."""
        return next(self._ask("status", timeout_s=QUICK_TIMEOUT_S))

    def ask(
        self, question: str, *, timeout_s: float = QUICK_TIMEOUT_S, **details: object
    ) -> Report:
        """Return the answer to a question, which mostly needs no request. Raises: OSError.

        Raises: ConfigurationError where the mount process says that it cannot be answered.
        """
        for answer in self._ask(question, timeout_s=timeout_s, **details):
            return answer
        raise ConnectionResetError("the mount process ended while it was answering")

    def statistics(self, *, has_histograms: bool = False) -> Report:
        """Return what was counted since the mount. Raises: OSError."""
        return self.ask("stats", has_histograms=has_histograms)

    def pending(self) -> list[Report]:
        """Return what is not in the bucket, one object a file. Raises: OSError."""
        files: list[Report] = []
        for answer in self._ask("pending", timeout_s=QUICK_TIMEOUT_S):
            files += answer["files"]
            if answer["is_last"]:
                return files
        raise ConnectionResetError("the mount process ended while it was answering")

    def sync(self, path: Sequence[str] = ()) -> Iterator[Report]:
        """Have what is at and below a path saved; yield reports, the last with "failed".

        `path` are the names that lead there from the mount point. Raises: OSError.
        """
        return self._ask("sync", path=list(path))

    def warm_up(self, paths: Sequence[Sequence[str]]) -> Iterator[Report]:
        """Have what is at and below paths in the disk cache; yield reports, the last with "failed".

        It ends when the iterator is closed. Raises: OSError, ConfigurationError (no disk cache).
        """
        return self._ask("warmup", paths=[list(path) for path in paths])

    def drain(self, *, is_last: bool = False) -> Iterator[Report]:
        """Have everything saved; yield reports, one of them, after which none comes, with "failed".

        No changes are let in until the iterator is closed (or the mount ends). `is_last`: what
        failed is not tried again when the mount ends. Raises: OSError.
        """
        return self._ask("drain", is_last=is_last)

    def watch(self) -> Iterator[Report]:
        """Yield reports until the process ends, the last with "exit_status". Raises: OSError.

        The connection stands when this returns, so that no end is missed.
        """
        return self._ask("watch")

    def _ask(
        self, command: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: object
    ) -> Iterator[Report]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(self._path))
            asked = {"command": command, **arguments}
            connection.sendall(json.dumps(asked).encode() + b"\n")
        except OSError:
            connection.close()
            raise
        return _read_reports(connection)


def _read_reports(connection: socket.socket) -> Iterator[Report]:
    """Yield what the server says until it closes the connection."""
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline(_LONGEST_ANSWER_BYTES):
            report = json.loads(line)
            if "error" in report:
                raise ConfigurationError(f"the mount process answers: {report['error']}")
            yield report
