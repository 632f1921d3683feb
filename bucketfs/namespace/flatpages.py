"""Flat listings (without delimiter) as listings of all the directories in them; pure.

In the order of keys everything below a directory stands together. So a flat listing enters one
directory after the other and never comes back to one that it has left: what it showed of that is
all there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt

from bucketfs.errors import ConfusedServer
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes


class Piece:
    """What one flat page shows of one directory, as a page of its own listing would.

    `markers` has the marker of each of `prefixes`, None where there is none: the first key below a
    directory tells. `is_first` and `is_last` say where the directory's own listing begins and ends.
    """

    __slots__ = ("is_first", "is_last", "markers", "objects", "prefix", "prefixes")

    def __init__(self, prefix: str, *, is_first: bool) -> None:
        self.prefix = prefix
        self.objects: list[ObjectInfo] = []
        self.prefixes: list[str] = []
        self.markers: list[ObjectInfo | None] = []
        self.is_first = is_first
        self.is_last = False

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


class _Level:
    """One directory on the way from the root to where the listing is."""

    __slots__ = ("is_begun", "is_whole", "piece", "prefix")

    def __init__(self, prefix: str, *, is_whole: bool) -> None:
        self.prefix = prefix
        self.is_whole = is_whole
        self.is_begun = False
        self.piece: Piece | None = None


class Unfolding:
    """Takes the pages of one flat listing below `root`, in their order.

    `start`, the prefix of a directory, is where the listing begins; keys before it are passed over,
    and of the directories around it nothing is told, because their beginning was not seen.
    `position` is the last key that was read.
    """

    def __init__(self, root: str, start: str | None = None) -> None:
        self.start = root if start is None else start
        self.position = ""
        self.is_complete = False
        self._root = root
        self._path = [_Level(root, is_whole=self.start == root)]

    def read(self, page: ListPage) -> list[Piece]:
        """Return what the next page shows of each directory that it touches.

        Raises: ConfusedServer where keys are not ascending, or not below the root: then nothing can
        be concluded from what is missing.
        """
        objects = self._checked(page.objects)
        pieces: list[Piece] = []
        level = self._path[-1]
        for info in objects:
            key = info.key
            parent = key[: key.rfind("/") + 1]
            if parent != level.prefix:
                level = self._enter(parent, info, pieces)
            if level.is_whole:
                piece = level.piece
                if piece is None:
                    piece = _begun(level, pieces)
                piece.objects.append(info)
        if objects:
            self.position = objects[-1].key
        if page.next_marker is None:
            self.is_complete = True
            while self._path:
                self._leave(pieces)
        for level in self._path:
            level.piece = None
        return pieces

    def is_past(self, prefix: str) -> bool:
        """Whether the listing is where directory `prefix` begins, or behind that."""
        if self.is_complete:
            return True
        return bool(self.position) and key_bytes(self.position) >= key_bytes(prefix)

    def _checked(self, objects: Sequence[ObjectInfo]) -> Sequence[ObjectInfo]:
        """Return the objects of a page from `start` on."""
        keys = [info.key for info in objects]
        if not all(key.startswith(self._root) for key in keys):
            raise ConfusedServer("a listing shows keys that were not asked for", operation="list")
        if self.position:
            keys.insert(0, self.position)
        if not _is_ascending(keys):
            raise ConfusedServer("the keys of a listing are not in order", operation="list")
        if self.position:
            return objects
        first = key_bytes(self.start)
        return [info for info in objects if key_bytes(info.key) >= first]

    def _enter(self, parent: str, info: ObjectInfo, pieces: list[Piece]) -> _Level:
        """Go to directory `parent`, by its first key `info`."""
        while not parent.startswith(self._path[-1].prefix):
            self._leave(pieces)
        level = self._path[-1]
        while level.prefix != parent:
            child = parent[: parent.index("/", len(level.prefix)) + 1]
            if level.is_whole:
                piece = level.piece or _begun(level, pieces)
                piece.prefixes.append(child)
                piece.markers.append(info if info.key == child else None)
            is_around_start = self.start.startswith(child) and self.start != child
            level = _Level(child, is_whole=not is_around_start)
            self._path.append(level)
        return level

    def _leave(self, pieces: list[Piece]) -> None:
        level = self._path.pop()
        if level.is_whole:
            piece = level.piece or _begun(level, pieces)
            piece.is_last = True


def _is_ascending(keys: Sequence[str]) -> bool:
    if "".join(keys).isascii():
        return all(map(lt, keys, keys[1:]))
    order = [key_bytes(key) for key in keys]
    return all(map(lt, order, order[1:]))


def _begun(level: _Level, pieces: list[Piece]) -> Piece:
    """Begin what a page shows of a directory."""
    piece = level.piece = Piece(level.prefix, is_first=not level.is_begun)
    level.is_begun = True
    pieces.append(piece)
    return piece
