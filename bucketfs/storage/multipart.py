"""Multipart: what uploads in parts have in common where clouds take them in S3's way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from bucketfs.errors import ConfusedServer, ObjectChanged, ObjectExists, ObjectNotFound
from bucketfs.storage.calling import Sender
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Part, Precondition, Version

C = TypeVar("C", bound=Sender)


class Multipart(Generic[C]):
    """A multipart upload of one key, named by the id that the server gave it."""

    def __init__(self, calls: C, key: str, attributes: ObjectAttributes, upload_id: str) -> None:
        self.upload_id = upload_id
        self._calls = calls
        self._key = key
        self._attributes = attributes

    async def abort(self) -> None:
        """Drop the upload; one that is gone already is no error."""
        try:
            await self._calls.send("DELETE", "abort", self._key, query=self._query())
        except ObjectNotFound:
            return

    def _query(self, number: int | None = None) -> list[tuple[str, str]]:
        query = [("uploadId", self.upload_id)]
        if number is not None:
            query.append(("partNumber", str(number)))
        return query

    def _part(self, operation: str, number: int, etag: str | None, size: int) -> Part:
        """Return a part that the server tells of. Raises: ConfusedServer (it has no tag)."""
        tag = (etag or "").strip().strip('"')
        if not tag:
            raise ConfusedServer("a part got no ETag", key=self._key, operation=operation)
        return Part(number, tag, size)

    async def _already_committed(
        self, expected: Version | None, stat: Callable[[str], Awaitable[ObjectInfo]]
    ) -> ObjectInfo:
        """Return the object if it is the one of this upload, which is gone: `expected` by its tag.

        Raises: ObjectNotFound.
        """
        gone = ObjectNotFound("the upload is gone", key=self._key, operation="commit")
        if expected is None:
            raise gone
        try:
            info = await stat(self._key)
        except ObjectNotFound as exc:
            raise gone from exc
        if info.version != expected:
            raise gone
        return info

    @contextmanager
    def _absence_told(self, precondition: Precondition | None) -> Iterator[None]:
        """Tell a commit that was to meet no object, and met one, by its own error."""
        try:
            yield
        except ObjectChanged as exc:
            if precondition is None or precondition.version is not None:
                raise
            raise ObjectExists(
                "an object is there already", key=self._key, operation="commit"
            ) from exc
