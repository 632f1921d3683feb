"""LibcloudUpload: a multipart upload that stays on the local disk until its commit.

`StorageDriver` has no parts of its own. What is added is kept in temporary files, bounded by the
disk, and sent at the commit: through the driver's own parts where it makes them, else joined to
one file, which needs the space twice for that time.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence

from bucketfs.errors import InvalidRequest, NotSupported, ObjectNotFound
from bucketfs.storage.interface import (
    Body,
    ObjectInfo,
    Part,
    Precondition,
    Version,
)
from bucketfs.storage.libcloud.spool import SpoolFile

Spooled = Callable[[Body], Awaitable[SpoolFile]]
Send = Callable[[Sequence[SpoolFile], Precondition | None], Awaitable[ObjectInfo]]

MAX_PARTS = 10_000


class LibcloudUpload:
    """A multipart upload of one key. It ends with this process."""

    def __init__(self, key: str, spooled: Spooled, send: Send) -> None:
        self.upload_id = str(uuid.uuid4())
        self._key = key
        self._spooled = spooled
        self._send = send
        self._parts: dict[int, tuple[Part, SpoolFile]] = {}
        self._is_over = False

    async def add_part(self, number: int, body: Body) -> Part:
        """Keep part `number`. Raises: ObjectNotFound where the upload is over, QuotaExceeded."""
        if not 1 <= number <= MAX_PARTS:
            message = f"part {number} is not in 1 to {MAX_PARTS}"
            raise InvalidRequest(message, key=self._key, operation="add_part")
        file = await self._spooled(body)
        # Not like an MD5: nobody is to compare it with the ETag of the object.
        part = Part(number, str(uuid.uuid4()), file.size)
        if self._is_over:
            file.close()
        self._check_open("add_part")
        replaced = self._parts.get(number)
        self._parts[number] = (part, file)
        if replaced is not None:
            replaced[1].close()
        return part

    async def copy_part(
        self, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Raise NotSupported: the bytes would have to come here anyway."""
        message = "Libcloud copies nothing on the server"
        raise NotSupported(message, key=self._key, operation="copy_part")

    async def list_parts(self) -> Sequence[Part]:
        """Return what is kept, ascending. Raises: ObjectNotFound where the upload is over."""
        self._check_open("list_parts")
        return [self._parts[number][0] for number in sorted(self._parts)]

    async def commit(
        self, parts: Sequence[Part], precondition: Precondition | None = None
    ) -> ObjectInfo:
        """Send all. A failed commit keeps the parts and may be repeated.

        Raises: ObjectChanged, ObjectExists, InvalidRequest, ObjectNotFound (the upload is over).
        """
        self._check_open("commit")
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)):
            message = "no parts, or not in ascending order"
            raise InvalidRequest(message, key=self._key, operation="commit")
        files: list[SpoolFile] = []
        for part in parts:
            kept, file = self._parts.get(part.number, (None, None))
            if kept != part or file is None:
                message = f"there is no part {part.number}, or it was replaced"
                raise InvalidRequest(message, key=self._key, operation="commit")
            files.append(file)
        info = await self._send(files, precondition)
        await self.abort()
        return info

    async def abort(self) -> None:
        """Drop the parts; an upload that is over already is no error."""
        self._is_over = True
        for _, file in self._parts.values():
            file.close()
        self._parts.clear()

    def _check_open(self, operation: str) -> None:
        if self._is_over:
            raise ObjectNotFound("the upload is over", key=self._key, operation=operation)
