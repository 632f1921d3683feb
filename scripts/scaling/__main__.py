"""`python -m scripts.scaling`: measure what names cost, print the tables, draw the plot."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from scripts.scaling import report
from scripts.scaling.keyspace import KeySpace, widths
from scripts.scaling.measuring import Cost, measure, mounted, served
from scripts.scaling.works import WORKS

LATENCY_KEYS = 1000
DELAYS_MS = (0.0, 20.0, 100.0)
LATENCY_WORKS = ("ls -f flat", "find flat", "find tree", "ls -l flat", "read 256 MiB")
SCALE_WORKS = tuple(name for name in WORKS if name != "read 256 MiB")
AGAIN = ("find tree",)
"""Works that are done twice: the second time everything is known."""

BY_LISTING = "du -s tree"
"""A work that costs a request for each file, unless the listing is believed: done both ways."""


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    if arguments.latency:
        print(report.latency_table(measure_latency(arguments.only)))
    else:
        figures = measure_scale(arguments.keys, arguments.only)
        print("\n" + report.table(figures))
        if arguments.plot:
            report.plot(figures, arguments.plot)
    print(f"\n{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")


def parsed() -> argparse.Namespace:
    """Return what argv asks for."""
    parser = argparse.ArgumentParser(prog="scripts/scale", description=__doc__)
    parser.add_argument("--keys", default="1000,10000,100000", help="powers of ten from 1000 on")
    parser.add_argument("--only", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--latency", action="store_true", help="round trips instead of scale")
    parser.add_argument("--plot", type=Path, help="draw there (SVG, PNG ...)")
    arguments = parser.parse_args()
    usual = LATENCY_WORKS if arguments.latency else SCALE_WORKS
    arguments.only = [name.strip() for name in (arguments.only or ",".join(usual)).split(",")]
    if strange := set(arguments.only) - WORKS.keys():
        parser.error(f"--only: no work {', '.join(sorted(strange))}; there is {', '.join(WORKS)}")
    try:
        arguments.keys = [int(count) for count in arguments.keys.split(",")]
        for count in arguments.keys:
            widths(count)
    except ValueError as exc:
        parser.error(f"--keys: {exc}")
    return arguments


def measure_scale(counts: list[int], names: list[str]) -> dict[tuple[str, int], Cost]:
    """Do each work on a fresh mount, for each number of keys."""
    figures: dict[tuple[str, int], Cost] = {}
    for count in counts:
        keys = KeySpace(count)
        with served(count) as server:
            for name in names:
                with mounted(server, "ttl=3600") as mount:
                    forgets = name not in AGAIN
                    _note(
                        figures,
                        name,
                        count,
                        measure(server, mount, keys, WORKS[name], forgets=forgets),
                    )
                    if name in AGAIN:
                        again = measure(server, mount, keys, WORKS[name], forgets=True)
                        _note(figures, f"{name} again", count, again)
                if name == BY_LISTING:
                    with mounted(server, "ttl=3600", "attributes=listing") as mount:
                        cost = measure(server, mount, keys, WORKS[name], forgets=True)
                        _note(figures, f"{name}, attributes=listing", count, cost)
    return figures


def measure_latency(names: list[str]) -> dict[tuple[str, float], Cost]:
    """Do works on 1000 keys with a server that takes its time for every answer."""
    figures: dict[tuple[str, float], Cost] = {}
    keys = KeySpace(LATENCY_KEYS)
    for delay_ms in DELAYS_MS:
        with served(LATENCY_KEYS, delay_ms) as server:
            for name in LATENCY_WORKS:
                if name in names:
                    with mounted(server) as mount:
                        figures[name, delay_ms] = measure(server, mount, keys, WORKS[name])
    return figures


def _note(figures: dict[tuple[str, int], Cost], name: str, count: int, cost: Cost) -> None:
    figures[name, count] = cost
    print(report.table({(name, count): cost}).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
