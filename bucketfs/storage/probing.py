"""What a store can do and what these credentials may do, found out by asking it.

`abilities` is pure: from what a dialect says of itself to what that means for a mount. `probe` asks
through the seam only, so it tells the same of every dialect: it lists, writes a small object under
a key that nobody uses, reads it back, deletes it, and looks whether it is gone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import trio

from bucketfs.errors import (
    AccessDenied,
    ConfusedServer,
    ObjectNotFound,
)
from bucketfs.storage.interface import (
    BytesBody,
    Capabilities,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
)

PROBE_PREFIX = "bucketfs-probe-"
CLEANING_S = 30.0
"""How long the removal of the probe's object may take, whatever ended the probe."""

CLOCK_TOLERANCE_S = 60.0
"""Most clouds refuse requests whose time is 15 minutes off; a minute is worth a word."""

_CONTENT = b"written by bucketfs probe; it may be deleted\n"
_METADATA = {"bucketfs-probe": "1"}
_NO_METADATA = "modes, owners, times and xattrs are forgotten with the next listing"
_NO_LINKS = "a symlink is ENOTSUP: nothing would tell it from a file"
_ENDLESS = 1 << 60
_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))
T = TypeVar("T")

Verdict = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that stores differ in: what this one has, and what a mount does because of that."""

    name: str
    native: str
    mount: str


@dataclass(frozen=True, slots=True)
class Right:
    """Whether these credentials may do something; `took_s` is what the request took."""

    name: str
    verdict: Verdict
    detail: str = ""
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a probe found. `skew_s`: the store's clock less ours; None: it could not be seen.

    `left_key` is the probe's own object where it could not be removed.
    """

    rights: tuple[Right, ...]
    abilities: tuple[Ability, ...]
    skew_s: float | None
    left_key: str | None = None

    def missing(self, *, is_read_only: bool = False) -> list[Right]:
        """Return the rights that a mount needs and these credentials do not have."""
        needed = ("list", "read") if is_read_only else ("list", "read", "write", "delete")
        return [right for right in self.rights if right.verdict == "no" and right.name in needed]


_MEANINGS: tuple[tuple[str, str, str, str], ...] = (
    (
        "ranged read",
        "ranged_read",
        "a read fetches no more than it needs",
        "the first read fetches the file whole to the local disk; later ones read there",
    ),
    (
        "part upload",
        "part_upload",
        "a large file is sent while it is being written",
        "a large file is kept on the local disk, and sent whole when it is closed",
    ),
    (
        "part copy",
        "part_copy",
        "of a file that grew or changed only the new parts are sent, the rest is copied",
        "a file that grew or changed is sent whole",
    ),
    (
        "append",
        "append",
        "of a log that is appended to and synced only the new bytes are sent (append=)",
        "what was appended is saved as any other edit",
    ),
    (
        "copy",
        "server_copy",
        "a copy costs no traffic here",
        "a copy fetches the file and sends it again",
    ),
    (
        "move",
        "move",
        "a rename is one request a file",
        "a rename copies on the server, then deletes: two requests a file",
    ),
    (
        "metadata by copy",
        "copy_replaces_metadata",
        "chmod, chown and touch are one request",
        "chmod, chown and touch send the file again",
    ),
    (
        "conditional write",
        "conditional_write",
        "the store itself refuses to overwrite what others changed",
        "compared as closely as the server lets us, at worst by a look before the save",
    ),
    (
        "symlink",
        "symlink",
        "native links are shown; new ones are small objects, as s3fs makes them",
        "links are small objects, as s3fs makes them",
    ),
    (
        "folder listing",
        "delimited_listing",
        "ls asks for the names in its directory",
        "ls walks over all that is below its directory, at any depth",
    ),
    (
        "ordered listing",
        "listing_is_ordered",
        "a large directory is shown while it is listed",
        "a file and a directory of one name are told apart at the listing's end",
    ),
    (
        "listing from a key on",
        "key_markers",
        "find and its like list a tree from where they are, 1000 keys a request",
        "find and its like list a tree from its top, or directory by directory",
    ),
    (
        "dated metadata",
        "dates_metadata",
        "attributes are asked for once, and remembered while listings show the same object",
        "attributes are asked for again after a minute: no listing tells that others changed them",
    ),
    (
        "over a network",
        "is_remote",
        "a name is looked up by a listing that brings what is in a small directory along",
        "names are looked up, and directories listed, one by one",
    ),
)
"""Name, field of `Capabilities`, what a mount does where it is so, and where it is not."""

_WITHOUT_COPY: Mapping[str, str] = {
    "part copy": "a file that grew or changed is fetched as far as needed, and sent whole",
    "move": "a rename fetches each file, sends it again, then deletes",
    "metadata by copy": "chmod, chown and touch fetch the file and send it again",
}
"""What these cost where the store does not even copy."""


def abilities(capabilities: Capabilities) -> tuple[Ability, ...]:
    """Return what a store of these capabilities means for a mount, in the order to be read."""
    found = []
    for name, field, with_it, without in _MEANINGS:
        is_native = bool(getattr(capabilities, field))
        words = with_it if is_native else without
        if name in _WITHOUT_COPY and not capabilities.server_copy:
            is_native, words = False, _WITHOUT_COPY[name]
        if name == "symlink" and not capabilities.keeps_metadata:
            words = _NO_LINKS
        found.append(Ability(name, "yes" if is_native else "no", words))
    return (*found, *_amounts(capabilities))


def _amounts(has: Capabilities) -> Iterator[Ability]:
    """Yield what is told by a name or a number."""
    if has.batch_delete > 1:
        yield Ability(
            "batch delete", f"{has.batch_delete} keys", f"{has.batch_delete} deletes a request"
        )
    else:
        yield Ability("batch delete", "no", "one request a key")
    if has.checksum:
        yield Ability("checksum", has.checksum, "uploads are compared with it")
    else:
        yield Ability("checksum", "no", "the transport's own checks")
    is_by_parts = 5 << 40 < has.max_object < _ENDLESS
    beyond = "; files over 5 TiB need a larger part_size=" if is_by_parts else ""
    yield Ability("largest object", _size(has.max_object), f"a larger file is EFBIG{beyond}")
    yield Ability("largest request", _size(has.max_write), "larger files go in parts")
    if has.server_copy:
        if has.max_copy < has.max_object:
            size, words = _size(has.max_copy), "larger objects are copied in parts"
        else:
            size, words = "any size", "one request an object"
        yield Ability("largest copy", size, words)
    if has.append:
        yield Ability("largest append", _size(has.max_append), "what outgrows it is sent whole")
    parts = f"{_size(has.min_part)} to {_size(has.max_part)}, up to {has.max_parts}"
    yield Ability("parts", parts, "part_size= chooses within these")
    yield Ability("longest key", f"{has.max_key} bytes", "a longer path is ENAMETOOLONG")
    if has.keeps_metadata:
        yield Ability("metadata", f"{has.max_metadata} bytes", "more attributes are ENOSPC")
    else:
        yield Ability("metadata", "no", _NO_METADATA)


async def probe(store: ObjectStore) -> Findings:
    """Find out what may be done in `store`, which has answered before.

    The probe's own object is removed however this ends, cancellation included. Raises: StorageError
    that is not a refusal (unreachable, confused): then nothing is known.
    """
    return await _Probe(store).run()


class _Probe:
    """One probe under way."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._key = PROBE_PREFIX + secrets.token_hex(8)
        self._rights: list[Right] = []
        self._skew_s: float | None = None
        self._is_there = False

    async def run(self) -> Findings:
        page = await self._try("list", lambda: self._store.list_page("", "/", limit=1000))
        try:
            written = await self._try("write", self._write)
            if written is not None:
                await self._try("read", lambda: self._read_back(written))
            else:
                await self._read_another(page.objects[0] if page and page.objects else None)
        finally:
            await self._remove()
        known = abilities(self._store.capabilities)
        left = self._key if self._is_there else None
        return Findings(tuple(self._rights), known, self._skew_s, left)

    async def _try(self, name: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """Note whether `call` is allowed; what is not a refusal is raised."""
        began_s = trio.current_time()
        try:
            outcome = await call()
        except AccessDenied as exc:
            self._rights.append(Right(name, "no", str(exc), trio.current_time() - began_s))
            return None
        self._rights.append(Right(name, "yes", took_s=trio.current_time() - began_s))
        return outcome

    async def _write(self) -> ObjectInfo:
        before_s = time.time()
        # From here on it may be there, whatever the answer is.
        self._is_there = True
        try:
            info = await self._store.write(
                self._key, BytesBody(_CONTENT), ObjectAttributes(_METADATA, "text/plain")
            )
        except AccessDenied:
            self._is_there = False
            raise
        after_s = time.time()
        stored_s = info.modified_ns / 1e9
        if before_s - 1 <= stored_s <= after_s + 1:  # most clouds tell whole seconds
            self._skew_s = 0.0
        else:
            self._skew_s = stored_s - (before_s + after_s) / 2
        return info

    async def _read_back(self, written: ObjectInfo) -> None:
        buffer = bytearray(len(_CONTENT))
        info = await self._store.read_range(
            self._key, 0, len(buffer), MemorySink(buffer), written.version
        )
        if bytes(buffer) != _CONTENT:
            raise ConfusedServer("other bytes came back than were written", key=self._key)
        if not self._store.capabilities.keeps_metadata:
            return
        if not _METADATA.items() <= (info.metadata or {}).items():
            raise ConfusedServer("the metadata that was written did not come back", key=self._key)

    async def _read_another(self, found: ObjectInfo | None) -> None:
        """Try to read without having written: any object at the top will do."""
        if found is None:
            self._rights.append(Right("read", "unknown", "there is no object at the top to read"))
            return
        buffer = bytearray(min(1, found.size))

        async def read() -> ObjectInfo:
            return await self._store.read_range(found.key, 0, len(buffer), MemorySink(buffer))

        await self._try("read", read)

    async def _remove(self) -> None:
        """Delete the probe's object and see that it is gone."""
        if not self._is_there:
            self._rights.append(Right("delete", "unknown", "nothing could be written to delete"))
            return
        with trio.move_on_after(CLEANING_S) as scope:
            scope.shield = True
            if await self._try("delete", self._delete) is not None:
                self._is_there = False

    async def _delete(self) -> bool:
        await self._store.delete(self._key)
        try:
            await self._store.stat(self._key)
        except (ObjectNotFound, AccessDenied):
            return True  # Who may not list is told 403 instead of 404 by some.
        raise ConfusedServer("a deleted object is still there", key=self._key)


def _size(count: int) -> str:
    if count >= _ENDLESS:
        return "unlimited"
    for unit, bits in _UNITS:
        if count >= 1 << bits:
            return f"{count / (1 << bits):.4g} {unit}"
    return f"{count} bytes"
