"""What is known of the directories of the bucket: entries, whole listings, answers "not there".

Memory only, no requests: `finder` asks the store and keeps the answers here. Nothing here is
believed longer than it says itself (`fresh_until_s`); what is older still serves to see what has
not changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from bucketfs.namespace.ahead import Walk
from bucketfs.namespace.attributes import Attributes
from bucketfs.storage.interface import ObjectInfo

_LOOKUPS_BEFORE_LIST = 3
"""Look-ups of single names in one directory, each of about two requests, before it is listed."""

_GROWN = 100
"""So many more names are a page of a listing that is under way."""

_CHECKS = 16
"""How often the bound is checked while as much as it allows is added."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the bucket has under one name.

    `info` is None for a directory without a marker (implicit); for others it is that of the marker.
    `attributes` belong to the caller. `data` is the whole object where the stat was done by a GET;
    it is handed out once. `fresh_until_s` is the `trio.current_time()` until which all this may be
    believed.
    """

    is_directory: bool
    info: ObjectInfo | None
    attributes: Attributes
    data: bytes | None
    fresh_until_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory.

    `attributes` is None where they are not proved yet: then the entry is there, but whether it is a
    regular file is a guess (a directory is always proved to be one), and `info` of a directory is
    unknown. Proved attributes are shared: `copy()` them before changing anything.
    """

    name: str
    is_directory: bool
    info: ObjectInfo | None
    attributes: Attributes | None
    fresh_until_s: float

    def is_proved(self, now_s: float) -> bool:
        """Whether its attributes may be believed at `now_s`."""
        return self.attributes is not None and self.fresh_until_s > now_s


class Directory:
    """What is known of one prefix.

    `listed_until_s`: until then a name that is not in `entries` is not there; `served` counts the
    look-ups that used that. `absent` holds single names that the server said are not there, and
    until when.
    """

    __slots__ = (
        "_order",
        "absent",
        "asked",
        "asked_since_s",
        "entries",
        "huge_until_s",
        "listed_until_s",
        "served",
        "walk",
    )

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.absent: dict[str, float] = {}
        self.listed_until_s = float("-inf")
        self.huge_until_s = float("-inf")
        self.served = 0
        self.asked = 0
        self.asked_since_s = float("-inf")
        self.walk = Walk()
        self._order: tuple[list[str], Mapping[str, int]] | None = None

    def replace_all(self, entries: dict[str, Entry], listed_until_s: float) -> None:
        """Take a whole listing, in its order."""
        self.entries = entries
        self.absent = {}
        self.listed_until_s = listed_until_s
        self._order = None

    def put(self, entry: Entry) -> None:
        """Take one entry."""
        self.entries[entry.name] = entry
        self.absent.pop(entry.name, None)

    def is_listed(self, now_s: float) -> bool:
        """Whether all of its entries are known at `now_s`."""
        return self.listed_until_s > now_s

    def recall(self, name: str, now_s: float) -> tuple[bool, Entry | None]:
        """Return (whether anything may be believed of `name`, its entry or None: not there)."""
        entry = self.entries.get(name)
        if entry is not None:
            return entry.fresh_until_s > now_s or self.is_listed(now_s), entry
        return self.is_listed(now_s) or self.absent.get(name, now_s) > now_s, None

    def is_worth_listing(self, now_s: float, ttl_s: float) -> bool:
        """Note a look-up that needs requests; say whether so many came that a LIST is cheaper."""
        if now_s - self.asked_since_s > ttl_s:
            self.asked, self.asked_since_s = 0, now_s
        self.asked += 1
        return self.asked >= _LOOKUPS_BEFORE_LIST and self.huge_until_s <= now_s

    def order(self, name: str = "") -> tuple[list[str], Mapping[str, int]]:
        """Return the names in the order of the listing, and where each stands in it.

        As of the listing, or of as much of it as has come: single names that came or went since are
        not considered, but many are, if `name` is among them.
        """
        known = self._order
        is_old = known is not None and name not in known[1] and name in self.entries
        if self._order is None or (is_old and len(self.entries) >= len(self._order[0]) + _GROWN):
            names = list(self.entries)
            self._order = names, {name: index for index, name in enumerate(names)}
        return self._order

    def __len__(self) -> int:
        return len(self.entries) + len(self.absent) + 1


class Listings:
    """The directories that are known, bounded by entries; the longest unused goes first."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._added = 0
        self._directories: OrderedDict[str, Directory] = OrderedDict()

    def get(self, prefix: str) -> Directory | None:
        """Return what is known of `prefix`."""
        directory = self._directories.get(prefix)
        if directory is not None:
            self._directories.move_to_end(prefix)
        return directory

    def get_or_make(self, prefix: str) -> Directory:
        """Return what is known of `prefix`, nothing at first."""
        directory = self.get(prefix)
        if directory is None:
            directory = self._directories[prefix] = Directory()
        return directory

    def forget(self, prefix: str) -> None:
        """Drop what is known of directory `prefix` itself."""
        self._directories.pop(prefix, None)

    def doubt(self, prefix: str, name: str) -> None:
        """Believe nothing of a name any more, nor that the rest of its directory is known."""
        directory = self._directories.get(prefix)
        if directory is not None:
            directory.entries.pop(name, None)
            directory.absent.pop(name, None)
            directory.listed_until_s = float("-inf")

    def forget_tree(self, prefix: str) -> None:
        """Drop `prefix` and everything below it."""
        for known in [known for known in self._directories if known.startswith(prefix)]:
            del self._directories[known]

    def added(self, count: int) -> None:
        """Note that `count` entries came; keep the bound by dropping what was unused longest.

        The bound is exceeded by at most a part of itself, or by the one directory in use.
        """
        self._added += count
        if self._added * _CHECKS < self._max_entries:
            return
        self._added = 0
        held = sum(len(directory) for directory in self._directories.values())
        while held > self._max_entries and len(self._directories) > 1:
            _, directory = self._directories.popitem(last=False)
            held -= len(directory)
