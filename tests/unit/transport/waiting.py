"""Waiting for what goes on in the background, and has no event of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = 10.0) -> None:
    """Ask `condition` until it holds. Raises: TooSlowError."""
    with trio.fail_after(limit_s):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.01)
