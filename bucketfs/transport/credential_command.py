"""CommandKeys: a program that a person named gives the keys, as JSON on its standard output."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
from contextlib import suppress

import trio

from bucketfs import logs
from bucketfs.errors import ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.key_texts import keys_of_json

LIMIT_S = 60.0
"""As long as botocore waits: some programs ask a server, which may be slow."""
_MOST_LINES = 20
_MOST_CHARACTERS = 500

_log = logging.getLogger(__name__)


class CommandKeys:
    """Runs `command`, split into words as a shell does, but without a shell.

    `name` is for messages: the command itself may hold what nobody should see.
    """

    def __init__(self, command: str, name: str, *, limit_s: float = LIMIT_S) -> None:
        self._command = command
        self._name = name
        self._limit_s = limit_s

    async def find(self) -> Credentials:
        """Run it and return the keys that it gave. It is killed where it takes too long.

        What it writes to standard error goes to the log. Raises: ConfigurationError (it cannot be
        run, or its output is no keys), KeysUnavailable (it failed).
        """
        # In memory, not a pipe: it can be read although the program did not end by itself.
        complaints = os.memfd_create("complaints")
        is_well = False
        try:
            found = keys_of_json(await self._run(complaints), self._name)
            logs.hide_secrets(found.secret_key, found.session_token)
            is_well = True
            return found
        finally:
            self._log_lines(os.pread(complaints, _MOST_LINES * _MOST_CHARACTERS, 0), is_well)
            os.close(complaints)

    async def _run(self, complaints: int) -> bytes:
        try:
            words = shlex.split(self._command)
            with trio.fail_after(self._limit_s):
                done = await trio.run_process(
                    words,
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    stderr=complaints,
                    check=False,
                    deliver_cancel=_kill,
                    start_new_session=True,
                )
        except trio.TooSlowError:
            said = f"{self._name} did not end within {self._limit_s:g} s"
            raise KeysUnavailable(said, sent=False) from None
        except (OSError, ValueError, IndexError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "its quotes do not match"
            raise ConfigurationError(f"{self._name} cannot be run: {reason}") from None
        if done.returncode != 0:
            said = f"{self._name} failed with exit status {done.returncode}"
            raise KeysUnavailable(said, sent=False)
        return done.stdout or b""

    def _log_lines(self, complaints: bytes, is_well: bool) -> None:
        level = logging.INFO if is_well else logging.WARNING
        lines = complaints.decode("utf-8", "replace").splitlines()
        for line in lines[:_MOST_LINES]:
            shown = "".join(char if char.isprintable() else "?" for char in line)
            _log.log(level, "%s says: %s", self._name, shown[:_MOST_CHARACTERS])


async def _kill(process: trio.Process) -> None:
    """End it with everything that it started: it leads a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
