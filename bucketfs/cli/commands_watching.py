"""Commands that show how mounts are, what they do, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli import completing
from bucketfs.cli.app import (
    Debug,
    Mountpoint,
    Options,
    PathOnMount,
    PathsOnMounts,
    app,
    untouched,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(
    mountpoints: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MOUNTPOINT...",
            parser=untouched,
            help="Only these.",
            autocompletion=completing.mountpoints,
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show all your mounts (as root: everybody's), or some, and how each of them is.

    \b
    Health:
      answers          its process answers
      does not answer  it did not within 5 seconds
      dead             there is no such process any more; the mount point has to be freed

    The exit status is 1 if one of them is not well. No mount point is touched, so that a mount that
    hangs cannot make this hang.

    Without a terminal a line a mount, tabs between: URL, mount point, health, pid, uptime in
    seconds, unsaved files, their bytes, files that could not be saved, requests to the store
    without a usable answer, memory in use and its limit, disk in use and its limit. What is not
    known is empty.
    """
    from bucketfs.cli.status import show_status

    raise typer.Exit(show_status(mountpoints or [], is_json=as_json))


@app.command()
def info(
    paths: PathsOnMounts,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what is known of each PATH: its object, and where its bytes are.

    Key, URL, version, size, whether it is in the bucket as it is here, storage class, type, and how
    much of it is in memory and on disk. At most one request a file is made, none if all is known.

    \b
    States:
      clean           the bucket has it as it is here
      dirty           written, and only in the mount process; with an error that of the last attempt
      kept            the same, but in the journal: it survives the mount process
      uploading 40%   being sent; so much has arrived in parts
      deleting        removed here, its object is still there

    Without a terminal a line each, a tab between name and value. The same is told by extended
    attributes, one by one: getfattr -n user.bucketfs.etag FILE.
    """
    from bucketfs.cli.information import show_info

    raise typer.Exit(show_info(paths, is_json=as_json))


@app.command()
def inflight(
    mountpoint: Mountpoint,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what programs wait for at MOUNTPOINT now, and which calls of the store that waits for.

    This is the command for "why does it hang": the oldest request comes first, with the program,
    and the numbers of the calls that it waits for; each call with its key, how long it takes, which
    attempt it is and when the next one begins. It answers from memory, also while the server is
    away. Names in parentheses are the mount's own work.

    \b
    Without a terminal a line each, tabs between:
      kernel  request path seconds program pid numbers-of-calls
      store   call key seconds program pid attempt seconds-to-the-next number
    """
    from bucketfs.cli.inflight import show_in_flight

    raise typer.Exit(show_in_flight(mountpoint, is_json=as_json))


@app.command()
def top(
    mountpoint: Mountpoint,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, help="Seconds between two screens.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and end.")] = False,
    debug: Debug = False,
) -> None:
    """Show live what MOUNTPOINT does: rates, latencies, hits, budgets, uploads, and for whom.

    Everything is of the last interval; names in parentheses are the mount's own work. q or Ctrl-C
    leaves. It fits on a terminal of 80 columns and 24 lines.
    """
    from bucketfs.cli.top import show_top

    raise typer.Exit(show_top(mountpoint, interval_s=interval, is_once=once))


@app.command()
def profile(
    mountpoint: Mountpoint,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.1, help="For how long (default: 10).")
    ] = 10.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show where the time goes at MOUNTPOINT for some seconds, operation by operation.

    Requests of the kernel and requests to the store, each with how many there were, the time of all
    together, mean, median, p99 and maximum; what took most time comes first. Operations that run at
    once may take more time than there is. Ctrl-C ends it earlier.

    Without a terminal a line each, tabs between: kernel or requests, operation, count, then
    seconds: total, mean, p50, p99, max.
    """
    from bucketfs.cli.profiling import show_profile

    raise typer.Exit(show_profile(mountpoint, seconds=seconds, is_json=as_json))


@app.command()
def log(
    mountpoint: Mountpoint,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="So many of the last lines (default: 50).")
    ] = 50,
    level: Annotated[
        str | None,
        typer.Option("--level", metavar="LEVEL", help="Log from debug, info, warning or error on."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show where MOUNTPOINT logs, and the last lines of it.

    Where that is a file, it is read and followed, also when it is renamed because it is large; of
    a dead mount as well. Else the mount process is asked, which keeps its last 500 lines.

    With --level the level is changed at once, without a new mount; it is as before after the next
    one. Secrets and signatures are in no log.
    """
    from bucketfs.cli.following import show_log

    raise typer.Exit(show_log(mountpoint, lines=lines, is_followed=follow, level=level))


@app.command()
def doctor(
    place: Annotated[
        str,
        typer.Argument(metavar="MOUNTPOINT|URL|PROFILE", autocompletion=completing.places),
    ],
    options: Options = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write all that a bug report needs there."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what is wrong with a mount, or would be with one of URL or PROFILE, and how to fix it.

    Checks the machine (fusermount3, /dev/fuse, user_allow_other, versions, kernel, limits, disk,
    clock); of a mount what waits, what failed and what it logged; of a URL the credentials and
    what they may do, by one small object as `probe` writes it. A line each: ok, warn or fail. The
    exit status is 1 if one failed.

    --output FILE makes a tar.gz of the checks, versions, settings, statistics, requests under way,
    unsaved files and the last 500 lines of the log. Secrets are left out; names of files are not.
    """
    from bucketfs.cli.doctor import examine

    raise typer.Exit(examine(place, options or [], output=output, is_json=as_json))


@app.command()
def bench(
    folder: PathOnMount,
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="Of the large file (default: 64M).")
    ] = "64M",
    files: Annotated[
        int, typer.Option("--files", metavar="N", min=1, max=100_000, help="Default: 200.")
    ] = 200,
    as_json: AsJson = False,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="Compare with a run that --json saved."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure how fast the directory PATH is: one large file, many small ones, and their names.

    Writes and reads a file of SIZE, then writes, reads, lists, renames and removes N files of
    4 KiB, one after the other, as one program does it. A write counts until it is in the bucket
    (with -o writeback: on this machine). What it made is removed, also when it is interrupted; it
    refuses to begin where the disk would be filled. On a bucket that costs, it costs.

    Without a terminal a line each, tabs between: what, seconds, rate, its unit; with --compare:
    what, rate then, rate now, how many times as fast.
    """
    from bucketfs.cli.benching import show_bench
    from bucketfs.values import parse_size

    try:
        size_bytes = parse_size(size)
    except ValueError as exc:
        raise typer.BadParameter(f"--size {size}: it must be {exc}") from exc
    options = {"size": size_bytes, "files": files}
    raise typer.Exit(show_bench(folder, **options, is_json=as_json, compared=compare))
