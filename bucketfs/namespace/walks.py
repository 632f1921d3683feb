"""Walks through a tree: recognised by the order in which directories are opened; pure.

`find`, `du`, `ls -R`, `rsync`, `tar`, `rm -r` open a directory, then its first directory, and so on
in the order of the listing. Two in that order make a walk. `ahead` does the same for the entries of
one directory.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from bucketfs.namespace import keys
from bucketfs.namespace.listings import Directory
from bucketfs.storage.key_order import key_bytes

T = TypeVar("T")

MAX_REMEMBERED = 256
"""Directories that were opened last."""

RECENT_S = 60.0
"""A directory that was opened longer ago has nothing to do with this one."""

TOLERANCE = 16
"""Lines of the listing that a directory may be off its predecessor, where many threads walk."""

PAGE = 1000
"""Keys of one request."""

TOLD = 8
"""Directories of which a page must tell whether they have a marker to be worth its price: requests
for single objects cost a tenth of it, and many run at once."""

_MAX_PASSED = 1000
"""Lines that are looked through for the next directory of a listing."""


class Walks:
    """The directories that were opened last, and which of their entries was."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, float] = OrderedDict()
        self._entered: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def opened(self, prefix: str, parent: Directory | None, now_s: float) -> str | None:
        """Note that a directory is opened; return the one in which a walk goes on with it.

        `parent`: what is known of the listing around it.
        """
        root = self._root(prefix, parent, now_s)
        _remember(self._opened, prefix, now_s)
        if prefix:
            _remember(self._entered, keys.split_key(prefix)[0], (prefix, now_s))
        return root

    def _root(self, prefix: str, parent: Directory | None, now_s: float) -> str | None:
        if not prefix:
            return None
        around, _ = keys.split_key(prefix)
        former, entered_s = self._entered.get(around, ("", float("-inf")))
        if now_s - entered_s <= RECENT_S:
            is_next = _follows(former, prefix, parent)
        else:
            was_opened = now_s - self._opened.get(around, float("-inf")) <= RECENT_S
            is_next = was_opened and parent is not None and _is_first(prefix, parent)
        return around if is_next else None


def _remember(places: OrderedDict[str, T], prefix: str, what: T) -> None:
    places[prefix] = what
    places.move_to_end(prefix)
    if len(places) > MAX_REMEMBERED:
        places.popitem(last=False)


def _name(prefix: str) -> str:
    return keys.shown_segment(keys.split_key(prefix)[1])


def _follows(former: str, prefix: str, parent: Directory | None) -> bool:
    """Whether a directory is near behind another one, both in `parent`."""
    names, positions = parent.order() if parent is not None else ([], {})
    place, former_place = positions.get(_name(prefix)), positions.get(_name(former))
    if parent is None or place is None or former_place is None:
        return key_bytes(former) < key_bytes(prefix)
    if abs(place - former_place) <= TOLERANCE:
        return place != former_place
    between = names[former_place + 1 : place][: _MAX_PASSED + 1]
    return 0 < len(between) <= _MAX_PASSED and not any(
        _is_directory(parent, name) for name in between
    )


def _is_first(prefix: str, parent: Directory) -> bool:
    """Whether a directory is the first one in `parent`."""
    name = _name(prefix)
    for number, (listed, entry) in enumerate(parent.entries.items()):
        if listed == name:
            return True
        if entry.is_directory or number >= _MAX_PASSED:
            return False
    return False


def _is_directory(parent: Directory, name: str) -> bool:
    entry = parent.entries.get(name)
    return entry is not None and entry.is_directory


class Budget:
    """How many flat pages a walk may cost: as many as were of use so far, and `allowance` more.

    Each directory that is read from a sweep spares at least one request, a large one as many as it
    has pages. One that follows in order and is not served earns a little, so that a walk that left
    what it could not use behind comes back to sweeping.
    """

    def __init__(self, allowance: int) -> None:
        self.allowance = allowance
        self.pages = 0
        self.directories = 0
        self._lines = 0
        self._misses = 0
        self._told = 0

    @property
    def useful(self) -> int:
        """How many requests were spared so far."""
        return self.directories + self._lines // PAGE + self._told // TOLD

    def may_ask(self) -> bool:
        """Whether one more page is worth the risk that it is in vain."""
        return self.pages < self.allowance + self.useful + self._misses // 8

    def asked(self) -> None:
        """Note a page."""
        self.pages += 1

    def served(self, lines: int, *, is_last: bool) -> None:
        """Note lines of a directory that were read; `is_last`: it is complete."""
        self._lines += lines
        self.directories += is_last

    def told(self) -> None:
        """Note that a directory's marker, or that it has none, was told: a HEAD was spared."""
        self._told += 1

    def missed(self) -> None:
        """Note a directory in the order of a walk that had to be listed by itself."""
        self._misses += 1
