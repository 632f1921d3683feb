"""Retrying: what may pass is tried again, and nothing is done twice by it.

It looks only at `Transient`. Reads, listings, deletes, parts and whole writes may be repeated
freely; where a repetition may meet its own first success (a precondition, an append, a commit),
the answer is proved by `retry_proofs` before it is believed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import trio

from bucketfs.counting.meter import Meter
from bucketfs.counting.underway import pausing
from bucketfs.errors import ObjectChanged, ObjectNotFound, Transient
from bucketfs.storage.decorated import DecoratedStore, DecoratedUpload
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Part,
    Precondition,
    Sink,
    Upload,
    Version,
)
from bucketfs.storage.retry_proofs import (
    ComparingSink,
    is_our_commit,
    is_our_copy,
    is_our_write,
)

T = TypeVar("T")
Proof = Callable[[], Awaitable[ObjectInfo | None]]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0

_log = logging.getLogger(__name__)


class Patience:
    """How long one operation is tried: attempts and seconds, whichever ends first."""

    def __init__(
        self, attempts: int, timeout_s: float, chance: random.Random, meter: Meter
    ) -> None:
        self._meter = meter
        self._attempts = attempts
        self._chance = chance
        self._left = attempts
        self._ends_s = trio.current_time() + timeout_s

    async def pause(self, exc: Transient, operation: str) -> None:
        """Sleep before the next attempt. Raises: `exc` where there is to be none."""
        self._left -= 1
        failed = self._attempts - self._left
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failed - 1))
        pause_s *= self._chance.uniform(0.5, 1.0)  # so that many clients do not come back at once
        pause_s = max(pause_s, exc.retry_after_s or 0.0)
        if self._left <= 0 or trio.current_time() + pause_s > self._ends_s:
            raise exc
        _log.info("%s failed, again in %.1f s: %s", operation, pause_s, exc)
        self._meter.retried(operation)
        with pausing(pause_s):
            await trio.sleep(pause_s)


class Retrying(DecoratedStore):
    """An `ObjectStore` that repeats what failed for the moment.

    `attempts` and `timeout_s` bound one call of it: then the last `Transient` is raised. A read
    that goes on getting bytes is bounded by `timeout_s` after the last of them. `meter` counts what
    is repeated.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        attempts: int = 8,
        timeout_s: float = 60.0,
        chance: random.Random | None = None,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(inner)
        self._meter = meter or Meter()
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._chance = chance or random.Random()

    async def around(self, operation: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated freely, until it succeeds or patience ends."""
        patience = self._patience()
        while True:
            try:
                return await call()
            except Transient as exc:
                await patience.pause(exc, operation)

    async def proving(
        self,
        operation: str,
        call: Callable[[], Awaitable[ObjectInfo]],
        proof: Proof,
        *,
        is_repeatable: bool = True,
    ) -> ObjectInfo:
        """Make a call that may meet its own success: then `proof` returns the object, or None.

        `is_repeatable` False: the proof is asked before the call is made a second time.
        Raises: ObjectChanged or ObjectNotFound, where it is not proved.
        """
        patience = self._patience()
        is_answer_lost = False
        while True:
            try:
                return await call()
            except Transient as exc:
                is_answer_lost = is_answer_lost or exc.sent
                await patience.pause(exc, operation)
                found = await proof() if is_answer_lost and not is_repeatable else None
                if found is not None:
                    return found
            except (ObjectChanged, ObjectNotFound):
                found = await proof() if is_answer_lost else None
                if found is None:
                    raise
                return found

    async def read_range(
        self,
        key: str,
        start: int,
        length: int,
        sink: Sink,
        if_version: Version | None = None,
    ) -> ObjectInfo:
        """Read; a version is read on where it broke off, anything else from its start again."""
        patience = self._patience()
        while True:
            before = sink.received
            try:
                return await self.inner.read_range(key, start, length, sink, if_version)
            except Transient as exc:
                if sink.received > before and if_version is not None:
                    patience = self._patience()
                await patience.pause(exc, "read_range")
                if if_version is None and sink.received:
                    sink.reset()

    async def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Write. Raises: ObjectChanged where the object is not provably our own."""

        async def proof() -> ObjectInfo | None:
            found = await self.found(key)
            return found if found and await is_our_write(found, body, attributes) else None

        call = partial(self.inner.write, key, body, attributes, precondition)
        return await self.proving("write", call, proof)

    async def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Append; the position keeps a repetition from adding twice. Raises: ObjectChanged."""

        async def proof() -> ObjectInfo | None:
            found = await self.found(key)
            if found is None or found.size != position + body.size:
                return None
            compared = ComparingSink(body)
            await self.read_range(key, position, body.size, compared, found.version)
            return found if compared.is_equal else None

        call = partial(self.inner.append, key, position, body, attributes)
        return await self.proving("append", call, proof)

    async def begin_upload(self, key: str, attributes: ObjectAttributes) -> Upload:
        """Begin an upload; one whose answer was lost stays behind, empty."""
        call = partial(self.inner.begin_upload, key, attributes)
        inner = await self.around("begin_upload", key, call)
        return RetryingUpload(self, key, attributes, inner)

    async def resume_upload(self, key: str, upload_id: str, attributes: ObjectAttributes) -> Upload:
        """Go on with an upload. Raises: NotSupported."""
        inner = await self.inner.resume_upload(key, upload_id, attributes)
        return RetryingUpload(self, key, attributes, inner)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_version: Version | None = None,
        precondition: Precondition | None = None,
    ) -> ObjectInfo:
        """Copy. Raises: ObjectChanged where the target is not provably our own."""

        async def proof() -> ObjectInfo | None:
            found, origin = await self.found(target), await self.found(source)
            if found and origin and source_version not in (None, origin.version):
                return None
            return found if found and is_our_copy(found, origin, attributes) else None

        call = partial(
            self.inner.copy,
            source,
            target,
            attributes=attributes,
            source_version=source_version,
            precondition=precondition,
        )
        return await self.proving("copy", call, proof)

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename; after a lost answer a source that is gone and a target that is there prove it."""

        async def proof() -> ObjectInfo | None:
            return await self.found(target)

        return await self.proving("move", partial(self.inner.move, source, target), proof)

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, Exception]:
        """Delete all of `keys`; those that failed for the moment are tried again."""
        left = list(keys)
        failed: dict[str, Exception] = {}
        patience = self._patience()
        while True:
            try:
                errors = await self.inner.delete_many(left)
            except Transient as exc:
                await patience.pause(exc, "delete_many")
                continue
            failed.update(errors)
            passing = {key: exc for key, exc in errors.items() if isinstance(exc, Transient)}
            if not passing:
                return failed
            try:
                await patience.pause(next(iter(passing.values())), "delete_many")
            except Transient:
                return failed
            left = list(passing)
            for key in left:
                del failed[key]

    def _patience(self) -> Patience:
        return Patience(self._attempts, self._timeout_s, self._chance, self._meter)

    async def found(self, key: str) -> ObjectInfo | None:
        """Return an object's info, None if the store says that there is none."""
        try:
            return await self.stat(key)
        except ObjectNotFound:
            return None


class RetryingUpload(DecoratedUpload):
    """A multipart upload whose parts are repeated freely and whose commit is proved."""

    def __init__(
        self, store: Retrying, key: str, attributes: ObjectAttributes, inner: Upload
    ) -> None:
        super().__init__(store, key, inner)
        self._retrying = store
        self._attributes = attributes

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. After a lost answer the upload may be gone because it was committed.

        Servers say so by any error (radosgw and moto: 500), so the proof comes first.
        Raises: ObjectChanged, ObjectNotFound where the object is not provably our own.
        """

        async def proof() -> ObjectInfo | None:
            found = await self._retrying.found(self._key)
            return found if found and is_our_commit(found, parts, self._attributes) else None

        call = partial(self._inner.commit, parts, precondition)
        return await self._retrying.proving("commit", call, proof, is_repeatable=False)
