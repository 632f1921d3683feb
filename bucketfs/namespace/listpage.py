"""Pages of a LIST with delimiter as entries of a directory; pure.

Where a file has the name of a directory the file is shown under an escaped name, and the listing
may show the directory a page after the file ("a" < "a.txt" < "a/"). Such files wait for that page.
"""

from __future__ import annotations

from dataclasses import dataclass

from bucketfs.namespace import keys
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a listing: a file, or a directory (then without an `info`)."""

    name: str
    info: ObjectInfo | None


class PageReader:
    """Reads the pages of one listing of `prefix`, in their order.

    `marker` is the directory's own marker, known from the first page on (in an ordered listing it
    comes first). Listings without an order are held back until their last page.
    """

    def __init__(self, prefix: str, *, is_ordered: bool = True) -> None:
        self.marker: ObjectInfo | None = None
        self._prefix = prefix
        self._is_ordered = is_ordered
        self._waiting: list[ObjectInfo] = []
        self._directories: set[str] = set()

    def copy(self) -> PageReader:
        """Return a reader that goes on from here by itself."""
        other = PageReader(self._prefix, is_ordered=self._is_ordered)
        other.marker = self.marker
        other._waiting = list(self._waiting)
        other._directories = set(self._directories)
        return other

    def read(self, page: ListPage) -> list[Line]:
        """Return the next lines, ascending by key; every line of the listing comes once."""
        cut = len(self._prefix)
        new = [prefix for prefix in page.prefixes if prefix not in self._directories]
        if self._is_ordered:
            self._directories = set(new)
        else:
            self._directories.update(new)
        lines = [(prefix, Line(keys.shown_segment(prefix[cut:-1]), None)) for prefix in new]
        end = self._end(page)
        waiting, self._waiting = self._waiting, []
        for info in (*waiting, *page.objects):
            if info.key == self._prefix:
                self.marker = info
            elif end is None or key_bytes(info.key + "/") <= end:
                lines.append((info.key, Line(self._name(info.key), info)))
            else:
                self._waiting.append(info)
        lines.sort(key=lambda line: key_bytes(line[0]))
        return [line for _, line in lines]

    def _name(self, key: str) -> str:
        is_shadowed = key + "/" in self._directories
        return keys.shown_file(key[len(self._prefix) :], is_shadowed=is_shadowed)

    def _end(self, page: ListPage) -> bytes | None:
        """Return the key up to which the listing is known; None: it is known to its end."""
        if page.next_marker is None:
            return None
        if not self._is_ordered:
            return b""
        last_object = page.objects[-1].key if page.objects else ""
        last_prefix = page.prefixes[-1] if page.prefixes else ""
        return max(key_bytes(last_object), key_bytes(last_prefix))
