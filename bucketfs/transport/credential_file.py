"""FileKeys: a file of keys that a person named, which nobody else may read."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.key_files import read_keys
from bucketfs.transport.key_texts import keys_of_file


class FileKeys:
    """Reads `path`: JSON as a command gives it, or lines `name = value`, perhaps in sections."""

    def __init__(self, path: Path, section: str | None = None) -> None:
        self._path = path
        self._section = section

    async def find(self) -> Credentials:
        """Read it and return its keys. Raises: ConfigurationError."""
        return await trio.to_thread.run_sync(self._read)

    def _read(self) -> Credentials:
        self._check_mode()
        parse = partial(keys_of_file, where=str(self._path), section=self._section)
        found = read_keys(self._path, parse, "file of keys")
        if found is None:
            raise ConfigurationError(f"there is no {self._path}")
        return replace(found, is_of_file=True)

    def _check_mode(self) -> None:
        try:
            status = self._path.stat()
        except OSError as exc:
            raise ConfigurationError(f"{self._path} cannot be read: {exc.strerror}") from exc
        forbidden = stat.S_IRWXG | stat.S_IRWXO
        if status.st_uid == 0 and os.geteuid() != 0:
            forbidden = stat.S_IWGRP | stat.S_IRWXO  # root gave it to a group that we are of.
        if status.st_mode & forbidden:
            raise ConfigurationError(
                f"others may read or write {self._path}: chmod 600 {self._path}, if they did not"
            )
