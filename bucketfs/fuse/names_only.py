"""Entries of a directory that are names and types only, without an inode in the kernel.

pyfuse3 answers every readdir as readdirplus, where each entry becomes an inode whose type may never
change. The kernel makes none where the entry's node is 0, but pyfuse3 has one number for the node
and for d_ino, which must not be 0. So the node is set to 0 in the struct itself, if it is where it
is expected; else the entry gets attributes that cannot be, which the kernel drops after it has told
the name, and then sends a FORGET for a node that it never had
(docs/decisions/0003-readdir-entries-without-attributes.md).
"""

from __future__ import annotations

import ctypes
import logging
from collections import Counter

import pyfuse3

log = logging.getLogger(__name__)

IMPOSSIBLE_SIZE = -1
"""2**64 - 1 on the wire; the kernel refuses attributes with a size over LLONG_MAX."""

_PROBE = 0x1234_5678_9ABC_DEF1


class NamesOnly:
    """Tells names; `forgets` counts those for which the kernel will send a FORGET of its own."""

    def __init__(self) -> None:
        self._entry = pyfuse3.EntryAttributes()
        self._entry.entry_timeout = 0
        self._entry.attr_timeout = 0
        self._node = _node_of(self._entry)
        self._unlinked: Counter[int] = Counter()
        if self._node is None:
            log.debug("pyfuse3's entries are not as expected: listed names cost a FORGET each")
            self._entry.st_size = IMPOSSIBLE_SIZE

    def tell(
        self, token: pyfuse3.ReaddirToken, name: bytes, inode: int, kind_mode: int, cookie: int
    ) -> bool:
        """Put a name into a readdir answer, `inode` as its d_ino; False where it does not fit."""
        entry = self._entry
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = pyfuse3.ModeT(kind_mode)
        if self._node is not None:
            self._node.value = 0
        has_room = pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, cookie)
        if has_room and self._node is None:
            self._unlinked[inode] += 1
        return has_room

    def take_forgets(self, inode: int, count: int) -> int:
        """Count off forgets of names that had no node; return how many of `count` were such."""
        known = self._unlinked.get(inode, 0)
        if not known:
            return 0
        if known <= count:
            del self._unlinked[inode]
            return known
        self._unlinked[inode] = known - count
        return count


def _node_of(entry: pyfuse3.EntryAttributes) -> ctypes.c_uint64 | None:
    """Return where the number of an entry's node is in memory; None if that cannot be proved.

    The proof: exactly two words have the number that was set, the node's and d_ino's; changing the
    first one changes what pyfuse3 reads as the node, and leaves the second.
    """
    if ctypes.sizeof(ctypes.c_void_p) != ctypes.sizeof(ctypes.c_uint64):
        return None
    entry.st_ino = pyfuse3.InodeT(_PROBE)
    start, size = id(entry), type(entry).__basicsize__
    words = [
        ctypes.c_uint64.from_address(start + offset)
        for offset in range(object.__basicsize__, size - 7, 8)
    ]
    found = [word for word in words if word.value == _PROBE]
    if len(found) != 2:
        return None
    node, shown = found
    node.value = 0
    is_node = entry.st_ino == 0 and shown.value == _PROBE
    node.value = _PROBE
    return node if is_node else None
