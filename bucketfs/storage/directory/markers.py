"""Folders as objects: which are markers, which are there only for their children.

A folder that a person or another program made is a marker; one that a write made for its child is
labelled implicit, and goes when its last child goes. Every change of that label, and the removal
of a folder, happens under the lock of the marker's key.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bucketfs.errors import InvalidKey, ObjectChanged, ObjectExists, Transient
from bucketfs.storage.directory.folder import DIRECTORY, Folder
from bucketfs.storage.directory.labels import Label, Labels
from bucketfs.storage.directory.layout import place_of
from bucketfs.storage.interface import ObjectInfo, Precondition, Version

ATTEMPTS = 16
"""How often folders are made again while deletes elsewhere remove them as empty."""


class Markers:
    """The folders of one bucket. Methods block; they may run in any threads at the same time."""

    def __init__(self, folder: Folder, labels: Labels) -> None:
        self._folder = folder
        self._labels = labels

    @contextmanager
    def made(self, names: Sequence[str]) -> Iterator[int]:
        """Open the folder at `names`, making what is missing of it as implicit folders.

        Raises: InvalidKey where a file is in the way, Transient, OSError.
        """
        fd = self._open_or_make(names)
        try:
            yield fd
        finally:
            os.close(fd)

    def write(self, key: str, label: Label, precondition: Precondition | None) -> ObjectInfo:
        """Make `key` a marker. Raises: ObjectExists, ObjectChanged, InvalidKey."""
        place = place_of(key, "write")
        label = replace(label, version=os.urandom(8).hex(), modified_ns=time.time_ns())
        for _ in range(ATTEMPTS):
            try:
                with self.made(place.folders) as above, self._folder.locked(key):
                    info = self._write_locked(above, place.name, key, label, precondition)
                    self._folder.sync_directory(above)
                    return info
            except FileNotFoundError:
                self._require_bucket()
        raise Transient("its folder is removed again and again", key=key, operation="write")

    def demote(self, fd: int, key: str) -> None:
        """Make the open marker an implicit folder; the caller holds its lock and prunes then."""
        self._labels.write(fd, key, Label(is_implicit=True))

    def prune(self, names: Sequence[str]) -> None:
        """Remove the folder at `names`, and those above it, while they are implicit and empty."""
        for depth in range(len(names), 0, -1):
            key = "/".join(names[:depth]) + "/"
            try:
                if not self._is_implicit(names[:depth], key):
                    return
                with self._folder.locked(key):
                    self._remove_implicit(names[:depth], key)
            except (FileNotFoundError, NotADirectoryError):
                continue  # somebody else removed it: the ones above may be empty now
            except OSError as exc:
                if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                    return
                raise

    # -- steps ---------------------------------------------------------------------------------

    def _open_or_make(self, names: Sequence[str]) -> int:
        for _ in range(ATTEMPTS):
            try:
                with self._folder.directory(names) as fd:
                    return os.dup(fd)
            except NotADirectoryError as exc:
                message = "a file is where a folder is needed: both cannot have one name here"
                raise InvalidKey(message) from exc
            except FileNotFoundError:
                self._require_bucket()
                self._make_missing(names)
        raise Transient("the folder is removed again and again")

    def _make_missing(self, names: Sequence[str]) -> None:
        for depth in range(1, len(names) + 1):
            key = "/".join(names[:depth]) + "/"
            try:
                with self._folder.directory(names[: depth - 1]) as above:
                    if not _exists(above, names[depth - 1]):
                        with self._folder.locked(key):
                            self._make_implicit(above, names[depth - 1], key)
                        self._folder.sync_directory(above)
            except FileNotFoundError:
                return  # removed meanwhile: the caller begins anew

    def _make_implicit(self, above: int, name: str, key: str) -> None:
        try:
            os.mkdir(name, dir_fd=above)
        except FileExistsError:
            return
        fd = os.open(name, DIRECTORY, dir_fd=above)
        try:
            self._labels.write(fd, key, Label(is_implicit=True))
        finally:
            os.close(fd)

    def _write_locked(
        self, above: int, name: str, key: str, label: Label, precondition: Precondition | None
    ) -> ObjectInfo:
        found: ObjectInfo | None = None
        try:
            os.mkdir(name, dir_fd=above)
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            fd = os.open(name, DIRECTORY, dir_fd=above)
        except NotADirectoryError as exc:
            message = "a file is where a folder is needed: both cannot have one name here"
            raise InvalidKey(message, key=key, operation="write") from exc
        try:
            old = self._labels.read(fd, key)
            if not is_new and not (old and old.is_implicit):
                found = marker_info(key, os.fstat(fd), old)
            _check(found, key, precondition)
            self._labels.write(fd, key, label)
            self._folder.sync_directory(fd)
            return marker_info(key, os.fstat(fd), label)
        except ObjectChanged:
            if is_new:
                os.rmdir(name, dir_fd=above)
            raise
        finally:
            os.close(fd)

    def _is_implicit(self, names: Sequence[str], key: str) -> bool:
        with self._folder.directory(names) as fd:
            label = self._labels.read(fd, key)
            return label is not None and label.is_implicit

    def _remove_implicit(self, names: Sequence[str], key: str) -> None:
        with self._folder.directory(names[:-1]) as above:
            with self._folder.directory(names) as fd:
                label = self._labels.read(fd, key)
                inode = os.fstat(fd).st_ino
            if label is not None and label.is_implicit:
                os.rmdir(names[-1], dir_fd=above)
                self._labels.forget(inode, key)

    def _require_bucket(self) -> None:
        if os.fstat(self._folder.root).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the bucket's folder was removed")


def marker_info(key: str, status: os.stat_result, label: Label | None) -> ObjectInfo:
    """Return what a marker is: its times and version are its own, not those of its children."""
    label = label or Label()
    version = label.version or f"d{status.st_ino:x}"
    modified_ns = label.modified_ns or status.st_mtime_ns
    return ObjectInfo(key, 0, Version(version), modified_ns, label.metadata, label.content_type)


def _check(found: ObjectInfo | None, key: str, precondition: Precondition | None) -> None:
    if precondition is None:
        return
    if precondition.version is None:
        if found is not None:
            raise ObjectExists("an object is there already", key=key, operation="write")
    elif found is None or found.version != precondition.version:
        raise ObjectChanged("the object was replaced", key=key, operation="write")


def _exists(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
