"""Commands about a mount that serves: stats, warmup."""

from __future__ import annotations

from typing import Annotated

import typer

from bucketfs.cli.app import Debug, Mountpoint, PathsOnMounts, app


@app.command()
def stats(
    mountpoint: Mountpoint,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    interval: Annotated[
        float | None,
        typer.Option("--interval", "-i", min=0.1, help="Show what happens every so many seconds."),
    ] = None,
    debug: Debug = False,
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


@app.command()
def warmup(
    paths: PathsOnMounts,
    debug: Debug = False,
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
