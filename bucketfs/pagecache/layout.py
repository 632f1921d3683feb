"""Where the parts of an edited file begin: what changed is sent, the rest copied. Pure.

Every part but the last is as large as the store wants it at least. So a small change takes some of
its unchanged neighbours along, from the side of which less has to be fetched, and changes that lie
close together are sent as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bucketfs.pagecache.plans import CopyPart, Spans, UploadPart
from bucketfs.storage.interface import Capabilities

COPY_BYTES = 512 << 20
"""Neighbouring unchanged parts are copied together up to this size: S3 copies about 100-300 MB/s
per request, so a larger one would take seconds while others could run beside it."""


class Layout:
    """Makes the parts of one file of which some ranges are `same` as in the base.

    `away` are the ranges that only the base has, `part_bytes` is what a sent part has where there
    is much to send, and `worth_bytes` what has to be saved by one more request.
    """

    def __init__(
        self,
        size: int,
        same: Spans,
        away: Spans,
        capabilities: Capabilities,
        part_bytes: int,
        worth_bytes: int,
    ) -> None:
        self._size = size
        self._changed = list(same.gaps())
        self._away = away
        self._least = max(1, capabilities.min_part)
        self._most = max(self._least, capabilities.max_part)
        self._most_copied = max(1, min(self._most, capabilities.max_copy))
        self._max_parts = capabilities.max_parts
        self._part = part_bytes
        self._worth = worth_bytes

    def parts(self) -> Sequence[UploadPart | CopyPart] | None:
        """Return the parts; None where the store's limits leave no room for a copied one."""
        piece, worth = self._part, self._worth
        copied = max(COPY_BYTES, piece)
        while worth <= self._size:
            sent = self._sent(worth)
            parts = self._laid_out(sent, min(piece, self._most), min(copied, self._most_copied))
            if parts is not None:
                return parts if any(isinstance(part, CopyPart) for part in parts) else None
            piece, copied, worth = piece * 2, copied * 2, worth * 2
        return None

    def _sent(self, worth: int) -> list[tuple[int, int]]:
        """Return the ranges to be sent: ascending, apart by at least one part."""
        sent: list[tuple[int, int]] = []
        for start, stop in self._changed:
            last_start, last_stop = sent[-1] if sent else (0, 0)
            if start - last_stop < max(worth, self._least):
                sent[-1:] = [(last_start, max(last_stop, stop))]
            else:
                sent.append((start, stop))
            self._grow_last(sent, worth)
        if sent and self._size - sent[-1][1] < worth:
            sent[-1] = (sent[-1][0], self._size)
        return sent

    def _grow_last(self, sent: list[tuple[int, int]], worth: int) -> None:
        """Make the last of the ranges as large as a part must be."""
        start, stop = sent.pop()
        need = self._least - (stop - start)
        if need > 0 and stop < self._size:
            low = sent[-1][1] if sent else 0
            can_grow_down = start - need - low >= max(worth, self._least)
            right = min(stop + need, self._size)
            is_cheaper = self._away.overlap(start - need, start) < self._away.overlap(stop, right)
            if can_grow_down and is_cheaper:
                start -= need
            else:
                stop = right
        sent.append((start, stop))

    def _laid_out(
        self, sent: Sequence[tuple[int, int]], piece: int, copied: int
    ) -> list[UploadPart | CopyPart] | None:
        """Return the parts for these ranges, None where they break a limit."""
        edges = [0, *(edge for span in sent for edge in span), self._size]
        parts: list[UploadPart | CopyPart] = []
        for index, (start, stop) in enumerate(pairwise(edges)):
            kind, largest = (UploadPart, piece) if index % 2 else (CopyPart, copied)
            for low, high in self._cut(start, stop, largest):
                parts.append(kind(len(parts) + 1, low, high))
        return parts if self._is_legal(parts) else None

    def _cut(self, start: int, stop: int, largest: int) -> Iterator[tuple[int, int]]:
        """Yield pieces of about one size, as large as `largest`, none below the least part."""
        length = stop - start
        count = max(1, min(-(-length // largest), length // self._least)) if length else 0
        for index in range(count):
            yield start + length * index // count, start + length * (index + 1) // count

    def _is_legal(self, parts: Sequence[UploadPart | CopyPart]) -> bool:
        if len(parts) > self._max_parts:
            return False
        for part in parts:
            length = part.stop - part.start
            most = self._most_copied if isinstance(part, CopyPart) else self._most
            if length > most or (length < self._least and part is not parts[-1]):
                return False
        return True
