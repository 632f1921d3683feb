"""Which files grow by the store's own appends, and when one may; and whether one did.

A native append sends only the new bytes and needs no copy, but makes an object of a kind of its own
where it makes one: COS and BOS do not copy such objects, so that renaming one costs all its bytes.
Hence `policy`: "auto" lets those grow that are of that kind already, and makes new ones of files
that are synced while a handle that only appends is still open, as logs and journals are; "always"
makes them of every new file that such a handle wrote; "never" neither makes nor grows any.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from bucketfs.pagecache.extents import Extents
from bucketfs.storage.interface import ABSENT, Capabilities, ObjectInfo, Precondition

AppendPolicy = Literal["auto", "always", "never"]

_COMPARED_BYTES = 1 << 20


class Growth:
    """What is known of one file's way of growing. Its methods are called by the file's content."""

    def __init__(self, policy: AppendPolicy) -> None:
        self._policy = policy
        self._is_expected = False

    def note_appender(self, *, is_synced: bool) -> None:
        """Note that a handle that only appends has the file saved; `is_synced`: and goes on."""
        if is_synced or self._policy == "always":
            self._is_expected = True

    def position(
        self,
        extents: Extents,
        base: ObjectInfo | None,
        precondition: Precondition | None,
        capabilities: Capabilities,
    ) -> int | None:
        """Return where the object may grow natively, or None where it cannot or should not.

        Everything before that must be as in `base`. A new file may be made so where nothing is to
        be at its key; an empty one is not, for others may write it. What is to replace whatever is
        there (no precondition) does not grow.
        """
        if self._policy == "never" or not capabilities.append or precondition is None:
            return None
        if not extents.size or extents.size > capabilities.max_append:
            return None
        if base is None:
            return 0 if self._is_expected and precondition == ABSENT else None
        if not base.is_appendable or base.size >= extents.size:
            return None
        is_kept = not any(extent.is_changed for extent in extents.slices(0, base.size))
        return base.size if is_kept else None


async def has_same_bytes(
    there: Callable[[int, int], Awaitable[Sequence[bytes | memoryview]]],
    here: Callable[[int, int], Awaitable[bytes | memoryview]],
    start: int,
    stop: int,
) -> bool:
    """Tell whether two files, read by offset and length, are the same from `start` to `stop`.

    Raises: what the readers raise.
    """
    for at in range(start, stop, _COMPARED_BYTES):
        length = min(_COMPARED_BYTES, stop - at)
        if b"".join(await there(at, length)) != await here(at, length):
            return False
    return True
