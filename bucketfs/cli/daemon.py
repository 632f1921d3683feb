"""Going to the background: the terminal's process waits until the mount answers or says why not.

The fork comes before trio, threads and connections exist: none of them survives one. The child
reports through a pipe, so that an error before the mount stands appears where it was typed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

_READY = b"ready\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the start of a daemon went; `error` is None where it is up."""

    error: str | None = None


Ready = Callable[[], None]
Service = Callable[[Ready], int]


def start_daemon(serve: Service, describe_error: Callable[[BaseException], str]) -> Outcome:
    """Run `serve(ready)` in a child process; return when it called `ready` or ended.

    The child is the leader of a session of its own, with `/` as its folder, and gives up the
    terminal when it is ready. An interrupt while waiting ends the child. Call it with one thread.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(serve, describe_error, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            # A daemon that is ready closes the pipe; one that dies does so too.
            report = pipe.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    if report == _READY:
        return Outcome()
    _, status = os.waitpid(child, 0)
    return Outcome(report.decode(errors="replace") or _describe_end(status))


def _run_child(
    serve: Service, describe_error: Callable[[BaseException], str], writer: int
) -> NoReturn:
    """Serve, then end this process without returning into the parent's program."""
    status = 1
    is_ready = False

    def ready() -> None:
        nonlocal is_ready
        is_ready = True
        _release_terminal()
        os.write(writer, _READY)
        os.close(writer)

    try:
        os.setsid()
        os.chdir("/")
        status = serve(ready)
        if not is_ready and status:
            os.write(writer, b"the mount ended before it was ready")
    except BaseException as exc:
        message = describe_error(exc)
        if not is_ready:
            os.write(writer, message.encode(errors="backslashreplace") or b"unknown error")
    finally:
        # Not sys.exit: the parent's buffers and exit handlers were inherited and are not ours.
        os._exit(status)


def _release_terminal() -> None:
    """Connect the standard streams to nothing, so that nobody waits for them to close."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)


def _describe_end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"the mount process was ended by {signal.Signals(-code).name}"
    return f"the mount process ended with status {code} before the mount was ready"
