"""Any program beside a container of Libcloud's local driver: it is a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.mounted.clouds.other_client import Head

MARKER = ".bucketfs-directory"
"""The file that stands for a directory's marker: the driver lists files only."""


class FolderClient:
    """A container of the local driver. It keeps bytes only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Put a file in its place in one step."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self._folder.with_name(f"{self._folder.name}.new-{os.getpid()}-{hash(key)}")
        new.write_bytes(body)
        new.replace(path)

    def get(self, key: str) -> bytes:
        """Read the file."""
        return self._path(key).read_bytes()

    def head(self, key: str) -> Head:
        """Look at the file."""
        state = self._path(key).stat()
        return Head(state.st_size, str(state.st_mtime_ns))

    def delete(self, key: str) -> None:
        """Remove the file, and the directories that are empty then: they are no objects."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == self._folder or any(parent.iterdir()):
                return
            parent.rmdir()

    def keys(self, prefix: str) -> list[str]:
        """Walk over the files; those that stand for markers are told as these."""
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        keys = [path.relative_to(self._folder).as_posix().removesuffix(MARKER) for path in files]
        return sorted(key for key in keys if key.startswith(prefix))

    def unfinished(self, prefix: str) -> list[str]:
        """Return none: files appear whole."""
        return []

    def clear(self, prefix: str) -> None:
        """Remove a directory and all below it: the driver's listings walk over everything."""
        shutil.rmtree(self._folder / prefix)

    def _path(self, key: str) -> Path:
        return self._folder / (key + MARKER if key.endswith("/") else key)
