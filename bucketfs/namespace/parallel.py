"""Bounded parallel work over many keys, with one plain error instead of a group of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import trio

Item = TypeVar("Item")


async def for_each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, limit: int
) -> None:
    """Do `work` for every item, at most `limit` at once; return when all are done.

    The first failure cancels what is under way, begins nothing new, and is raised as it is.
    Cancellation from outside cancels all.
    """
    pending = iter(items)
    failures: list[Exception] = []

    async def run(scope: trio.CancelScope) -> None:
        for item in pending:
            try:
                await work(item)
            except Exception as exc:  # passed out of the nursery, which would wrap it
                failures.append(exc)
                scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(limit):
            nursery.start_soon(run, nursery.cancel_scope)
    if failures:
        raise failures[0]
