"""Exporting kept files to an ordinary folder: names, bytes, attributes, and what is missing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from bucketfs.cli.requirements import needing_fuse
from bucketfs.cli.resolving import NOWHERE, resolve
from bucketfs.errors import BucketfsError, ConfigurationError, ConfusedServer, StorageError
from bucketfs.namespace import keys
from bucketfs.namespace.attributes import Attributes, Defaults, from_metadata
from bucketfs.namespace.parallel import for_each
from bucketfs.options import escaped
from bucketfs.pagecache.exporting import (
    Span,
    blocks,
    local_bytes,
    remote_spans,
    write_at,
    write_local,
)
from bucketfs.pagecache.records import Contents, FileRecord
from bucketfs.settings import MountSettings
from bucketfs.storage.interface import MemorySink, ObjectInfo, ObjectStore, Version

FETCHES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fetching:
    """The bucket that the files were to be saved to."""

    settings: MountSettings

    @classmethod
    def of(cls, contents: Contents, url: str | None, options: Sequence[str]) -> Fetching:
        """Return the bucket at `url` (or of a profile), or else where the journal says that it is.

        Raises: ConfigurationError (a wrong URL or option).
        """
        known, _, endpoint = contents.store_url.partition(" at ")
        if url is not None:
            return cls(resolve(url, options).settings())
        MountSettings(url=known, mountpoint=NOWHERE)
        # Where the files were to go counts more than what this shell says of other mounts.
        place = [f"endpoint={escaped(endpoint)}"] if endpoint else []
        return cls(resolve(known, [*place, *options]).settings())

    async def open(self) -> ObjectStore:
        """Open it. Raises: StorageError, ConfigurationError."""
        with needing_fuse():
            from bucketfs.mount import store_options
        from bucketfs.storage.opening import open_store

        return await open_store(self.settings.url, store_options(self.settings))


@dataclass(frozen=True, slots=True)
class _Copy:
    """A kept file and where it is written to; `missing`: ranges that only the bucket has."""

    record: FileRecord
    path: Path
    missing: tuple[Span, ...]


class Exporter:
    """Writes kept files of `folder` below `target`; `whole` counts those that are complete.

    `folders` counts the directories that were kept for themselves.
    """

    def __init__(self, folder: Path, target: Path, fetching: Fetching | None) -> None:
        self.whole = 0
        self.folders = 0
        self._folder = folder
        self._target = target
        self._fetching = fetching
        self._complaints: list[str] = []

    def export(self, records: Sequence[FileRecord]) -> list[str]:
        """Write them all; return a line for each that could not be written whole.

        Raises: ConfigurationError where the bucket that is to be asked cannot be used.
        """
        partial: list[_Copy] = []
        folders: list[_Copy] = []
        for record, path in _named(records, self._target):
            copy = _Copy(record, path, tuple(remote_spans(record)))
            if record.key.endswith("/"):
                folders.append(copy)
                continue
            try:
                if copy.missing and not local_bytes(record) and self._fetching is None:
                    self._complain(
                        record, "only its attributes are here; its bytes are in the bucket"
                    )
                    continue
                self._write(copy)
            except (BucketfsError, OSError) as exc:
                self._complain(record, str(exc))
            else:
                partial.append(copy)
        if self._fetching is not None and any(copy.missing for copy in partial):
            partial = self._fetched(self._fetching, partial)
        # Folders last and from below: what is put into one moves its times, and may be forbidden.
        folders.sort(key=lambda copy: copy.record.key, reverse=True)
        for copy in (*partial, *folders):
            self._finish(copy)
        return self._complaints

    def _write(self, copy: _Copy) -> None:
        """Write what is here. Raises: CacheDirectoryError, OSError."""
        copy.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(copy.path, flags, 0o600)
        try:
            write_local(copy.record, self._folder, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _fetched(self, fetching: Fetching, copies: Sequence[_Copy]) -> list[_Copy]:
        """Return the copies after fetching what is missing; a file that fails stays as it is."""
        from bucketfs.cli.mounting import cause_of, describe_error

        async def run() -> list[_Copy]:
            store = await fetching.open()
            try:
                return [await self._fetch(store, copy) for copy in copies]
            finally:
                await store.aclose()

        try:
            return trio.run(run)
        except (StorageError, BaseExceptionGroup) as exc:
            cause = cause_of(exc)
            if not isinstance(cause, StorageError):
                raise
            url = fetching.settings.url
            raise ConfigurationError(describe_error(cause, url, verb="use")) from exc

    async def _fetch(self, store: ObjectStore, copy: _Copy) -> _Copy:
        base = copy.record.base
        if not copy.missing or base is None:
            return copy
        descriptor = os.open(copy.path, os.O_WRONLY | os.O_CLOEXEC)
        try:

            async def fetch(span: Span) -> None:
                await _fetch_block(store, base, span, descriptor)

            await for_each(blocks(copy.missing), fetch, limit=FETCHES_AT_ONCE)
            os.fsync(descriptor)
        except BucketfsError as exc:
            self._complain(copy.record, str(exc))
            return copy
        finally:
            os.close(descriptor)
        return replace(copy, missing=())

    def _finish(self, copy: _Copy) -> None:
        """Give a copy its attributes, and say what it lacks."""
        record, lacking = copy.record, sum(stop - start for start, stop in copy.missing)
        described = ObjectInfo(
            record.key, record.size, Version(""), record.kept_ns, record.attributes.metadata
        )
        defaults = Defaults(os.geteuid(), os.getegid())
        is_folder = record.key.endswith("/")
        try:
            if is_folder:
                copy.path.mkdir(parents=True, exist_ok=True)
            _set_attributes(copy.path, from_metadata(described, defaults, is_folder))
        except OSError as exc:
            self._complain(record, f"its attributes: {exc.strerror}")
            return
        if lacking:
            spans = ", ".join(f"{start}-{stop}" for start, stop in copy.missing[:4])
            more = " ..." if len(copy.missing) > 4 else ""
            self._complain(
                record, f"{lacking} bytes that only the bucket has are holes: {spans}{more}"
            )
        elif is_folder:
            self.folders += 1
        else:
            self.whole += 1

    def _complain(self, record: FileRecord, text: str) -> None:
        self._complaints.append(f"/{record.key}: {text}")


async def _fetch_block(store: ObjectStore, base: ObjectInfo, span: Span, descriptor: int) -> None:
    """Put one range of the version that a file rests on into its copy. Raises: StorageError."""
    start, stop = span
    data = bytearray(stop - start)
    sink = MemorySink(data)
    await store.read_range(base.key, start, stop - start, sink, base.version)
    if sink.received != stop - start:
        raise ConfusedServer("the object is shorter than it was", key=base.key)
    write_at(descriptor, start, data)


def _named(records: Sequence[FileRecord], target: Path) -> Iterable[tuple[FileRecord, Path]]:
    """Yield each record with a path below `target` that nothing else has.

    Names are those of a mount: keys that are no paths are escaped. Of two files of one key the
    later has its number behind its name.
    """
    folders = {prefix for record in records for prefix in _prefixes(record.key)}
    taken: set[str] = set()
    for record in records:
        *above, last = record.key.split("/")
        shown = [*map(keys.shown_segment, above)]
        if last:  # else it is a directory
            shown.append(keys.shown_file(last, is_shadowed=f"{record.key}/" in folders))
        relative = "/".join(shown)
        if relative in taken:
            relative = f"{relative}.{record.number}"
        taken.add(relative)
        yield record, target / relative


def _prefixes(key: str) -> Iterable[str]:
    parts = key.split("/")
    return ("/".join(parts[:count]) + "/" for count in range(1, len(parts)))


def _set_attributes(path: Path, attributes: Attributes) -> None:
    """Set mode, owner (where permitted), times and xattrs. Raises: OSError."""
    with suppress(PermissionError):
        os.chown(path, attributes.uid, attributes.gid, follow_symlinks=False)
    for name, value in attributes.xattrs.items():
        # A folder that keeps none (another file system) still has the bytes.
        with suppress(OSError):
            os.setxattr(path, name, value)
    # Without set-ID bits: whose they were may not be who owns the copy.
    os.chmod(path, stat.S_IMODE(attributes.mode) & 0o777)
    os.utime(path, ns=(attributes.atime_ns, attributes.mtime_ns))
