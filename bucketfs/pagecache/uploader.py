"""A multipart upload that runs while its file is still being written.

Part k is sent while part k+1 is being filled. Until the commit the file's bytes stay in its pages,
because the commit may fail: they are only moved to disk where memory is short.
"""

from __future__ import annotations

import logging
from collections import Counter

import trio

from bucketfs.errors import BucketfsError
from bucketfs.pagecache.extents import Kind
from bucketfs.pagecache.pages import Pages
from bucketfs.pagecache.plans import CopyPart, UploadPart
from bucketfs.pagecache.sending import Sender, Snapshot
from bucketfs.pagecache.unfinished import Ongoing
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Part, Precondition, Upload

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Parts of one file under way at once; the writer fills the next and then waits."""

PATIENCE_PARTS = 2
"""A part with a hole is waited for until the file has grown by so many parts past it: the kernel
may deliver written pages a little out of order. Then it is left to the end."""


class Stream:
    """One upload of one file that goes on growing.

    `run` is a task of the mount's nursery. The methods are called by the file's content, in trio's
    thread; `touch` keeps the upload true to later writes, so it has to hear of each.
    """

    def __init__(
        self, sender: Sender, pages: Pages, key: str, attributes: ObjectAttributes
    ) -> None:
        self.key = key
        self.attributes = attributes
        self.covered_bytes = 0
        """Where the last part ends that was given to the upload."""
        self._sender = sender
        self._pages = pages
        self._next = 1
        self._parts: dict[int, Part] = {}
        self._touches: Counter[int] = Counter()
        self._upload: Upload | None = None
        self._file_number: int | None = None
        self._has_failed = False
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._give, self._get = trio.open_memory_channel[int](0)

    @property
    def sent_bytes(self) -> int:
        """How many bytes the store has of it, in parts that are good."""
        return sum(part.size for part in self._parts.values())

    async def has_begun(self) -> bool:
        """Take no more parts, wait for those under way, and tell whether there is an upload."""
        self._give.close()
        await self._ended.wait()
        return self._upload is not None

    async def run(self) -> None:
        """Send the parts that `feed` gives, until `has_begun` or `abort` is called.

        A failure only ends the streaming: `finish` sends what is missing, and meets it again.
        """
        try:
            with self._scope:
                await self._begin()
                if self._upload is not None:
                    async with trio.open_nursery() as nursery:
                        for _ in range(AT_ONCE):
                            nursery.start_soon(self._send_given, self._upload)
        finally:
            self._get.close()
            self._ended.set()

    async def feed(self) -> None:
        """Give the parts that are full now to the upload; wait while enough are under way."""
        grid = self._sender.grid
        while True:
            start, stop = grid.span(self._next)
            size = self._pages.size
            if stop > size:
                return
            if not is_full(self._pages, start, stop):
                if size < stop + PATIENCE_PARTS * (stop - start):
                    return
                self._next += 1
                continue
            number = self._next
            self._next += 1
            self.covered_bytes = stop
            try:
                await self._give.send(number)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # It failed, or is being finished: `finish` sends what is missing.

    def touch(self, start: int, stop: int) -> None:
        """Note that bytes were written; parts that were given before are sent again at the end."""
        if start >= self.covered_bytes or start >= stop:
            return
        grid = self._sender.grid
        last = grid.number_at(min(stop, self.covered_bytes) - 1)
        for number in range(grid.number_at(start), last + 1):
            self._touches[number] += 1
            self._parts.pop(number, None)

    async def finish(self, snapshot: Snapshot, precondition: Precondition | None) -> ObjectInfo:
        """Send what is missing of `snapshot`, and commit.

        Only where `has_begun`. May be called again after a failure, if `touch` heard of every byte
        written meanwhile. Raises: StorageError, ObjectChanged, ObjectNotFound (upload is gone).
        """
        assert self._upload is not None, "finish comes after has_begun"
        sender, upload = self._sender, self._upload
        await self.own(snapshot.file_number)
        grid = sender.grid
        missing = []
        for number in range(1, grid.count(snapshot.size) + 1):
            if number not in self._parts:
                start, stop = grid.span(number)
                missing.append(UploadPart(number, start, min(stop, snapshot.size)))
        await sender.send_parts(upload, missing, snapshot, self._note)
        parts = [self._parts[number] for number in sorted(self._parts)]
        return await sender.commit(upload, parts, precondition)

    async def own(self, number: int | None) -> None:
        """Have the journal know of which file the upload is, where there is one already."""
        if self._upload is not None:
            ongoing = self.ongoing()
            await self._sender.uploads.owned(ongoing, number)
            self._file_number = ongoing.file_number

    def ongoing(self) -> Ongoing:
        """Return the upload as one that the next save may go on with, after `finish` failed."""
        assert self._upload is not None, "it comes after has_begun"
        span = self._sender.grid.span
        return Ongoing(
            self._upload,
            self.key,
            self.attributes,
            self._file_number,
            {number: (span(number)[0], part) for number, part in self._parts.items()},
            was_checked=False,
        )

    async def abort(self) -> None:
        """End it and drop what the store has; also under cancellation. Never raises."""
        self._scope.cancel()
        self._give.close()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        if self._upload is not None:
            await self._sender.abort(self._upload)

    async def _begin(self) -> None:
        try:
            self._upload = await self._sender.begin(self.key, self.attributes, None)
        except Exception as exc:
            self._fail(exc)

    async def _send_given(self, upload: Upload) -> None:
        """Send parts as they are given, one at a time."""
        async for number in self._get:
            if not self._has_failed:
                try:
                    await self._send(upload, number)
                except Exception as exc:
                    self._fail(exc)

    async def _send(self, upload: Upload, number: int) -> None:
        start, stop = self._sender.grid.span(number)
        async with self._pages.frozen(start, stop) as extents:
            touches = self._touches[number]
            snapshot = Snapshot(extents, self._pages.spill, None)
            part = await self._sender.send_part(upload, UploadPart(number, start, stop), snapshot)
        if self._touches[number] == touches:
            self._parts[number] = part
        self._sender.relief.offer(self._pages, start, stop)

    def _note(self, span: UploadPart | CopyPart, part: Part) -> None:
        self._parts[span.number] = part

    def _fail(self, failure: Exception) -> None:
        """Stop streaming; a failure that is not ours is a bug and is logged whole."""
        if not isinstance(failure, BucketfsError):
            log.error("a part of %r could not be sent", self.key, exc_info=failure)
        else:
            log.info("%r does not stream any more: %s", self.key, failure)
        self._has_failed = True


def is_full(pages: Pages, start: int, stop: int) -> bool:
    """Tell whether every byte of that range was written, none of it is a hole or the base's."""
    slices = pages.extents.slices(start, stop)
    return all(extent.kind in (Kind.DIRTY, Kind.SPILLED) for extent in slices)
