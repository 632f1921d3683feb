"""The cache folder of a mount: one owner at a time, and what a dead owner left is kept.

Layout: `lock` (held by flock as long as the mount lives; says who holds it), `spill/` (spill files
of the running mount), `lost+found/` (spill files of mounts that died: images, perhaps partial, of
files that had not been saved), `blocks/` (the disk cache: clean, and of no use but for speed).
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Container
from pathlib import Path

from bucketfs.errors import CacheDirectoryError

log = logging.getLogger(__name__)

PAUSES_S = (0.01, 0.05, 0.1)
"""Between attempts to lock the folder."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class CacheFolder:
    """A locked cache folder. Its methods block, for a moment."""

    def __init__(
        self, path: Path, lock_descriptor: int, *, is_temporary: bool, first_number: int = 1
    ) -> None:
        self._path = path
        self.spill_path = path / "spill"
        """Where spill files are."""
        self._lock_descriptor = lock_descriptor
        self._is_temporary = is_temporary
        self._numbers = itertools.count(first_number)

    @classmethod
    def open(cls, path: Path | None, owner: str = "") -> CacheFolder:
        """Take `path` (made if missing; None: a temporary folder) for the mount named `owner`.

        What a dead mount left stays where it is until `rescue`.
        Raises: CacheDirectoryError (taken by another mount, which it names; not writable).
        """
        is_temporary = path is None
        try:
            if path is None:
                path = Path(tempfile.mkdtemp(prefix="bucketfs-"))
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _lock(path / "lock", owner)
            try:
                (path / "spill").mkdir(mode=0o700, exist_ok=True)
                last = max((_number(file) for file in (path / "spill").iterdir()), default=0)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as exc:
            raise _unusable(path, exc) from exc
        return cls(path, descriptor, is_temporary=is_temporary, first_number=last + 1)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def blocks_path(self) -> Path:
        """Where the disk cache is."""
        return self._path / "blocks"

    def new_spill_name(self) -> str:
        """Return the name of a spill file that was never used."""
        return f"{next(self._numbers):08d}.spill"

    def rescue(self, kept: Container[str] = ()) -> None:
        """Move spill files aside that a dead mount left and that no name in `kept` stands for.

        They go to `lost+found`, with a WARNING that names them. Raises: CacheDirectoryError.
        """
        try:
            _rescue(self._path, kept)
        except OSError as exc:
            raise _unusable(self._path, exc) from exc

    def close(self) -> None:
        """Let another mount have it; a temporary folder is removed."""
        if self._is_temporary:
            shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock_descriptor)


def is_taken(path: Path) -> bool:
    """Tell whether a mount uses the cache folder now. Changes nothing. Raises: OSError."""
    try:
        descriptor = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def new_lost_folder(path: Path) -> Path:
    """Make and return an empty folder in `lost+found`, named by the time. Raises: OSError."""
    lost = path / "lost+found" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    suffix = itertools.count(1)
    while lost.exists():
        lost = lost.with_name(f"{lost.name.split('.')[0]}.{next(suffix)}")
    lost.mkdir(mode=0o700, parents=True)
    return lost


def _lock(path: Path, owner: str) -> int:
    """Lock the file `path` for this process and say so in it. Raises: CacheDirectoryError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _is_locked_soon(descriptor):
        holder = os.pread(descriptor, 4096, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise CacheDirectoryError(
            f"the cache folder {path.parent} belongs to another mount ({holder or 'unknown'}); "
            "unmount that one or name another cache_dir"
        )
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{owner} pid={os.getpid()} boot={_boot_id()}".strip().encode(), 0)
    return descriptor


def _is_locked_soon(descriptor: int) -> bool:
    """Lock a file, unless somebody has it for longer than `is_taken` has it to look."""
    for pause_s in (*PAUSES_S, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause_s is None:
                return False
            time.sleep(pause_s)
        else:
            break
    return True


def _boot_id() -> str:
    """Return what tells this run of the machine from every other."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"


def _unusable(path: Path | None, exc: OSError) -> CacheDirectoryError:
    return CacheDirectoryError(
        f"the cache folder {path} cannot be used: {exc.strerror}; "
        "make it writable or name another cache_dir"
    )


def _number(file: Path) -> int:
    """Return the number of a spill file; 0 for a file of another name."""
    return int(file.stem) if file.suffix == ".spill" and file.stem.isdecimal() else 0


def _rescue(path: Path, kept: Container[str]) -> None:
    """Move what a dead mount left in `spill` aside, but what is in `kept`."""
    left = sorted(file for file in (path / "spill").iterdir() if file.name not in kept)
    if not left:
        return
    rescued = new_lost_folder(path)
    for file in left:
        file.rename(rescued / file.name)
    names = ", ".join(file.name for file in left)
    log.warning(
        "an earlier mount ended without saving; its written data is in %s: %s", rescued, names
    )
