"""Starting servers that others wrote: on free ports, until they answer, for as long as we live."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.servers.s3_server import RunningS3

READY_S = 60.0
ATTEMPTS = 4
PORTS = range(20_000, 32_000)
"""Below Linux's ephemeral ports: no connection of anybody takes one of these by chance."""

# Runs a command until it or our end of stdin ends: nothing is left behind, however we end.
_KEEPER = """
exec 3<&0
"$@" </dev/null 3<&- & pid=$!
(cat <&3 >/dev/null; kill -9 $pid 2>/dev/null) & watch=$!
wait $pid; code=$?
kill $watch 2>/dev/null
exit $code
"""


class NotReady(Exception):
    """A server ended, or did not answer in time; the message ends with its log's last lines."""


def program(*names: str) -> list[str]:
    """Return the paths of `names`, next to this Python or on PATH; skip (in CI: fail) without."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = {name: shutil.which(name, path=path) for name in names}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        message = f"not installed: {', '.join(missing)} (scripts/test installs it)"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return [place for place in found.values() if place is not None]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment.

    Taken at random: two test sessions on one machine hardly ever meet.
    """
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(
    server: Callable[[int], RunningS3],
    command: Callable[[int], Sequence[str]],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    is_stopped_by_stdin: bool = False,
) -> Iterator[RunningS3]:
    """Run `command(port)` until the block ends; begun again on another port if it fails.

    `is_stopped_by_stdin`: the command itself ends, with all its children, when its stdin does.
    """
    keeper = () if is_stopped_by_stdin else ("sh", "-c", _KEEPER, "sh")
    for attempt in range(1, ATTEMPTS + 1):
        port = free_port()
        with _kept([*keeper, *command(port)], log, environment) as process:
            try:
                _wait_until_ready(server(port), process, log)
            except NotReady:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield server(port)
            return


@contextlib.contextmanager
def _kept(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def _wait_until_ready(server: RunningS3, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    ends_s = time.monotonic() + READY_S
    reason = "no answer yet"
    while time.monotonic() < ends_s and process.poll() is None:
        try:
            client.list_buckets()
            return
        except (BotoCoreError, ClientError) as exc:
            reason = str(exc)
            time.sleep(0.2)
    last = b"\n".join(log.read_bytes().splitlines()[-15:]).decode(errors="replace")
    raise NotReady(f"{server.name} did not start ({reason}); its log ends with:\n{last}")
