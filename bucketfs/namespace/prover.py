"""Proofs of attributes: what HEAD or a small GET said, kept for as long as the object is the same.

LIST shows neither mode nor owner nor times. Once asked, they are known for that key, version and
Last-Modified, however often the listing is renewed, and from one mount to the next (`remembered`).
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cachetools import LRUCache

from bucketfs.errors import AccessDenied, ObjectArchived, ObjectNotFound
from bucketfs.namespace.attributes import (
    Attributes,
    Defaults,
    from_metadata,
    implicit_directory,
)
from bucketfs.namespace.attributes_file import Told
from bucketfs.namespace.listpage import Line
from bucketfs.namespace.pace import Pace
from bucketfs.namespace.remembered import Remembered
from bucketfs.storage.interface import MemorySink, ObjectInfo, ObjectStore, Version
from bucketfs.storage.throttled import looks_at_once

MAX_PROOFS = 200_000
MAX_RECOLLECTED = 20_000
"""Proofs from disk, of about 1.5 KB, which can be read again: enough for the pages of now."""

MAX_PARKED_BYTES = 8 << 20
_PARKED_OVERHEAD_BYTES = 512

BELIEVED_S = 60
"""How long without asking: what this mount stored itself, and all where no listing shows that
metadata changed."""

_ORDINARY_CLASS = "STANDARD"
"""What listings call the storage class that answers about single objects do not name."""

_MAX_TARGET_BYTES = 512
"""Of a symlink; one that leads further is read anew."""

_S = 1_000_000_000
_SETTLED_AFTER_S = 2
"""Last-Modified has seconds: what was changed less than this ago may change again within the same
second, and only look the same."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the server said of one object. `info` None: a directory without a marker.

    `data` is the whole object, where it came along or is a symlink. `until_ns` (since 1970; 0:
    always): not to be recalled for listings after that.
    """

    info: ObjectInfo | None
    attributes: Attributes
    data: bytes | None = None
    until_ns: int = 0


class Prover:
    """Asks for attributes and remembers them.

    `concurrency` requests of `ahead` run at once, or up to `looks_at_once` where that helps:
    as many as the store's own lane for looks has places.
    """

    def __init__(
        self,
        store: ObjectStore,
        defaults: Defaults,
        concurrency: int,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        remembered: Remembered | None = None,
    ) -> None:
        self._remembered = remembered or Remembered(None)
        self.ahead = Pace(concurrency, looks_at_once(concurrency))
        self._store = store
        self._shows_changes = store.capabilities.dates_metadata
        self._defaults = defaults
        self._wall_clock_ns = wall_clock_ns
        self._implicit = implicit_directory(defaults, wall_clock_ns())
        self._proofs: LRUCache[str, Proof] = LRUCache(MAX_PROOFS)
        self._recollected: LRUCache[str, Proof] = LRUCache(MAX_RECOLLECTED)
        self._parked: LRUCache[str, tuple[Version, bytes]] = LRUCache(
            MAX_PARKED_BYTES, getsizeof=_parked_size
        )

    async def ask_file(self, key: str, size: int = 0, *, with_data: bool = False) -> Proof:
        """Return the proof of a file; `with_data`: by fetching its `size` bytes.

        Raises: ObjectNotFound, and other StorageErrors, from which nothing may be concluded.
        """
        if not with_data:
            return self._prove(await self._store.stat(key), is_directory=False)
        buffer = bytearray(size)
        sink = MemorySink(buffer)
        try:
            info = await self._store.read_range(key, 0, size, sink)
        except (AccessDenied, ObjectArchived):
            # Its bytes are out of reach but its attributes may not be.
            return self._prove(await self._store.stat(key), is_directory=False)
        proof = self._prove(info, is_directory=False)
        if info.size != sink.received:
            return proof
        data = bytes(memoryview(buffer)[: sink.received])
        if stat.S_ISLNK(proof.attributes.mode):
            self.learn_target(info, data)
        return Proof(info, proof.attributes, data)

    async def ask_marker(self, prefix: str) -> Proof:
        """Return the proof of a directory that is known to be there; it may have no marker."""
        try:
            info = await self._store.stat(prefix)
        except ObjectNotFound:
            return self.without_marker(prefix)
        return self._prove(info, is_directory=True)

    def without_marker(self, prefix: str = "") -> Proof:
        """Return the proof of an implicit directory, which is as old as the mount.

        `prefix`: which one, if it is worth knowing that a listing is enough to see that again.
        """
        proof = Proof(None, self._implicit)
        if prefix and self._remembered.is_on:
            known = self._proofs.get(prefix) or self._recollected.get(prefix)
            if known is None or known.info is not None:
                self._learn(prefix, proof)
                self._remembered.note(Told(prefix, None))
        return proof

    def was_told(self, prefix: str) -> bool:
        """Whether an earlier mount knew the marker of a directory, or that there is none."""
        return prefix in self._recollected

    def guess(self, info: ObjectInfo) -> Proof:
        """Return what a listing alone says of a file."""
        return Proof(info, from_metadata(info, self._defaults, is_directory=False))

    async def recollect_page(self, prefix: str, lines: Iterable[Line]) -> None:
        """Have what is remembered of a page of the listing of `prefix` ready for `recall`."""
        if self._remembered.has_any:
            await self.recollect([prefix, *filter(None, map(_unproved, lines))])

    async def recollect(self, keys: Iterable[str]) -> None:
        """Have what is remembered of `keys` on disk ready for `recall`, all in one query."""
        if not self._remembered.has_any:
            return
        known, recollected = self._proofs, self._recollected
        wanted = [key for key in keys if key not in known and key not in recollected]
        if not wanted:
            return
        for key, proof in await self._remembered.load(wanted, self._remember):
            # What was learned meanwhile is newer.
            if key not in known:
                recollected[key] = proof

    def recall(self, info: ObjectInfo) -> Proof | None:
        """Return the proof of an object that a listing shows, if it is the same object still."""
        proof = self._proofs.get(info.key) or self._recollected.get(info.key)
        if proof is None or proof.info is None:
            return None
        known = proof.info
        is_same = (
            known.version == info.version
            and known.size == info.size
            # Listings may show fractions of a second that HEAD does not.
            and known.modified_ns // _S == info.modified_ns // _S
        )
        if not is_same or 0 < proof.until_ns < self._wall_clock_ns():
            return None
        if info.storage_class not in (None, known.storage_class or _ORDINARY_CLASS):
            # Rules of the bucket move objects to other classes, and leave everything else.
            return replace(proof, info=replace(known, storage_class=info.storage_class))
        return proof

    def believe(self, info: ObjectInfo, attributes: Attributes) -> None:
        """Take what this mount itself stored as proved for a minute, without asking.

        Also where it was stored this very second: else every file that this mount wrote would be
        asked for once more when its listing is renewed. A change of attributes alone that others
        make within that second goes unseen for so long.
        """
        self._parked.pop(info.key, None)
        self._remembered.drop(info.key)
        self._learn(info.key, Proof(info, attributes, until_ns=self._believed_until_ns()))

    async def target(self, info: ObjectInfo) -> bytes | None:
        """Return where a symlink leads to, if that is known of this version of it."""
        await self.recollect([info.key])
        proof = self.recall(info)
        return proof.data if proof is not None else None

    def learn_target(self, info: ObjectInfo, target: bytes) -> None:
        """Take where a symlink leads to, if its attributes are proved."""
        proof = self.recall(info)
        if proof is None or proof.info is None or len(target) > _MAX_TARGET_BYTES:
            return
        self._learn(info.key, replace(proof, data=target))
        if not proof.until_ns:
            self._remembered.note(Told(info.key, proof.info, target))

    def forget(self, key: str) -> None:
        """Drop what is known of a key."""
        self._parked.pop(key, None)
        self._unlearn(key)

    def forget_tree(self, prefix: str) -> None:
        """Drop what is known of all keys below `prefix`: other objects may have them now.

        They may look the same in a listing: an empty file of this very second, say.
        """
        for known in (self._proofs, self._recollected, self._parked):
            for key in [key for key in known if key.startswith(prefix)]:
                self.forget(key)

    def park(self, info: ObjectInfo, data: bytes) -> None:
        """Keep fetched bytes until somebody looks the file up."""
        self._parked.pop(info.key, None)
        self._parked[info.key] = (info.version, data)

    def take_parked(self, info: ObjectInfo) -> bytes | None:
        """Return the parked bytes of this version of an object, once."""
        version, data = self._parked.pop(info.key, (None, None))
        return data if version == info.version else None

    def _prove(self, info: ObjectInfo, *, is_directory: bool) -> Proof:
        until_ns = 0 if self._shows_changes else self._believed_until_ns()
        proof = Proof(info, from_metadata(info, self._defaults, is_directory), until_ns=until_ns)
        age_ns = self._wall_clock_ns() - info.modified_ns // _S * _S
        if age_ns >= (_SETTLED_AFTER_S + 1) * _S:
            self._learn(info.key, proof)
            if not until_ns:
                self._remembered.note(Told(info.key, info))
        else:
            self._unlearn(info.key)
        return proof

    def _believed_until_ns(self) -> int:
        return self._wall_clock_ns() + BELIEVED_S * _S

    def _learn(self, key: str, proof: Proof) -> None:
        self._proofs[key] = proof
        self._recollected.pop(key, None)

    def _unlearn(self, key: str) -> None:
        self._proofs.pop(key, None)
        self._recollected.pop(key, None)
        self._remembered.drop(key)

    def _remember(self, told: Told) -> tuple[str, Proof]:
        if told.info is None:
            return told.key, Proof(None, self._implicit)
        attributes = from_metadata(told.info, self._defaults, told.key.endswith("/"))
        return told.key, Proof(told.info, attributes, told.target)


def _unproved(line: Line) -> str:
    """Return the key whose attributes a line of a listing leaves open, "" if there is none."""
    if line.info is not None:
        return line.info.key if line.info.metadata is None else ""
    return "" if line.is_implicit else line.prefix


def _parked_size(parked: tuple[Version, bytes]) -> int:
    return len(parked[1]) + _PARKED_OVERHEAD_BYTES
