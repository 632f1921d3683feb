"""`bucketfs status`: all mounts of this user, and how each of them is.

Found in the kernel's mount table, and asked over their control sockets, all at once: one that does
not answer makes nobody wait for the others. No mount point is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bucketfs.cli.mountpoints import KERNEL_TYPE, mounted_at
from bucketfs.cli.pending import age_words, size_words
from bucketfs.cli.progress import printable
from bucketfs.cli.showing import show
from bucketfs.control import ControlClient, cache_folder_of
from bucketfs.errors import ConfigurationError
from bucketfs.fuse import mounttable
from bucketfs.fuse.mounttable import MountEntry

ANSWERS, SILENT, DEAD = "answers", "does not answer", "dead"
"""How a mount is: its process answers; it does not within some seconds; there is none."""

COLUMNS = (
    *("url", "mountpoint", "health", "pid", "uptime_s", "dirty_files", "dirty_bytes"),
    *("failed_files", "store_failures", "memory_used", "memory_limit", "disk_used", "disk_limit"),
)
"""What a line of the plain output has, in this order, tabs between."""
_ASKED_AT_ONCE = 32

State = dict[str, Any]


def show_status(mountpoints: Sequence[Path], *, is_json: bool) -> int:
    """Show some mounts, or all that this user may ask; return 1 if one of them is not well.

    Raises: ConfigurationError (no mount of ours is there).
    """
    states = all_states([os.fspath(mounted_at(each)) for each in mountpoints])
    show(states, is_json=is_json, tables=_show_table, lines=_lines)
    return int(any(state["health"] != ANSWERS for state in states))


def _lines(states: Sequence[State]) -> Iterator[Sequence[str]]:
    for state in states:
        yield [_cell(value) for value in plain_row(state)]


def all_states(wanted: Sequence[str] = ()) -> list[State]:
    """Return how each mount is that this user may ask, by mount point; `wanted`: only these."""
    user = os.geteuid()
    seen = {
        entry.mountpoint: entry  # of mounts upon each other that on top
        for entry in mounttable.entries()
        if entry.type == KERNEL_TYPE
        and user in (0, entry.owner_uid)
        and (not wanted or entry.mountpoint in wanted)
    }
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return list(pool.map(state_of, sorted(seen.values(), key=lambda one: one.mountpoint)))


def state_of(entry: MountEntry) -> State:
    """Return how a mount is; never raises."""
    place = Path(entry.mountpoint)
    state: State = {"url": entry.source, "mountpoint": entry.mountpoint, "uid": entry.owner_uid}
    try:
        state["health"] = ANSWERS
        client = ControlClient(place, entry.owner_uid)
        return {**client.ask("health"), **state}  # what the kernel says is not to be overruled
    except (TimeoutError, ConfigurationError, ValueError, KeyError, TypeError) as exc:
        state["health"], state["reason"] = SILENT, str(exc) or type(exc).__name__
    except OSError as exc:
        state["health"], state["reason"] = DEAD, exc.strerror or str(exc)
    if entry.owner_uid == os.geteuid():
        folder = cache_folder_of(place)
        state["cache_folder"] = None if folder is None else os.fspath(folder)
    return state


def plain_row(state: State) -> list[object]:
    """Return the figures of one mount in the order of `COLUMNS`; None: not known."""
    budgets = state.get("budgets", {})
    flat = {
        **state,
        "store_failures": state.get("errors", {}).get("store_failures"),
        **{
            f"{name}_{side}": budgets.get(f"{name}_bytes", {}).get(side)
            for name in ("memory", "disk")
            for side in ("used", "limit")
        },
    }
    return [flat.get(column) for column in COLUMNS]


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))


def _show_table(states: Sequence[State]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not states:
        console.print("nothing is mounted")
        return
    console.print(status_table(states))
    for state in states:
        if state["health"] != ANSWERS:
            console.print(_advice(state), markup=False)


def status_table(states: Sequence[State]) -> Any:
    """Return the table that a terminal shows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("mount point", "bucket", "health"):
        table.add_column(title, overflow="fold")
    for title in ("pid", "up", "unsaved", "failed", "memory"):
        table.add_column(title, justify="right")
    for state in states:
        style = "" if state["health"] == ANSWERS else "bold red"
        first = (printable(str(state[name])) for name in ("mountpoint", "url"))
        table.add_row(
            *map(Text, first), Text(state["health"], style=style), *map(Text, _figures(state))
        )
    return table


def _figures(state: State) -> list[str]:
    if state["health"] != ANSWERS:
        return ["", "", "", "", ""]
    memory = state["budgets"]["memory_bytes"]
    unsaved = f"{state['dirty_files']}, {size_words(state['dirty_bytes'])}"
    failed = state["failed_files"] + state["errors"]["store_failures"]
    return [
        str(state["pid"]),
        age_words(state["uptime_s"]),
        unsaved if state["dirty_files"] else "-",
        str(failed) if failed else "-",
        f"{100 * memory['used'] / memory['limit']:.0f} %",
    ]


def _advice(state: State) -> str:
    place = printable(str(state["mountpoint"]))
    if state["health"] == SILENT:
        return f"{place}: its process does not answer (bucketfs doctor {place} looks closer)"
    kept = state.get("cache_folder")
    where = f"; what it had not saved is in {printable(str(kept))}" if kept else ""
    return f"{place}: its process is gone: bucketfs umount {place}, then mount it again{where}"
