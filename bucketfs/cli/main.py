"""The command line: how a command runs, and how an error looks to a person.

An error is one line, `bucketfs: error: ...`, and exit status 1 (2 where the command itself was
written wrongly); a traceback only with `--debug`. Each command imports what it needs when it runs,
so that `--help` and shell completion answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from bucketfs.cli import (
    commands_mounting,
    commands_saving,
    commands_seeing,
    commands_settings,
    commands_system,
    commands_watching,
)
from bucketfs.cli.app import app
from bucketfs.errors import BucketfsError

__all__ = ["COMMANDS", "app", "main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    commands_mounting,
    commands_saving,
    commands_seeing,
    commands_settings,
    commands_system,
    commands_watching,
)
"""Their commands are those of `app`, in this order, once they are imported."""

# click's own class, whether typer brings its own click or uses the package.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> NoReturn:
    """Run the command that argv asks for and exit with its status."""
    is_debug = "--debug" in sys.argv
    try:
        status = app(standalone_mode=False)
    except _UsageError as exc:
        context = getattr(exc, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        message = exc.format_message() if hasattr(exc, "format_message") else str(exc)
        _leave(f"{message}{hint}" if message else "", EXIT_USAGE)
    except (typer.Abort, KeyboardInterrupt):
        _leave("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; the flush at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except (BucketfsError, OSError) as exc:
        if is_debug:
            raise
        _leave(str(exc), EXIT_FAILED)
    except Exception as exc:
        if is_debug:
            raise
        _leave(f"a bug: {type(exc).__name__}: {exc} (--debug shows where)", EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def _leave(message: str, status: int) -> NoReturn:
    if message:
        typer.echo(f"bucketfs: error: {' '.join(message.split())}", err=True)
    sys.exit(status)
