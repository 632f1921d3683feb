"""Replaying: jobs that an earlier mount began and never ended are undone or gone on with.

Others may have written meanwhile, for days. So nothing is deleted but the one of two objects of
which the other is proved to be a copy, nothing is overwritten, and what cannot be decided stays
under both names with a WARNING. Replaying twice is as good as once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bucketfs.errors import ObjectChanged
from bucketfs.namespace import jobs, keys
from bucketfs.namespace.copies import by_suffix, each_page, find, is_copy
from bucketfs.namespace.gate import KeyGate
from bucketfs.namespace.parallel import for_each
from bucketfs.storage.interface import ABSENT, ObjectInfo, ObjectStore, Version

SAME_MOMENT_NS = 5 * 10**9
"""How far the time of an answer may be from the time that the store gives to what it stored."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay means for unsaved files that are known by their keys.

    `moved`: those below the first prefix are below the second now. `replaced`: the key of a file
    that is gone, since another was renamed to it.
    """

    moved: tuple[str, str] | None = None
    replaced: str | None = None


class Replayer:
    """Replays jobs, one at a time; changes of this mount to the names in question wait meanwhile.

    After a failure or cancellation the same job can be replayed again.
    """

    def __init__(self, store: ObjectStore, gate: KeyGate, *, concurrency: int) -> None:
        self._store = store
        self._gate = gate
        self._concurrency = concurrency

    async def replay(self, kind: str, details: Mapping[str, str]) -> Outcome:
        """Bring what a job left half done to one of its ends.

        Raises: StorageError (nothing is lost; try again), KeyError, ValueError (not a job that this
        version knows).
        """
        work = {
            jobs.DELETE: self._delete,
            jobs.RENAME_FILE: self._rename_file,
            jobs.RENAME_DIRECTORY: self._rename_directory,
        }[kind]
        named = [_path(details[name]) for name in ("key", "old", "new") if name in details]
        trees = [f"{path}/" for path in named] if kind == jobs.RENAME_DIRECTORY else []
        async with self._gate.hold(*named, trees=trees):
            return await work(details)

    async def _delete(self, details: Mapping[str, str]) -> Outcome:
        found = await find(self._store, details["key"])
        if found is not None:
            await self._delete_known(found, details)
        return Outcome()

    async def _delete_known(self, found: ObjectInfo, details: Mapping[str, str]) -> None:
        """Delete what was found at a key if it is the object that a job is about.

        Others may have put the same bytes there since, which gives the same ETag.
        """
        version, known_ns = Version(details["version"]), int(details["modified_ns"])
        is_younger = known_ns > 0 and found.modified_ns > known_ns + SAME_MOMENT_NS
        if found.version == version and not is_younger:
            with suppress(ObjectChanged):
                await self._store.delete(found.key, version)

    async def _rename_file(self, details: Mapping[str, str]) -> Outcome:
        """Delete the old object if the new one is its copy; else nothing was done yet."""
        new = await find(self._store, details["new"])
        if new is None:
            return Outcome()
        old = await find(self._store, details["old"])
        version = Version(details["version"])
        if old is None and new.version == version:
            is_done = True  # moved natively, or deleted already
        elif self._store.capabilities.keeps_metadata:
            is_done = dict(new.metadata or {}) == json.loads(details["metadata"])
        else:
            is_done = old is not None and await is_copy(self._store, old, new)
        if not is_done:
            return Outcome()
        if old is not None and old.size == new.size:
            await self._delete_known(old, details)
        return Outcome(replaced=new.key)

    async def _rename_directory(self, details: Mapping[str, str]) -> Outcome:
        old, new, phase = details["old"], details["new"], details["phase"]
        _log.info("an interrupted rename of %r to %r (%s) is being settled", old, new, phase)
        if phase == jobs.COPYING:
            await self._undo(old, new, is_marker_own=details["replaces"] != "1")
            return Outcome()
        if phase == jobs.MOVING:
            await self._move_rest(old, new)
        elif phase == jobs.DELETING:
            await self._delete_rest(old, new, int(details["newest_ns"]))
        else:
            raise ValueError(f"no phase of a rename: {phase!r}")
        return Outcome(moved=(old, new))

    async def _undo(self, old_prefix: str, new_prefix: str, *, is_marker_own: bool) -> None:
        """Delete the copies below the new prefix of what is still below the old one."""
        originals = await by_suffix(self._store, old_prefix)
        if not originals:
            return  # others have removed the old tree: what is at the new one is all that is left
        left: list[str] = []

        async def undo_page(objects: Sequence[ObjectInfo]) -> None:
            below = [info for info in objects if info.key != new_prefix]
            pairs = [(originals.get(info.key[len(new_prefix) :]), info) for info in below]
            left.extend(await self._delete_copies(pairs))

        await each_page(self._store, new_prefix, undo_page)
        # Only now: gateways to file systems give a directory another version with its entries.
        marker = await find(self._store, new_prefix) if is_marker_own and not left else None
        if marker is not None and marker.size == 0:
            with suppress(ObjectChanged):
                await self._store.delete(marker.key, marker.version)
        elif marker is None and is_marker_own and not left:
            await self._end_bare_folders(new_prefix)
        _report(left, "are no copies of what a rename that was interrupted has left behind")

    async def _end_bare_folders(self, prefix: str) -> None:
        """Remove folders that copies have made before they ended without an object.

        Only gateways to file systems have such: shown by what is around them, though there is no
        marker and no object below.
        """
        below = await self._store.list_page(prefix, "/")
        for folder in below.prefixes:
            await self._end_bare_folders(folder)
        around = await self._store.list_page(prefix.removesuffix("/"), "/", limit=2)
        if prefix in around.prefixes and not below.objects:
            await self._store.delete(prefix)

    async def _delete_rest(self, old_prefix: str, new_prefix: str, newest_ns: int) -> None:
        """Delete what is left below the old prefix and has its copy below the new one."""
        copies = await by_suffix(self._store, new_prefix)
        left: list[str] = []
        has_marker = False

        async def delete_page(objects: Sequence[ObjectInfo]) -> None:
            nonlocal has_marker
            pairs = []
            for info in objects:
                if info.key == old_prefix:
                    has_marker = True
                elif info.modified_ns > newest_ns:
                    left.append(info.key)  # others wrote it after it was copied
                else:
                    pairs.append((copies.get(info.key[len(old_prefix) :]), info))
            left.extend(await self._delete_copies(pairs))

        await each_page(self._store, old_prefix, delete_page)
        if has_marker and not left:
            await self._end_marker(old_prefix, new_prefix)
        _report(left, "were not in the bucket when their directory was renamed, or are changed")

    async def _move_rest(self, old_prefix: str, new_prefix: str) -> None:
        """Move what is left below the old prefix to where nothing is."""
        copies = await by_suffix(self._store, new_prefix)
        left: list[str] = []
        has_marker = False

        async def move(info: ObjectInfo) -> None:
            suffix = info.key[len(old_prefix) :]
            if suffix not in copies:
                await self._store.move(info.key, new_prefix + suffix)
            else:
                left.extend(await self._delete_copies([(copies[suffix], info)]))

        async def move_page(objects: Sequence[ObjectInfo]) -> None:
            nonlocal has_marker
            has_marker = has_marker or any(info.key == old_prefix for info in objects)
            rest = [info for info in objects if info.key != old_prefix]
            await for_each(rest, move, limit=self._concurrency)

        await each_page(self._store, old_prefix, move_page)
        if has_marker and not left:
            await self._end_marker(old_prefix, new_prefix)
        _report(left, "are at both names of a renamed directory, and differ")

    async def _end_marker(self, old_prefix: str, new_prefix: str) -> None:
        """Let the new directory have a marker, and the old one none."""
        old, new = await find(self._store, old_prefix), await find(self._store, new_prefix)
        if old is None:
            return
        if new is None:
            new = await self._store.copy(
                old_prefix, new_prefix, source_version=old.version, precondition=ABSENT
            )
        if old.size == 0 or await is_copy(self._store, old, new):
            with suppress(ObjectChanged):
                await self._store.delete(old_prefix, old.version)

    async def _delete_copies(
        self, pairs: Sequence[tuple[ObjectInfo | None, ObjectInfo]]
    ) -> list[str]:
        """Delete the second of each pair if it is a copy of the first; return the keys left."""
        gone: list[str] = []

        async def compare(pair: tuple[ObjectInfo | None, ObjectInfo]) -> None:
            kept, info = pair
            if kept is not None and await is_copy(self._store, kept, info):
                gone.append(info.key)

        await for_each(pairs, compare, limit=self._concurrency)
        for failure in (await self._store.delete_many(gone)).values():
            raise failure
        proved = set(gone)
        return [info.key for _, info in pairs if info.key not in proved]


def _path(key: str) -> str:
    """Spell a key as the gate does: by the names that the kernel knows it by."""
    return "/".join(keys.shown_segment(part) for part in key.removesuffix("/").split("/"))


def _report(left: Sequence[str], why: str) -> None:
    if left:
        _log.warning("%d objects stay: they %s; the first is %r", len(left), why, left[0])
