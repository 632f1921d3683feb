"""Hidden objects: their files were removed, but they are still there, and nobody sees them here.

An open handle reads them, or their turn to be deleted did not come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from bucketfs.errors import ObjectChanged
from bucketfs.namespace import jobs
from bucketfs.namespace.dentries import Dentries
from bucketfs.namespace.nodes import Inode, Node, prefix_of
from bucketfs.namespace.parallel import for_each
from bucketfs.storage.interface import ObjectStore, Version

_AT_ONCE_NS = 2 * 10**9
"""So long after an unlink its delete asks for no version."""
_DELETES_AT_ONCE = 16


class HiddenObjects:
    """Hides objects and deletes them in the end. The places of their files are held by callers."""

    def __init__(
        self,
        store: ObjectStore,
        dentries: Dentries,
        log: jobs.JobLog,
        clock_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._dentries = dentries
        self._jobs = log
        self._now_ns = clock_ns
        self._nodes: dict[str, Node] = {}
        self._keys: dict[Inode, set[str]] = {}
        self._numbers: dict[str, int] = {}

    async def hide(
        self, key: str, node: Node, version: Version, *, is_durable: bool = True
    ) -> None:
        """Let the object of a removed file wait to be deleted, by this mount or the next."""
        known = node.info if node.info is not None and node.info.version == version else None
        modified_ns = known.modified_ns if known is not None else 0
        details = {"key": key, "version": version, "modified_ns": str(modified_ns)}
        number = await self._jobs.begin(jobs.DELETE, details, is_durable=is_durable)
        # ATOMIC: the key is hidden, and what hides it is known
        self._numbers[key] = number
        self._nodes[key] = node
        self._keys.setdefault(node.inode, set()).add(key)
        node.has_deferred_delete = True

    def keys_of(self, node: Node) -> list[str]:
        """Return the keys that a removed file has left."""
        return list(self._keys.get(node.inode, ()))

    async def settle(self, key: str) -> None:
        """Free a key whose old object waits for the last close of a removed file.

        The bytes that its handles need are fetched first. Raises: NoSpace, StorageError.
        """
        node = self._nodes.get(key)
        if node is None:
            return
        if node.content is not None and node.opens:
            await node.content.fetch_all()
        await self.delete(key, node)

    async def settle_below(self, prefix: str) -> None:
        """Free every such key below a prefix. Raises: NoSpace, StorageError."""
        waiting = [key for key in self._nodes if key.startswith(prefix)]
        await for_each(waiting, self.settle, limit=_DELETES_AT_ONCE)

    async def delete(self, key: str, node: Node) -> None:
        """Delete the object of a removed file, unless others have put another in its place.

        Right after its removal that is not asked: an unlink that does not wait asks nothing either.
        Raises: StorageError.
        """
        if self._nodes.get(key) is not node:
            return
        version = node.info.version if node.info is not None and not self._is_young(node) else None
        with suppress(ObjectChanged):  # what is there now is the file of somebody else
            await self._store.delete(key, version)
        await self._jobs.end(*self._freed([key]))

    async def delete_many(self, hidden: Mapping[str, Node]) -> None:
        """Do as `delete` for many keys, in as few requests as the store takes.

        What can be deleted is, before the first failure is raised. Raises: StorageError.
        """
        known = {key: node for key, node in hidden.items() if self._nodes.get(key) is node}
        young = [key for key, node in known.items() if self._is_young(node)]
        failures = await self._store.delete_many(young)
        await self._jobs.end(*self._freed([key for key in young if key not in failures]))

        async def delete(key: str) -> None:
            await self.delete(key, known[key])

        await for_each(known.keys() - set(young), delete, limit=_DELETES_AT_ONCE)
        for failure in failures.values():
            raise failure

    def _is_young(self, node: Node) -> bool:
        return self._now_ns() - node.attributes.ctime_ns < _AT_ONCE_NS

    def _freed(self, keys: Sequence[str]) -> list[int]:
        """Note that keys have no old objects any more; return the jobs that are done with it."""
        # ATOMIC: the keys are free, for the finder too
        numbers = []
        for key in keys:
            node = self._nodes.pop(key, None)
            if node is None:
                continue
            left = self._keys[node.inode]
            left.discard(key)
            if not left:
                del self._keys[node.inode]
                node.has_deferred_delete = False
            if node.parent is not None:
                self._dentries.finder.removed(prefix_of(node.parent), node.name)
            numbers.append(self._numbers.pop(key))
        return numbers
