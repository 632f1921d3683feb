"""Run several requests of one operation side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import trio

from bucketfs.errors import StorageError

Job = Callable[[], Awaitable[None]]


async def run_all(jobs: Iterable[Job], width: int) -> None:
    """Run all `jobs`, at most `width` at a time; the first failure cancels the rest.

    Raises: the StorageError of the first job that failed, as itself and not in a group.
    """
    waiting = iter(jobs)
    failures: list[StorageError] = []
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            for job in waiting:
                try:
                    await job()
                except StorageError as exc:
                    failures.append(exc)
                    nursery.cancel_scope.cancel()
                    return

        for _ in range(width):
            nursery.start_soon(work)
    if failures:
        raise failures[0]
