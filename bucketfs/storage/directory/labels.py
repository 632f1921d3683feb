"""What stands beside an object's bytes: metadata, content type, and what a folder is.

Kept in one extended attribute of the file (set in one step, it moves with the file, and ordinary
tools can copy it); on file systems without them, in small files below `.bucketfs/attributes`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

from bucketfs.errors import ConfusedServer, InvalidRequest
from bucketfs.storage.directory.folder import FILE, Folder, write_all
from bucketfs.storage.directory.layout import PRIVATE
from bucketfs.storage.interface import ObjectAttributes
from bucketfs.storage.key_order import key_bytes

XATTR = "user.bucketfs"
MAX_METADATA = 2048
"""Names and values together: fits beside its frame into the 4 KiB that ext4 has for attributes."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is kept of one file or folder.

    `is_implicit`: the store made this folder only to hold a child, it is no object. `version` and
    `modified_ns` are of a marker: the folder's own change with every child.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    is_implicit: bool = False
    version: str | None = None
    modified_ns: int = 0

    @property
    def attributes(self) -> ObjectAttributes:
        """Return it as what a caller gave."""
        return ObjectAttributes(self.metadata, self.content_type)


def label_of(attributes: ObjectAttributes, key: str) -> Label:
    """Return a file's label. Raises: InvalidRequest if there is more than `MAX_METADATA`."""
    metadata = {name.lower(): value for name, value in attributes.metadata.items()}
    if sum(len(key_bytes(text)) for pair in metadata.items() for text in pair) > MAX_METADATA:
        raise InvalidRequest(f"more than {MAX_METADATA} bytes of metadata", key=key)
    return Label(metadata, attributes.content_type)


class Labels(Protocol):
    """Where labels are kept. Called in worker threads; the caller holds the key's lock."""

    def read(self, fd: int, key: str) -> Label | None:
        """Return the label of the open file `fd`, None if it never got one."""

    def write(self, fd: int, key: str, label: Label) -> None:
        """Set the label of the open file `fd`, in one step."""

    def forget(self, inode: int, key: str) -> None:
        """Drop what is kept of a file that is no longer there under `key`."""


class XattrLabels:
    """Labels in the extended attribute `user.bucketfs`."""

    def read(self, fd: int, key: str) -> Label | None:
        """Return the label of the open file. Raises: ConfusedServer if it is not one of ours."""
        try:
            return _decoded(os.getxattr(fd, XATTR), key)
        except OSError as exc:
            if exc.errno in (errno.ENODATA, errno.ENOTSUP):
                return None
            raise

    def write(self, fd: int, key: str, label: Label) -> None:
        """Set it."""
        os.setxattr(fd, XATTR, _encoded(label))

    def forget(self, inode: int, key: str) -> None:
        """Do nothing: it went with the file."""


class SidecarLabels:
    """Labels in files named by inode number and key, so that a replaced file has its own."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def read(self, fd: int, key: str) -> Label | None:
        """Return the label of the open file. Raises: ConfusedServer."""
        name = _sidecar(os.fstat(fd).st_ino, key)
        try:
            with self._folder.directory((PRIVATE, "attributes")) as place:
                sidecar = os.open(name, FILE, dir_fd=place)
        except FileNotFoundError:
            return None
        with open(sidecar, "rb") as file:
            return _decoded(file.read(), key)

    def write(self, fd: int, key: str, label: Label) -> None:
        """Set it by replacing the sidecar."""
        with self._folder.private("attributes") as place, self._folder.draft() as draft:
            write_all(draft.fd, _encoded(label))
            draft.sync()
            draft.move_to(place, _sidecar(os.fstat(fd).st_ino, key))

    def forget(self, inode: int, key: str) -> None:
        """Remove the sidecar."""
        with self._folder.private("attributes") as place:
            try:
                os.unlink(_sidecar(inode, key), dir_fd=place)
            except FileNotFoundError:
                return


def suitable_labels(folder: Folder) -> Labels:
    """Return where the labels of this folder's file system can be."""
    try:
        os.getxattr(folder.root, XATTR)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return SidecarLabels(folder)
        if exc.errno != errno.ENODATA:
            raise
    return XattrLabels()


def _sidecar(inode: int, key: str) -> str:
    return f"{inode:x}-{hashlib.sha256(key_bytes(key)).hexdigest()[:32]}"


def _encoded(label: Label) -> bytes:
    kept = {name: value for name, value in asdict(label).items() if value}
    return json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _decoded(data: bytes, key: str) -> Label:
    try:
        return Label(**json.loads(data.decode("utf-8", "surrogateescape")))
    except (ValueError, TypeError) as exc:
        raise ConfusedServer(f"the attribute {XATTR} is damaged", key=key) from exc
