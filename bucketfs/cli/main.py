"""The command line: commands, help, and how an error looks to a person.

An error is one line, `bucketfs: error: ...`, and exit status 1 (2 where the command itself was
written wrongly); a traceback only with `--debug`. Each command imports what it needs when it runs,
so that `--help` and shell completion answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bucketfs import __version__
from bucketfs.errors import BucketfsError
from bucketfs.options import describe
from bucketfs.settings import SCHEMES

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# click's own class, whether typer brings its own click or uses the package.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_MOUNT_HELP = f"""Mount the bucket at URL on the directory MOUNTPOINT.

\b
URL is one of
{"".join(f"  {form:<40}{meaning}{chr(10)}" for form, meaning in SCHEMES.items())}
Returns when the mount answers. Credentials come from the environment
(AWS_ACCESS_KEY_ID, COS_SECRET_ID, BCE_ACCESS_KEY_ID, QINIU_ACCESS_KEY, LIBCLOUD_KEY
and their secrets), else from the files of the clouds' own tools.

\b
Options for -o (comma-separated; a comma in a value is written \\,):
{"".join(f"  {line}{chr(10)}" for line in describe().splitlines())}
The options of mount(8) are accepted too: nosuid, nodev, noexec, noatime,
_netdev, nofail, noauto, user, x-systemd.* and so on.
"""

_RECOVER_HELP = """Show or export the files that a mount left unsaved in CACHE_DIR.

Usually nobody needs it: the next mount with the same cache folder saves them by itself. No mount
is needed for this, and none may use the folder (but for --list). What an earlier mount has moved to
CACHE_DIR/lost+found is named, too; a folder there that has a journal can be given as CACHE_DIR.

\b
  bucketfs recover CACHE_DIR                       list what is kept
  bucketfs recover CACHE_DIR --export FOLDER       copy what is here
  bucketfs recover CACHE_DIR --export FOLDER --fetch
                                                   and get the rest from the bucket
  bucketfs recover CACHE_DIR --forget PATH         drop one, after asking

A file that was changed in part has its other bytes only in the bucket. Without --fetch, --url or -o
they are holes in the copy, which is said for each file, and the exit status is 1. Nothing is
deleted but what --forget names.
"""

_Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
_Options = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="OPT,OPT=VALUE,...", help="Options, as of mount."),
]

app = typer.Typer(
    name="bucketfs",
    help="Mount an object storage bucket as a directory. One file is one object.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"bucketfs {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show it."),
    ] = False,
) -> None:
    """Mount an object storage bucket as a directory. One file is one object."""


@app.command(help=_MOUNT_HELP)
def mount(
    url: Annotated[str, typer.Argument(metavar="URL")],
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT")],
    options: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="OPT,OPT=VALUE,...", help="Mount options; may be repeated."),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay in the foreground; log to stderr.")
    ] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", "-r", help="The same as -o ro.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every request; show tracebacks.")
    ] = False,
) -> None:
    """Mount a bucket (the help text is `_MOUNT_HELP`)."""
    from bucketfs.cli.mounting import mount_bucket, settings_from

    settings = settings_from(
        url,
        mountpoint,
        options or [],
        is_foreground=foreground,
        is_read_only=read_only,
        is_debug=debug,
    )
    raise typer.Exit(mount_bucket(settings))


@app.command()
def umount(
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT")],
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Unmount although something cannot be saved; it stays in the cache."
        ),
    ] = False,
    debug: _Debug = False,
) -> None:
    """Save everything into the bucket, showing what is left, then unmount MOUNTPOINT.

    While it saves, new changes are refused (EROFS); programs may finish files that they have open.
    Each file that could not be saved is named on standard error, and the exit status is 1 then: it
    is still mounted, and changes are let in again. With --force it is unmounted all the same after
    one attempt: what is left is kept in the cache folder, where the next mount finds it, and from
    where `bucketfs recover` exports it.
    """
    from bucketfs.cli.unmounting import unmount

    raise typer.Exit(unmount(mountpoint, is_forced=force))


@app.command()
def sync(
    path: Annotated[Path, typer.Argument(metavar="PATH")],
    debug: _Debug = False,
) -> None:
    """Wait until everything at and below PATH is in the bucket, showing what is left.

    PATH is a mount point, or a file or directory on a mount. sync(1) and sync(2) cannot do this:
    the kernel does not pass them on to file systems like this one (fsync(2) it does). With -o
    writeback this is how a script knows that its files have arrived.

    Each file that could not be saved is named on standard error, and the exit status is 1 then;
    it is kept in the cache folder and tried again.
    """
    from bucketfs.cli.syncing import sync as sync_path

    raise typer.Exit(sync_path(path))


@app.command()
def warmup(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...")],
    debug: _Debug = False,
) -> None:
    """Fetch everything at and below each PATH into the disk cache, showing how far it is.

    PATH is a file or directory on a mount that has a disk cache (-o read_cache=SIZE). Later reads
    of it, by this mount or by the next with the same cache folder, ask the bucket for no bytes as
    long as the objects are not replaced. What is there already is not fetched again, so an
    interrupted warm-up goes on where it was.

    Each file that could not be fetched is named on standard error, and the exit status is 1 then.
    What is more than the disk cache holds is not fetched: this is said, and the status is 1.
    """
    from bucketfs.cli.warming import warm_up

    raise typer.Exit(warm_up(paths))


@app.command()
def pending(
    place: Annotated[Path, typer.Argument(metavar="MOUNTPOINT|CACHE_DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    debug: _Debug = False,
) -> None:
    """List what is not in the bucket yet: of a mount, or of the cache folder of one that died.

    \b
    States:
      open       a program is writing it
      waiting    closed; it is saved soon, or tried again every 10 seconds
      uploading  being sent now
      refused    others changed its object meanwhile, and -o conflict=fail: not sent by itself
      deleting   removed here, its object is still there

    Without a terminal a line a file, tabs between: path, size, bytes that only this machine has,
    seconds since it was closed (empty: open), attempts, state, last error. No request is made: it
    answers also while the server is away, and for a mount whose process is dead.
    """
    from bucketfs.cli.pending import show_pending

    raise typer.Exit(show_pending(place, is_json=as_json))


@app.command()
def stats(
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    interval: Annotated[
        float | None,
        typer.Option("--interval", "-i", min=0.1, help="Show what happens every so many seconds."),
    ] = None,
    debug: _Debug = False,
) -> None:
    """Show what MOUNTPOINT has asked of its bucket since it was mounted, for whom, and the cost.

    Requests to the store by operation and by the program that caused them, requests of the kernel,
    latencies, memory and disk in use, and what 30 days at this pace would cost by public list
    prices (-o prices=FILE of mount replaces them). Names in parentheses are the mount's own work.

    Without a terminal a line each, tabs between:

    \b
      uptime_s  -          seconds
      store     operation  requests failures retries sent received p50 p90 p99 max
      program   name       requests failures sent received
      mount     its work   the same, of what no program waits for
      kernel    request    count errors hits bytes hit_bytes p50 p90 p99 max
      budget    name       used limit
      cache     name       number (of the disk cache, where there is one)
      crawler   name       how often it was refused
      bill      so_far     currency requests egress total; the same as per_30_days

    With --interval, a line of rates each time: requests, failures, bytes up, bytes down and
    requests of the kernel a second, shares of look-ups and reads that did not wait for the store,
    requests in flight, bytes of memory in use. With --json, a whole report a line.
    """
    from bucketfs.cli.stats import show_stats

    raise typer.Exit(show_stats(mountpoint, is_json=as_json, interval_s=interval))


@app.command(help=_RECOVER_HELP)
def recover(
    folder: Annotated[Path, typer.Argument(metavar="CACHE_DIR")],
    list_only: Annotated[
        bool, typer.Option("--list", help="Show what is there (the default).")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FOLDER", help="Copy the files to FOLDER (new or empty)."),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch what only the bucket has from there.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Fetch from there (default: as it was mounted)."),
    ] = None,
    options: _Options = None,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="PATH", help="Drop a file; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --forget.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List as JSON.")] = False,
    debug: _Debug = False,
) -> None:
    """Show, export or drop kept files (the help text is `_RECOVER_HELP`)."""
    from bucketfs.cli import recovering

    if (list_only or as_json) + (export is not None) + bool(forget) > 1:
        raise typer.BadParameter("--list, --export and --forget exclude each other")
    if export is not None:
        source = (url, options or [], fetch)
        raise typer.Exit(recovering.export(folder, export, *source))
    if forget:
        raise typer.Exit(recovering.forget(folder, forget, is_sure=yes))
    raise typer.Exit(recovering.show_kept(folder, is_json=as_json))


@app.command()
def probe(
    url: Annotated[str, typer.Argument(metavar="URL")],
    options: _Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show requests and tracebacks.")] = False,
) -> None:
    """Show what the bucket at URL can do and what these credentials may do in it.

    Lists it, and writes, reads and deletes one small object of its own. The exit status is 1 if a
    mount would lack a right (list and read are enough with -o ro).
    """
    from bucketfs.cli.probing import probe_bucket

    raise typer.Exit(probe_bucket(url, options or [], is_json=as_json, is_debug=debug))


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
