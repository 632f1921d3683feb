"""MemoryUpload: a multipart upload of a `MemoryStore`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from bucketfs.errors import InvalidRequest, ObjectChanged, ObjectNotFound
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Version,
)

if TYPE_CHECKING:
    from bucketfs.storage.memory import MemoryStore


@dataclass(slots=True)
class UploadState:
    """What is kept of an upload: its parts by their numbers."""

    key: str
    attributes: ObjectAttributes
    begun_ns: int
    parts: dict[int, tuple[Part, bytes]] = field(default_factory=dict)


class MemoryUpload:
    """A multipart upload of a `MemoryStore`, with the part rules that S3 has."""

    def __init__(self, store: MemoryStore, upload_id: str) -> None:
        self.upload_id = upload_id
        self._store = store

    async def add_part(self, number: int, body: Body) -> Part:
        """Keep part `number`. Raises: InvalidRequest for a number out of range."""
        data = await self._store._collected(body)
        return self._keep(number, data, "add_part")

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Make a part of an object's bytes. Raises: ObjectNotFound, ObjectChanged."""
        await trio.lowlevel.checkpoint()
        found = self._store._present(source, "copy_part")
        if found.info.version != version:
            raise ObjectChanged("the source was replaced", key=source, operation="copy_part")
        if start < 0 or length <= 0 or start + length > len(found.data):
            message = "the range is not inside the source"
            raise InvalidRequest(message, key=source, operation="copy_part")
        return self._keep(number, found.data[start : start + length], "copy_part")

    async def list_parts(self) -> Sequence[Part]:
        """Return what was kept, ascending. Raises: ObjectNotFound if the upload is gone."""
        await trio.lowlevel.checkpoint()
        state = self._state("list_parts")
        return [state.parts[number][0] for number in sorted(state.parts)]

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Make the object. Raises: ObjectChanged, ObjectExists, InvalidRequest, ObjectNotFound."""
        await trio.lowlevel.checkpoint()
        # ATOMIC: checked and made in one step.
        state = self._state("commit")
        pieces = self._checked_pieces(state, parts)
        self._store._check_precondition(state.key, precondition, "commit")
        del self._store._uploads[self.upload_id]
        return self._store._put(state.key, b"".join(pieces), state.attributes)

    async def abort(self) -> None:
        """Drop the upload; one that is gone is no error."""
        await trio.lowlevel.checkpoint()
        self._store._uploads.pop(self.upload_id, None)

    def _state(self, operation: str) -> UploadState:
        state = self._store._uploads.get(self.upload_id)
        if state is None:
            raise ObjectNotFound(f"no such upload: {self.upload_id}", operation=operation)
        return state

    def _keep(self, number: int, data: bytes, operation: str) -> Part:
        state = self._state(operation)
        limits = self._store.capabilities
        if not 1 <= number <= limits.max_parts or len(data) > limits.max_part:
            message = f"part {number} of {len(data)} bytes is outside the limits"
            raise InvalidRequest(message, key=state.key, operation=operation)
        part = Part(number, f"p{next(self._store._numbers)}", len(data))
        state.parts[number] = (part, data)
        return part

    def _checked_pieces(self, state: UploadState, parts: Sequence[Part]) -> list[bytes]:
        numbers = [part.number for part in parts]
        kept = [state.parts.get(number) for number in numbers]
        pieces = [
            piece[1] for piece, part in zip(kept, parts, strict=True) if piece and piece[0] == part
        ]
        if not parts or len(pieces) < len(parts) or numbers != sorted(set(numbers)):
            message = "the parts are unknown, or not in ascending order"
            raise InvalidRequest(message, key=state.key, operation="commit")
        if any(len(piece) < self._store.capabilities.min_part for piece in pieces[:-1]):
            message = "a part that is not the last is too small"
            raise InvalidRequest(message, key=state.key, operation="commit")
        return pieces
