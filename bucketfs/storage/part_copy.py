"""Copy an object within its bucket by the parts of an upload, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import trio

from bucketfs.errors import ConfusedServer
from bucketfs.storage.interface import ObjectInfo, Part, Precondition, Upload
from bucketfs.storage.parallel import Job, run_all

_WIDTH = 8
_PART_BYTES = 512 << 20
_MOST_PARTS = 10_000
_ABORT_S = 30.0


async def copy_by_parts(
    upload: Upload, source: ObjectInfo, precondition: Precondition | None = None
) -> ObjectInfo:
    """Copy `source`, of this very version, into `upload` and commit it; abort it on failure.

    Raises: ObjectChanged (the source), and what the upload raises.
    """
    done: list[Part] = []
    try:
        await run_all(_part_jobs(upload, source, done), _WIDTH)
        done.sort(key=lambda part: part.number)
        if sum(part.size for part in done) != source.size:
            raise ConfusedServer("parts are missing", key=source.key, operation="copy")
        return await upload.commit(done, precondition)
    except BaseException:
        with trio.CancelScope(deadline=trio.current_time() + _ABORT_S, shield=True):
            await upload.abort()
        raise


def _part_jobs(upload: Upload, source: ObjectInfo, done: list[Part]) -> Iterator[Job]:
    size = max(_PART_BYTES, -(-source.size // _MOST_PARTS))
    for index, start in enumerate(range(0, source.size, size)):
        length = min(size, source.size - start)
        yield partial(_copy_one, upload, index + 1, source, start, length, done)


async def _copy_one(
    upload: Upload, number: int, source: ObjectInfo, start: int, length: int, done: list[Part]
) -> None:
    done.append(await upload.copy_part(number, source.key, start, length, source.version))
