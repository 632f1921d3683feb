"""A person at a terminal: a program in a pseudo-terminal of its own, prompts, answers."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATIENCE_S = 30.0
INTERRUPT = "\x03"


@dataclass(frozen=True, slots=True)
class Session:
    """How a program on a terminal ended, and all that was on the screen."""

    status: int
    screen: str


def run_on_terminal(
    arguments: Sequence[str],
    dialogue: Sequence[tuple[str, str]],
    environment: Mapping[str, str] | None = None,
) -> Session:
    """Run bucketfs on a terminal; wait for each prompt of the dialogue, then type its answer."""
    child, screen = pty.fork()
    if child == 0:
        for name, text in (environment or {}).items():
            os.environ[name] = text
        os.execv(sys.executable, [sys.executable, "-m", "bucketfs", *arguments])
    seen, shown = "", ""
    try:
        for prompt, answer in dialogue:
            while prompt not in seen:
                text = _read(screen)
                assert text, f"{prompt!r} was not asked for: {shown!r}"
                seen, shown = seen + text, shown + text
            seen = seen[seen.index(prompt) + len(prompt) :]
            time.sleep(0.05)  # the terminal is told to hide what follows after the prompt is out
            os.write(screen, answer.encode() + (b"" if answer == INTERRUPT else b"\n"))
        while text := _read(screen):
            shown += text
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(screen)
    _, status = os.waitpid(child, 0)
    return Session(os.waitstatus_to_exitcode(status), shown.replace("\r\n", "\n"))


def _read(screen: int) -> str:
    """Return what is new on the screen; nothing when the program has ended."""
    ready, _, _ = select.select([screen], [], [], PATIENCE_S)
    assert ready, "the program waits for something else"
    try:
        return os.read(screen, 65536).decode()
    except OSError:
        return ""
