"""What a worker said that it did: its log, carried out once more by the judge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.world import Operation, World

DEATHS = {"ENOTCONN", "ECONNABORTED", "EIO"}
"""What a call on a mount whose process was killed may fail with. EIO is the kernel's own where the
process died while it was taking the request; one of the mount would be in its log."""


@dataclass(frozen=True)
class Told:
    """The world after all that was acknowledged, and the call that may have happened or not.

    `error` is the errno of that call, None where it had no answer at all.
    """

    world: World
    acknowledged: int
    begun_lines: int
    under_way: Operation | None = None
    error: str | None = None
    longest_s: float = 0.0


def read(log: Path, world: World) -> Told:
    """Carry a log out on `world`, which it changes."""
    texts = log.read_text().splitlines() if log.exists() else []
    entries: list[dict[str, Any]] = [json.loads(text) for text in texts]
    acknowledged, longest_s = 0, 0.0
    for place in range(0, len(entries), 2):
        operation = entries[place]
        answer: dict[str, Any] = dict(*entries[place + 1 : place + 2])
        world.begin(operation)
        longest_s = max(longest_s, answer.get("seconds", 0.0))
        if answer.get("error", "no answer") is not None:
            begun = world.lines + (operation["do"] == "line")
            return Told(world, acknowledged, begun, operation, answer.get("error"), longest_s)
        world.apply(operation)
        acknowledged += 1
    return Told(world, acknowledged, world.lines, longest_s=longest_s)
