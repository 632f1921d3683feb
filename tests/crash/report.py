"""The tables of docs/reliability.md: the rows of a run replace those of an earlier one; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Rows = Mapping[tuple[str, str], Sequence[object]]
"""Store and mode to the cells that follow them."""


def with_rows(text: str, heading: str, rows: Rows) -> str:
    """Return a document with `rows` in the first table below `heading`. Raises: ValueError."""
    lines = text.split("\n")
    first = next(
        number
        for number in range(lines.index(heading), len(lines))
        if lines[number].startswith("|---")
    )
    last = first + 1
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    kept = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines[first + 1 : last]
    ]
    known: dict[tuple[str, str], Sequence[object]] = {(row[0], row[1]): row[2:] for row in kept}
    known.update(rows)
    told = [f"| {' | '.join(map(str, (*pair, *cells)))} |" for pair, cells in known.items()]
    return "\n".join([*lines[: first + 1], *told, *lines[last:]])
