"""The way to the background: what the waiting process learns of its child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import json, os, signal, sys, time
from bucketfs.cli.daemon import start_daemon

# Who starts the tests in the background of a shell starts them with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def serve(ready):
    {body}

outcome = start_daemon(serve, lambda exc: f"{{type(exc).__name__}}: {{exc}}")
print(json.dumps(outcome.error))
"""


def outcome_of(body: str, *arguments: str) -> str | None:
    """Return the error that a parent learns whose child runs `body` (None: it is up)."""
    program = PROGRAM.format(body=body.replace("\n", "\n    "))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    error: str | None = json.loads(done.stdout)
    return error


def test_a_daemon_that_is_ready_lets_its_parent_go_and_lives_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    body = f"""ready()
time.sleep(0.2)
with open({str(state)!r} + ".new", "w") as file:
    json.dump([os.getcwd(), os.getsid(0) == os.getpid(), os.isatty(0)], file)
os.rename({str(state)!r} + ".new", {str(state)!r})
return 0"""
    # Reading its output to the end shows that the daemon does not hold the terminal.
    assert outcome_of(body) is None
    deadline = time.monotonic() + 10
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert json.loads(state.read_text()) == ["/", True, False]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('no such bucket')", "ValueError: no such bucket"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return 1", "the mount ended before it was ready"),
        ("os._exit(7)", "the mount process ended with status 7 before the mount was ready"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the mount process was ended by SIGKILL"),
    ],
)
def test_a_failed_start_is_told(body: str, error: str) -> None:
    assert outcome_of(body) == error


def test_an_interrupt_while_waiting_ends_the_child(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(10) != 0
    finally:
        parent.kill()
        parent.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
