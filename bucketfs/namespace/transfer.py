"""Moving a tree of objects: everything below one prefix comes to be below another.

Copied page by page and then deleted, or moved natively; the old tree stays whole until all copies
are there. Some 400 bytes of memory for each object, whatever is in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from bucketfs.errors import ObjectChanged, ObjectNotFound, StorageError
from bucketfs.namespace import keys
from bucketfs.namespace.copies import each_page, find, is_copy
from bucketfs.namespace.parallel import for_each
from bucketfs.storage.interface import ObjectInfo, ObjectStore, Version

BELIEVED_S = 1.0
"""So long after the first listing the old objects are deleted without another look at them."""

_UNDO_S = 60.0
_log = logging.getLogger(__name__)


class Copied(NamedTuple):
    """What became of one object: the version that was copied, and what the copy is."""

    old_version: Version
    version: Version
    modified_ns: int
    is_appendable: bool


class TreeTransfer:
    """One transfer: `check_keys`, `copy_all`, then `delete_old` or `undo`.

    The caller holds both names, so that nobody of this mount changes anything below them.
    """

    def __init__(
        self, store: ObjectStore, old_prefix: str, new_prefix: str, *, concurrency: int
    ) -> None:
        self.old_prefix = old_prefix
        self.new_prefix = new_prefix
        self.done: dict[str, Copied] = {}
        """By old key."""
        self.newest_ns = 0
        """When the youngest of the old objects was modified, by the store's clock."""
        self.has_new_marker = False
        """Whether the marker at the new prefix, where none was, may be this transfer's."""
        self._store = store
        self._concurrency = concurrency
        self._is_native = store.capabilities.move
        self._begun: set[str] = set()
        self._only_page: Sequence[ObjectInfo] | None = None
        self._listed_s = 0.0

    def new_key(self, old_key: str) -> str:
        """Return where an object goes."""
        return self.new_prefix + old_key[len(self.old_prefix) :]

    async def check_keys(self, unsaved: Iterable[str]) -> None:
        """Refuse what would need too long a key, here (`unsaved`) or in the bucket.

        Costs no request beyond the first page of the listing, unless keys grow. Raises:
        NameTooLong, StorageError.
        """
        max_bytes = self._store.capabilities.max_key
        for key in unsaved:
            keys.check_key(self.new_key(key), max_bytes)
        if keys.encoded_length(self.new_prefix) <= keys.encoded_length(self.old_prefix):
            return
        pages: list[Sequence[ObjectInfo]] = []
        self._listed_s = trio.current_time()

        async def check(objects: Sequence[ObjectInfo]) -> None:
            for info in objects:
                keys.check_key(self.new_key(info.key), max_bytes)
            if len(pages) < 2:
                pages.append(objects)

        await each_page(self._store, self.old_prefix, check)
        self._only_page = pages[0] if len(pages) == 1 else None

    async def copy_all(self) -> None:
        """Copy (or move) everything below the old prefix but its marker. Raises: StorageError."""
        if self._only_page is not None:
            await self._copy_page(self._only_page)
            return
        self._listed_s = trio.current_time()
        await each_page(self._store, self.old_prefix, self._copy_page)

    async def _copy_page(self, objects: Sequence[ObjectInfo]) -> None:
        rest = [info for info in objects if info.key != self.old_prefix]
        await for_each(rest, self._copy_one, limit=self._concurrency)
        if len(self.done) > len(rest):
            _log.info(
                "renaming %r to %r: %d so far", self.old_prefix, self.new_prefix, len(self.done)
            )

    async def _copy_one(self, old: ObjectInfo) -> None:
        new_key = self.new_key(old.key)
        self._begun.add(old.key)
        if self._is_native:
            info = await self._store.move(old.key, new_key)
        else:
            info = await self._store.copy(old.key, new_key, source_version=old.version)
        # ATOMIC: what is done is no longer under way
        version = old.version if old.version == info.version else info.version
        self.done[old.key] = Copied(old.version, version, info.modified_ns, info.is_appendable)
        self._begun.discard(old.key)
        self.newest_ns = max(self.newest_ns, old.modified_ns)

    async def delete_old(self) -> None:
        """Delete what was copied, and the old marker last.

        What others put or replaced below the old prefix meanwhile stays there. Raises:
        StorageError.
        """
        failures: dict[str, Exception] = {}
        is_believed = trio.current_time() - self._listed_s < BELIEVED_S
        if self._is_native or is_believed:
            copied = [] if self._is_native else _leaves_first(self.done)
            failures.update(await self._store.delete_many([*copied, self.old_prefix]))
        else:
            await self._delete_listed(failures)
        for key, failure in failures.items():
            raise StorageError(
                f"the directory was renamed, but {len(failures)} old objects are left: {failure}",
                key=key,
                operation="rename",
            ) from failure

    async def _delete_listed(self, failures: dict[str, Exception]) -> None:
        left = 0

        async def delete_page(objects: Sequence[ObjectInfo]) -> None:
            nonlocal left
            gone = []
            for info in objects:
                copied = self.done.get(info.key)
                if copied is not None and copied.old_version == info.version:
                    gone.append(info.key)
                elif info.key != self.old_prefix:
                    left += 1
            failures.update(await self._store.delete_many(_leaves_first(gone)))

        await each_page(self._store, self.old_prefix, delete_page)
        if left:
            _log.warning("%d objects that others wrote stay at %r", left, self.old_prefix)
        failures.update(await self._store.delete_many([self.old_prefix]))

    async def undo(self) -> bool:
        """Take back what was done; return whether all is as before.

        Of a failed or cancelled rename. Shielded, for a minute at most; what fails is logged.
        """
        with trio.move_on_after(_UNDO_S, shield=True):
            try:
                if self._is_native:
                    await for_each(
                        [*self.done, *self._begun], self._move_back, limit=self._concurrency
                    )
                    await self._store.delete_many(self._own_marker())
                    return True
                copies = _leaves_first(self.new_key(key) for key in self.done)
                failures = await self._store.delete_many([*copies, *self._own_marker()])
                for failure in failures.values():
                    raise failure
                await for_each(list(self._begun), self._undo_unknown, limit=self._concurrency)
                return True
            except StorageError as exc:
                _log.error("remains of a failed rename at %r: %s", self.new_prefix, exc)
                return False
        _log.error("remains of a failed rename at %r: took too long", self.new_prefix)
        return False

    def _own_marker(self) -> list[str]:
        return [self.new_prefix] if self.has_new_marker else []

    async def _move_back(self, old_key: str) -> None:
        try:
            await self._store.move(self.new_key(old_key), old_key)
        except ObjectNotFound:
            if old_key in self.done:
                raise

    async def _undo_unknown(self, old_key: str) -> None:
        """Delete a copy whose request failed or was cancelled, but which may have arrived."""
        old = await find(self._store, old_key)
        new = await find(self._store, self.new_key(old_key))
        if old is not None and new is not None and await is_copy(self._store, old, new):
            with suppress(ObjectChanged):
                await self._store.delete(new.key, new.version)


def _leaves_first(below: Iterable[str]) -> list[str]:
    """Order keys so that those below a marker come before it: folders go only when empty."""
    return sorted(below, reverse=True)
