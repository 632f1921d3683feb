"""Multipart uploads of a folder: parts are files in `.bucketfs/uploads/ID`, in a worker thread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from bucketfs.errors import InvalidRequest, ObjectChanged, ObjectNotFound
from bucketfs.storage.directory.folder import FILE, Draft, write_all
from bucketfs.storage.directory.labels import label_of
from bucketfs.storage.directory.layout import PRIVATE, place_of
from bucketfs.storage.directory.objects import Objects, file_version
from bucketfs.storage.interface import (
    Body,
    ObjectAttributes,
    ObjectInfo,
    Part,
    PendingUpload,
    Precondition,
    Version,
)
from bucketfs.storage.key_order import key_bytes

MAX_PARTS = 10_000
ABOUT = "object.json"


class Uploads:
    """The uploads of one folder. Methods block; they may run in any threads at the same time."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._folder = objects.folder

    def begin(self, key: str, attributes: ObjectAttributes) -> str:
        """Make an upload and return its id. Raises: InvalidKey, InvalidRequest."""
        if place_of(key, "begin_upload").is_marker:
            message = "a folder has no bytes of its own"
            raise InvalidRequest(message, key=key, operation="begin_upload")
        label = label_of(attributes, key)
        about = {"key": key, "metadata": label.metadata, "content_type": label.content_type}
        upload_id = os.urandom(12).hex()
        with self._objects.reporting(key, "begin_upload"):
            with self._folder.private("uploads") as uploads:
                os.mkdir(upload_id, dir_fd=uploads)
            with self._opened(upload_id, "begin_upload") as place, self._folder.draft() as draft:
                write_all(draft.fd, key_bytes(json.dumps(about, ensure_ascii=False)))
                draft.move_to(place, ABOUT)
        return upload_id

    def add(self, upload_id: str, number: int, body: Body) -> Part:
        """Keep part `number`. Raises: ObjectNotFound, InvalidRequest."""

        def fill(draft: Draft) -> None:
            for piece in body:
                write_all(draft.fd, piece)

        return self._keep(upload_id, number, fill, "add_part")

    def copy(
        self, upload_id: str, number: int, source: str, start: int, length: int, version: Version
    ) -> Part:
        """Keep a part of an object. Raises: ObjectNotFound, ObjectChanged, InvalidRequest."""
        with self._objects.opened(source, "copy_part") as (fd, info):
            if info.version != version:
                raise ObjectChanged("the source was replaced")
            if start < 0 or length <= 0 or start + length > info.size:
                raise InvalidRequest("the range is not inside the source")

            def fill(draft: Draft) -> None:
                draft.copy(fd, start, length)

            return self._keep(upload_id, number, fill, "copy_part")

    def list(self, upload_id: str) -> Sequence[Part]:
        """Return the parts, ascending. Raises: ObjectNotFound."""
        with self._opened(upload_id, "list_parts") as place:
            names = sorted(name for name in os.listdir(place) if name != ABOUT)
            return [_part(os.stat(name, dir_fd=place), int(name)) for name in names]

    def pending(self, prefix: str) -> Sequence[PendingUpload]:
        """Return the uploads of keys that begin with `prefix`, whoever began them."""
        with self._objects.reporting(None, "list_uploads"), suppress(FileNotFoundError):
            with self._folder.directory((PRIVATE, "uploads")) as uploads:
                names = os.listdir(uploads)
            return [found for name in names for found in self._pending(name, prefix)]
        return []

    def _pending(self, upload_id: str, prefix: str) -> Iterator[PendingUpload]:
        # One that ends at this moment is pending no more.
        with suppress(ObjectNotFound), self._opened(upload_id, "list_uploads") as place:
            key, _ = _about(place)
            if key.startswith(prefix):
                begun_ns = os.stat(ABOUT, dir_fd=place).st_mtime_ns
                yield PendingUpload(key, upload_id, begun_ns)

    def commit(
        self, upload_id: str, parts: Sequence[Part], precondition: Precondition | None
    ) -> ObjectInfo:
        """Join the parts. Raises: ObjectChanged, ObjectExists, ObjectNotFound, InvalidRequest.

        The parts stay until the object is there: a failed commit can be repeated.
        """
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)):
            raise InvalidRequest("no parts, or not in ascending order", operation="commit")
        with self._opened(upload_id, "commit") as place:
            key, attributes = _about(place)

            def fill(draft: Draft) -> None:
                for part in parts:
                    _join(draft, place, part)

            info = self._objects.put(key, fill, attributes, precondition, "commit")
        self.abort(upload_id)
        return info

    def abort(self, upload_id: str) -> None:
        """Drop an upload; one that is gone is no error."""
        with suppress(ObjectNotFound), self._opened(upload_id, "abort") as place:
            for name in os.listdir(place):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=place)
            with self._folder.private("uploads") as uploads:
                os.rmdir(upload_id, dir_fd=uploads)

    @contextmanager
    def _opened(self, upload_id: str, operation: str) -> Iterator[int]:
        with (
            self._objects.reporting(None, operation),
            self._folder.directory((PRIVATE, "uploads", upload_id)) as place,
        ):
            yield place

    def _keep(
        self, upload_id: str, number: int, fill: Callable[[Draft], None], operation: str
    ) -> Part:
        if not 1 <= number <= MAX_PARTS:
            raise InvalidRequest(f"part {number} is not in 1 to {MAX_PARTS}", operation=operation)
        with self._opened(upload_id, operation) as place, self._folder.draft() as draft:
            fill(draft)
            part = _part(self._folder.stamp(draft.fd), number)
            draft.move_to(place, f"{number:05}")
            return part


def _part(status: os.stat_result, number: int) -> Part:
    return Part(number, file_version(status), status.st_size)


def _about(place: int) -> tuple[str, ObjectAttributes]:
    with open(os.open(ABOUT, FILE, dir_fd=place), "rb") as file:
        about = json.loads(file.read().decode("utf-8", "surrogateescape"))
    return about["key"], ObjectAttributes(about["metadata"], about["content_type"])


def _join(draft: Draft, place: int, part: Part) -> None:
    try:
        fd = os.open(f"{part.number:05}", FILE, dir_fd=place)
    except FileNotFoundError as exc:
        raise InvalidRequest(f"there is no part {part.number}") from exc
    try:
        if _part(os.fstat(fd), part.number) != part:
            raise InvalidRequest(f"part {part.number} was replaced")
        draft.copy(fd, 0, part.size)
    finally:
        os.close(fd)
