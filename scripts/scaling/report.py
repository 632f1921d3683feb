"""What was measured as Markdown tables and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.scaling.measuring import Cost

Figures = Mapping[tuple[str, int], Cost]
"""(work, keys) -> what it cost."""


def table(figures: Figures) -> str:
    """Return a row for each work and number of keys."""
    lines = [
        "| work | keys | s | entries/s | CPU s | first s | requests | peak MiB | held | left |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (work, keys), cost in figures.items():
        first, left = cost.done.first_s, cost.left_mib
        cells = [
            work,
            f"{keys:,}",
            f"{cost.seconds:.1f}",
            f"{cost.pace:,.0f}",
            f"{cost.cpu_s:.1f}",
            "" if first is None else f"{first:.2f}",
            f"{cost.asked:,}",
            f"{cost.peak_mib:.0f}",
            f"{cost.held_mib:.0f}",
            "" if left is None else f"{left:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def latency_table(figures: Mapping[tuple[str, float], Cost]) -> str:
    """Return a row for each work, and columns of seconds and round trips for each delay."""
    delays = sorted({delay_ms for _, delay_ms in figures})
    heads = "".join(f" {delay:g} ms: s | round trips |" for delay in delays)
    lines = [f"| work | requests |{heads}", "|---|---:|" + "---:|---:|" * len(delays)]
    for work in dict.fromkeys(work for work, _ in figures):
        costs = [figures[work, delay] for delay in delays]
        cells = [work, f"{costs[-1].asked}"]
        for delay, cost in zip(delays, costs, strict=True):
            trips = f"{cost.seconds * 1000 / delay:.0f}" if delay else ""
            cells += [f"{cost.seconds:.2f}", trips]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(figures: Figures, path: Path) -> None:
    """Draw time, requests and memory over the number of keys."""
    from matplotlib.figure import Figure

    panels: Sequence[tuple[str, Any]] = (
        ("seconds", lambda cost: cost.seconds),
        ("requests", lambda cost: cost.asked),
        ("peak resident memory (MiB)", lambda cost: cost.peak_mib),
    )
    figure = Figure(figsize=(13, 4), layout="constrained")
    for axes, (title, value) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for work in dict.fromkeys(work for work, _ in figures):
            points = [(keys, value(cost)) for (name, keys), cost in figures.items() if name == work]
            axes.plot(*zip(*points, strict=True), marker="o", label=work)
        axes.set(xscale="log", yscale="log", title=title, xlabel="keys")
        axes.grid(True, alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    figure.savefig(path)
