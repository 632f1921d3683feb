"""A small service manager: it starts a mount, speaks sd_notify with it, and restarts what hangs.

As systemd does with Type=notify, WatchdogSec= and Restart=on-failure; only faster.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

POLL_S = 0.05


@dataclass
class Supervisor:
    """Runs `command` for the time of the block. `heard` are the datagrams so far, in order.

    Nothing is killed for missing its watchdog before it said READY=1 or after STOPPING=1.
    """

    command: Sequence[str]
    folder: Path
    watchdog_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Supervisor:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (self.folder / "notify").unlink(missing_ok=True)
        self._socket.bind(str(self.folder / "notify"))
        self._socket.settimeout(POLL_S)
        self._over = threading.Event()
        self._is_stopping = False
        self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._socket.close()

    @property
    def pid(self) -> int:
        """Return the process that runs now, or ran last."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """Return what the processes wrote."""
        return (self.folder / "service.log").read_text(errors="replace")

    def stop(self, limit_s: float) -> int:
        """Stop it as `systemctl stop` does, and return its exit status; it is not started again."""
        self._is_stopping = True
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def wait_heard(self, text: str, limit_s: float = 30, after: int = 0) -> int:
        """Wait for `text` behind the first `after` datagrams; return how many came by then."""
        end = time.monotonic() + limit_s
        while True:
            for number in range(after, len(self.heard)):
                if text in self.heard[number]:
                    return number + 1
            assert time.monotonic() < end, f"{text} was not heard: {self.heard}\n{self.log}"
            time.sleep(POLL_S)

    def _start(self) -> None:
        with open(self.folder / "service.log", "ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    **self.environment,
                    "NOTIFY_SOCKET": str(self.folder / "notify"),
                    "WATCHDOG_USEC": str(int(self.watchdog_s * 1e6)),
                },
            )
        self._alive_at: float | None = None

    def _watch(self) -> None:
        while not self._over.is_set():
            self._hear()
            assert self.process is not None
            is_late = (
                self._alive_at is not None and time.monotonic() - self._alive_at > self.watchdog_s
            )
            if is_late and not self._is_stopping:
                self.heard.append("(killed by the watchdog)")
                self.process.kill()
                self.process.wait()
            status = self.process.poll()
            if status is None or self._is_stopping:
                continue
            self.exits.append(status)
            if status == 0:
                return
            self._start()

    def _hear(self) -> None:
        try:
            text = self._socket.recv(4096).decode()
        except TimeoutError:
            return
        self.heard.append(text)
        lines = text.splitlines()
        if "READY=1" in lines or "WATCHDOG=1" in lines:
            self._alive_at = time.monotonic()
        if "STOPPING=1" in lines:
            self._alive_at = None
