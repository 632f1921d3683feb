"""Figures of one tool, and the table of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Results:
    """What one tool reached: name of the work -> (figure, unit); None where it failed."""

    tool: str
    figures: dict[str, tuple[float | None, str]] = field(default_factory=dict)

    def put(self, work: str, figure: float, unit: str) -> None:
        """Keep a figure and show it."""
        self.figures[work] = (round(figure, 2), unit)
        print(f"  {self.tool:12} {work:26} {figure:10.2f} {unit}", flush=True)

    def fail(self, work: str, error: Exception) -> None:
        """Keep that the tool could not do it, and why."""
        reason = reason_of(error)
        self.figures[work] = (None, reason)
        print(f"  {self.tool:12} {work:26}     FAILED {reason}", flush=True)


def reason_of(error: Exception) -> str:
    """Return one line: what failed, and what a command that failed said of it last."""
    said = getattr(error, "stderr", None) or b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    reason = f"{type(error).__name__}: {error}"
    return " ".join(f"{reason} {text[-200:]}".split())[:400]


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def table(results: Sequence[Results]) -> str:
    """Return the figures as a Markdown table: a row for each work, a column for each tool."""
    rows = sorted({work for one in results for work in one.figures})
    lines = [
        "| work | " + " | ".join(one.tool for one in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    lines += [f"| {row} | " + " | ".join(_cell(one, row) for one in results) + " |" for row in rows]
    lines += [
        f"\n{one.tool} failed at {work}: {reason}"
        for one in results
        for work, (figure, reason) in one.figures.items()
        if figure is None
    ]
    return "\n".join(lines)


def _cell(results: Results, row: str) -> str:
    if row not in results.figures:
        return "-"
    figure, unit = results.figures[row]
    return "failed" if figure is None else f"{figure:g} {unit}"
