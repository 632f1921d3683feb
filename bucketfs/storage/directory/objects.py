"""One object at a time, in a worker thread: stat, read, write, append, copy, move, delete.

A write goes to a draft that is moved to its name when it is whole and on the disk, so a reader has
one version or the other. A version is (mtime, size, inode), with an mtime that is never used twice.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from bucketfs.errors import (
    InvalidKey,
    InvalidRequest,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    Transient,
)
from bucketfs.storage.directory.failures import NOT_THERE, storage_error
from bucketfs.storage.directory.folder import DIRECTORY, FILE, Draft, Folder, write_all
from bucketfs.storage.directory.labels import Label, Labels, label_of
from bucketfs.storage.directory.layout import Place, place_of
from bucketfs.storage.directory.markers import ATTEMPTS, Markers, marker_info
from bucketfs.storage.interface import (
    ABSENT,
    Body,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Sink,
    Version,
)


class Objects:
    """The objects of one folder. Methods block; they may run in any threads at the same time."""

    def __init__(self, folder: Folder, labels: Labels) -> None:
        self.folder = folder
        self.labels = labels
        self._markers = Markers(folder, labels)

    @contextmanager
    def reporting(self, key: str | None, operation: str) -> Iterator[None]:
        """Turn the errors of the operating system into ours, and say of which key they are."""
        try:
            yield
        except StorageError as exc:
            exc.key = key if exc.key is None else exc.key
            exc.operation = exc.operation or operation
            raise
        except OSError as exc:
            raise storage_error(exc, self.folder.root, key, operation) from exc

    @contextmanager
    def opened(self, key: str, operation: str) -> Iterator[tuple[int, ObjectInfo]]:
        """Open an object and say what it is. Raises: ObjectNotFound."""
        with self.reporting(key, operation):
            fd = self._open(key, operation)
            try:
                yield fd, self._info(fd, key)
            finally:
                os.close(fd)

    def stat(self, key: str) -> ObjectInfo:
        """Return an object's info. Raises: ObjectNotFound."""
        with self.opened(key, "stat") as (_, info):
            return info

    def read(
        self, key: str, start: int, length: int, sink: Sink, version: Version | None
    ) -> ObjectInfo:
        """Fill `sink`. Raises: ObjectNotFound, ObjectChanged, Transient (changed meanwhile)."""
        with self.opened(key, "read") as (fd, info):
            _require_version(info, version)
            if key.endswith("/"):
                return info
            _pour(fd, start + sink.received, min(start + length, info.size), sink)
            # Other programs may write into the file while it is read.
            if file_version(os.fstat(fd)) == info.version:
                return info
            message = "the file was changed while it was read"
            raise ObjectChanged(message) if version is not None else Transient(message)

    def write(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Store an object whole. Raises: ObjectChanged, ObjectExists, InvalidKey."""

        def fill(draft: Draft) -> None:
            for piece in body:
                write_all(draft.fd, piece)

        return self.put(key, fill, attributes, precondition, "write")

    def put(
        self,
        key: str,
        fill: Callable[[Draft], None],
        attributes: ObjectAttributes,
        precondition: Precondition | None,
        operation: str,
    ) -> ObjectInfo:
        """Store what `fill` puts into a draft. Raises: ObjectChanged, ObjectExists, InvalidKey."""
        place = place_of(key, operation)
        label = label_of(attributes, key)
        with self.reporting(key, operation), self.folder.draft() as draft:
            fill(draft)
            if place.is_marker:
                if os.fstat(draft.fd).st_size:
                    raise InvalidRequest("a folder has no bytes of its own")
                return self._markers.write(key, label, precondition)
            if label != Label():
                self.labels.write(draft.fd, key, label)
            status = self.folder.stamp(draft.fd)
            draft.sync()

            def move(parent: int) -> int | None:
                with self.folder.locked(key):
                    old = _check_target(parent, place, precondition)
                    draft.move_to(parent, place.name)
                    return old

            replaced = self._in_folder(place, move)
            if replaced is not None:
                self.labels.forget(replaced, key)
            return _file_info(key, status, label)

    def append(
        self, key: str, position: int, body: Body, attributes: ObjectAttributes | None = None
    ) -> ObjectInfo:
        """Add to the end, in place; an absent object is 0 bytes long. Raises: ObjectChanged.

        A process that is killed in the middle leaves some of the bytes; a failure leaves none. So
        no info says that a file `is_appendable`: who grows one safely copies it (many file systems
        share the bytes) and adds the rest before it takes the name.
        """
        place_of(key, "append")
        with (
            self.reporting(key, "append"),
            self.folder.locked(key),
            suppress(FileNotFoundError),
        ):
            fd = self._open(key, "append", os.O_RDWR | os.O_APPEND)
            try:
                if self._info(fd, key).size != position:
                    raise ObjectChanged(f"the object is not {position} bytes long")
                return self._grow(fd, key, position, body)
            finally:
                os.close(fd)
        if position:
            raise ObjectChanged("there is no object", key=key, operation="append")
        return self.write(key, body, attributes or ObjectAttributes(), ABSENT)

    def copy(
        self,
        source: str,
        target: str,
        attributes: ObjectAttributes | None,
        version: Version | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Copy. Raises: ObjectNotFound, ObjectChanged, ObjectExists, InvalidRequest."""
        if source == target:
            return self._relabel(source, attributes, version, precondition)
        with self.opened(source, "copy") as (fd, info):
            _require_version(info, version)

            def fill(draft: Draft) -> None:
                draft.copy(fd, 0, info.size)

            kept = ObjectAttributes(info.metadata or {}, info.content_type)
            return self.put(target, fill, attributes or kept, precondition, "copy")

    def move(self, source: str, target: str) -> ObjectInfo:
        """Rename a file in one step; a marker is copied and deleted. Raises: ObjectNotFound."""
        here, there = place_of(source, "move"), place_of(target, "move")
        if source == target:
            return self.stat(source)
        if here.is_marker or there.is_marker:
            info = self.copy(source, target, None, None, None)
            self.delete(source, None)
            return info
        with self.opened(source, "move") as (fd, info):
            label = self.labels.read(fd, source)
            if label is not None:
                self.labels.write(fd, target, label)
            inode = os.fstat(fd).st_ino

            def rename(parent: int) -> int | None:
                with self.folder.locked(source, target), self.reporting(target, "move"):
                    replaced = _check_target(parent, there, None)
                    self._rename(here, there, parent, inode)
                    return replaced

            replaced = self._in_folder(there, rename)
            if replaced is not None:
                self.labels.forget(replaced, target)
            self.labels.forget(inode, source)
            self._markers.prune(here.folders)
            return replace(info, key=target)

    def delete(self, key: str, version: Version | None) -> None:
        """Delete. Not waited for on the disk: a delete that a power cut undoes loses nothing.

        Raises: ObjectChanged.
        """
        with self.reporting(key, "delete"):
            try:
                place = place_of(key, "delete")
            except InvalidKey:
                return
            with self.folder.locked(key):
                if not self._remove(key, place, version):
                    return
            # Outside the lock: each folder on the way up is removed under its own.
            self._markers.prune((*place.folders, place.name) if place.is_marker else place.folders)

    # -- steps ---------------------------------------------------------------------------------

    def _open(self, key: str, operation: str, access: int = os.O_RDONLY) -> int:
        try:
            place = place_of(key, operation)
            flags = DIRECTORY if place.is_marker else FILE | access
            with self.folder.directory(place.folders) as parent:
                return os.open(place.name, flags, dir_fd=parent)
        except InvalidKey as exc:
            raise FileNotFoundError(errno.ENOENT, "no file can have that name") from exc
        except OSError as exc:
            if exc.errno in NOT_THERE:
                raise FileNotFoundError(errno.ENOENT, "no such object") from exc
            raise

    def _info(self, fd: int, key: str) -> ObjectInfo:
        status = os.fstat(fd)
        label = self.labels.read(fd, key)
        if key.endswith("/"):
            if label is None or not label.is_implicit:
                return marker_info(key, status, label)
        elif stat.S_ISREG(status.st_mode):
            return _file_info(key, status, label)
        raise FileNotFoundError(errno.ENOENT, "no such object")

    def _in_folder(self, place: Place, action: Callable[[int], int | None]) -> int | None:
        """Run `action` with the open folder of `place`; again where that was pruned meanwhile."""
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError), self._markers.made(place.folders) as parent:
                result = action(parent)
                self.folder.sync_directory(parent)
                return result
        raise Transient("its folder is removed again and again")

    def _grow(self, fd: int, key: str, position: int, body: Body) -> ObjectInfo:
        try:
            for piece in body:
                write_all(fd, piece)
        except BaseException:
            os.ftruncate(fd, position)
            raise
        status = self.folder.stamp(fd)
        if self.folder.is_durable:
            os.fsync(fd)
        return _file_info(key, status, self.labels.read(fd, key))

    def _relabel(
        self,
        key: str,
        attributes: ObjectAttributes | None,
        version: Version | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Replace what stands beside the bytes; they stay, and so does the version."""
        if attributes is None:
            message = "a copy onto itself must change the attributes"
            raise InvalidRequest(message, key=key, operation="copy")
        with self.opened(key, "copy") as (fd, _), self.folder.locked(key):
            info = self._info(fd, key)
            _require_version(info, version)
            if precondition is not None:
                _require_version(info, precondition.version or Version(""))
            label = label_of(attributes, key)
            if key.endswith("/"):
                label = replace(label, version=info.version, modified_ns=info.modified_ns)
            self.labels.write(fd, key, label)
            self.folder.sync_directory(fd)
            return replace(info, metadata=label.metadata, content_type=label.content_type)

    def _rename(self, here: Place, there: Place, parent: int, inode: int) -> None:
        try:
            with self.folder.directory(here.folders) as source:
                found = os.stat(here.name, dir_fd=source, follow_symlinks=False)
                if found.st_ino == inode:
                    os.rename(here.name, there.name, src_dir_fd=source, dst_dir_fd=parent)
                    return
        except FileNotFoundError as exc:
            if os.fstat(parent).st_nlink == 0:
                raise
            raise ObjectNotFound("the source is gone") from exc
        raise Transient("the source was replaced at the same moment")

    def _remove(self, key: str, place: Place, version: Version | None) -> bool:
        try:
            fd = self._open(key, "delete")
        except FileNotFoundError:
            if os.fstat(self.folder.root).st_nlink == 0:
                raise
            return False
        try:
            info = self._info(fd, key)
            _require_version(info, version)
            if place.is_marker:
                self._markers.demote(fd, key)
                return True
            with self.folder.directory(place.folders) as parent:
                os.unlink(place.name, dir_fd=parent)
            self.labels.forget(os.fstat(fd).st_ino, key)
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)
        return True


def _file_info(key: str, status: os.stat_result, label: Label | None) -> ObjectInfo:
    label = label or Label()
    return replace(
        listed_info(key, status), metadata=label.metadata, content_type=label.content_type
    )


def listed_info(key: str, status: os.stat_result) -> ObjectInfo:
    """Return what a listing says of a file."""
    return ObjectInfo(key, status.st_size, file_version(status), status.st_mtime_ns)


def file_version(status: os.stat_result) -> Version:
    """Return the version of a file's bytes."""
    return Version(f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}")


def _require_version(info: ObjectInfo, version: Version | None) -> None:
    if version is not None and info.version != version:
        raise ObjectChanged("the object was replaced", key=info.key)


def _check_target(parent: int, place: Place, precondition: Precondition | None) -> int | None:
    """Return the inode of the file that is to be replaced, None if there is none.

    Raises: ObjectChanged, ObjectExists; InvalidKey where no file is or may be replaced.
    """
    try:
        status = os.stat(place.name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if precondition is not None and precondition.version is not None:
            raise ObjectChanged("the object is gone") from None
        return None
    if not stat.S_ISREG(status.st_mode):
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "special file or link"
        raise InvalidKey(f"a {kind} of that name is in the way: a name can be only one thing here")
    if precondition is not None:
        if precondition.version is None:
            raise ObjectExists("an object is there already")
        if precondition.version != file_version(status):
            raise ObjectChanged("the object was replaced")
    return status.st_ino


def _pour(fd: int, start: int, end: int, sink: Sink) -> None:
    """Read bytes `start` to `end` into `sink`, until it has no more room."""
    while start < end:
        room = sink.room()[: end - start]
        count = os.preadv(fd, [room], start) if room else 0
        if not count:
            return
        sink.advance(count)
        start += count
