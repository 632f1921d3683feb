"""What is there: seen through a mount, and seen by another client of the bucket."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.crash.oracle import Found
from tests.crash.worker import SHARED, SHARED_LOG
from tests.crash.world import Version
from tests.mounted.clouds.other_client import OtherClient

QUIET_S = 0.3
"""Requests that the dead mount had sent are carried out by now, on this machine."""
LOOKS = 40


class Unsettled(AssertionError):
    """The bucket did not come to rest although no mount lives."""


class Unreadable(AssertionError):
    """A mount shows a file that it cannot give."""


def look_at_mount(top: Path, instead: Callable[[str], bytes] | None = None) -> Found:
    """Read everything below a mount point. Raises: Unreadable.

    `instead` gives the bytes of a file of which the mount says that others have replaced it.
    """
    found = Found()
    for folder, directories, names in os.walk(top, onerror=_raise):
        directories[:] = [name for name in directories if name != ".bucketfs"]
        found.directories |= {_relative(top, Path(folder) / name) for name in directories}
        for name in names:
            path = Path(folder) / name
            try:
                data, known = _read(path), path.stat()
            except OSError as exc:
                if instead is not None and exc.errno == errno.ESTALE:
                    shown = _relative(top, path)
                    mode = stat.S_IMODE(path.stat().st_mode)
                    found.files[shown] = Version(instead(shown), mode)
                    continue
                raise Unreadable(f"{_relative(top, path)} cannot be read: {exc.strerror}") from exc
            assert known.st_size == len(data), f"{path}: {known.st_size} and {len(data)} bytes"
            found.files[_relative(top, path)] = Version(data, stat.S_IMODE(known.st_mode))
    return found


def _read(path: Path) -> bytes:
    """Read a file; once more if it was replaced meanwhile, by a late request of the dead mount."""
    try:
        return path.read_bytes()
    except OSError as exc:
        if exc.errno != errno.ESTALE:
            raise
    return path.read_bytes()


def look_at_bucket(client: OtherClient) -> Found:
    """Read all objects, when nothing changes any more. Raises: Unsettled."""
    before: Mapping[str, bytes] | None = None
    reason: Unsettled | None = None
    for _ in range(LOOKS):
        time.sleep(QUIET_S)
        try:
            objects = _objects(client)
        except Unsettled as exc:
            # A key that was just listed is gone: a DELETE of the dead mount came late.
            before, reason = None, exc
            continue
        if objects == before:
            return _as_tree(objects)
        before = objects
    raise Unsettled("the bucket cannot be read, or goes on changing") from reason


def _as_tree(objects: Mapping[str, bytes]) -> Found:
    found = Found()
    for key, data in objects.items():
        if not key.endswith("/"):
            found.files[key] = Version(data, None)
        above = key.rstrip("/").split("/")[: None if key.endswith("/") else -1]
        found.directories |= {"/".join(above[:length]) for length in range(1, len(above) + 1)}
    return found


def _objects(client: OtherClient) -> dict[str, bytes]:
    def read(key: str) -> bytes:
        try:
            return b"" if key.endswith("/") else client.get(key)
        except Exception as exc:
            raise Unsettled(f"{key} is listed and cannot be read") from exc

    keys = client.keys("")
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(keys, pool.map(read, keys), strict=True))


def part_of(found: Found, worker: int) -> Found:
    """Return what belongs to one worker."""
    own = f"w{worker}"
    starts = (f"{own}/", f"{SHARED}/{own}-")
    files = {path: version for path, version in found.files.items() if path.startswith(starts)}
    directories = {path for path in found.directories if path == own or path.startswith(starts)}
    return Found(files, directories)


def shared_log(found: Found) -> bytes:
    """Return the bytes of the log that all append to."""
    version = found.files.get(SHARED_LOG)
    return b"" if version is None else version.data


def strangers(found: Found, workers: int) -> set[str]:
    """Return the paths that belong to no worker and are not shared."""
    own = {path for n in range(workers) for path in part_of(found, n).files}
    own |= {path for n in range(workers) for path in part_of(found, n).directories}
    return (found.files.keys() | found.directories) - own - {SHARED, SHARED_LOG}


def _relative(top: Path, path: Path) -> str:
    return path.relative_to(top).as_posix()


def _raise(error: OSError) -> None:
    raise error
