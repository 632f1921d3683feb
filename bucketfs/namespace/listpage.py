"""Pages of a LIST with delimiter as entries of a directory; pure.

Where a file has the name of a directory the file is shown under an escaped name, and the listing
may show the directory a page after the file ("a" < "a.txt" < "a/"). Such files wait for that page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from bucketfs.namespace import keys
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes

NO_MARKERS: Mapping[str, ObjectInfo | None] = {}


class Line(NamedTuple):
    """One line of a listing: a file, or a directory (then without an `info`).

    Of a directory `prefix` is the key of its marker, `marker` that, and `is_implicit` says that it
    has none; without either the listing does not tell.
    """

    name: str
    info: ObjectInfo | None
    marker: ObjectInfo | None = None
    is_implicit: bool = False
    prefix: str = ""


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
        self._told: set[str] = set()

    def copy(self) -> PageReader:
        """Return a reader that goes on from here by itself."""
        other = PageReader(self._prefix, is_ordered=self._is_ordered)
        other.marker = self.marker
        other._waiting = list(self._waiting)
        other._directories = set(self._directories)
        other._told = set(self._told)
        return other

    def read(
        self, page: ListPage, markers: Mapping[str, ObjectInfo | None] = NO_MARKERS
    ) -> list[Line]:
        """Return the next lines, ascending by key; every line of the listing comes once.

        `markers`: those of the directories of which it is known whether they have one.
        """
        end = _last_of(page)
        page = self._following(page)
        new = [prefix for prefix in page.prefixes if prefix not in self._directories]
        if self._is_ordered:
            self._directories = set(new)
        else:
            self._directories.update(new)
        objects = self._ready(page, end)
        if not new:
            return [Line(self._name(info.key), info) for info in objects]
        cut = len(self._prefix)
        lines = [(info.key, Line(self._name(info.key), info)) for info in objects]
        for prefix in new:
            marker = markers.get(prefix)
            is_implicit = marker is None and prefix in markers
            name = keys.shown_segment(prefix[cut:-1])
            lines.append((prefix, Line(name, None, marker, is_implicit, prefix)))
        if "".join(key for key, _ in lines).isascii():
            lines.sort(key=itemgetter(0))
        else:
            lines.sort(key=lambda line: key_bytes(line[0]))
        return [line for _, line in lines]

    def _following(self, page: ListPage) -> ListPage:
        """Return a page without what the page before has told: it may have come twice."""
        told, self._told = self._told, {info.key for info in page.objects}
        if told.isdisjoint(self._told):
            return page
        objects = [info for info in page.objects if info.key not in told]
        return ListPage(objects, page.prefixes, page.next_marker)

    def _ready(self, page: ListPage, end: str) -> Sequence[ObjectInfo]:
        """Return the objects of which it is known whether a directory has their name."""
        objects: Sequence[ObjectInfo] = page.objects
        if self._waiting:
            objects = [*self._waiting, *objects]
            self._waiting = []
        if not self._is_ordered or (objects and objects[0].key == self._prefix):
            for info in objects:
                if info.key == self._prefix:
                    self.marker = info
            objects = [info for info in objects if info.key != self._prefix]
        if page.next_marker is None:
            return objects
        if not self._is_ordered:
            self._waiting = list(objects)
            return []
        # The listing is known up to `end`. Only what that begins with may be before it, and with a
        # slash behind it.
        ready = []
        for info in objects:
            length = len(info.key)
            if end.startswith(info.key) and end[length : length + 1] < "/":
                self._waiting.append(info)
            else:
                ready.append(info)
        return ready

    def _name(self, key: str) -> str:
        is_shadowed = bool(self._directories) and key + "/" in self._directories
        return keys.shown_file(key[len(self._prefix) :], is_shadowed=is_shadowed)


def _last_of(page: ListPage) -> str:
    """Return the key or prefix that a page ends with, "" for an empty one."""
    last_object = page.objects[-1].key if page.objects else ""
    last_prefix = page.prefixes[-1] if page.prefixes else ""
    return max(last_object, last_prefix, key=key_bytes)
