"""Where the control socket of a mount is, and the note beside it, which outlives a killed mount.

Both are found from the mount point alone: their name is a hash of the resolved path, in a folder
that only this user can enter.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from pathlib import Path

from bucketfs.errors import ConfigurationError

log = logging.getLogger(__name__)


def runtime_folder() -> Path:
    """Return the folder of this user's control sockets, making it (mode 0700) if needed.

    Raises: ConfigurationError where the folder is not ours alone.
    """
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime) / "bucketfs"
    elif os.geteuid() == 0:
        folder = Path("/run/bucketfs")
    else:
        folder = Path(f"/tmp/bucketfs-{os.geteuid()}")  # owner and mode are checked below
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as exc:
        raise ConfigurationError(f"cannot make the control folder {folder}: {exc}") from exc
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise ConfigurationError(f"{folder} is not a directory that only you can write to")
    return folder


def socket_path(mountpoint: Path) -> Path:
    """Return where the control socket of `mountpoint` (absolute, resolved) is or would be."""
    return runtime_folder() / f"{_digest(mountpoint)}.sock"


def find_socket(mountpoint: Path, owner_uid: int) -> Path:
    """Return where the control socket is of a mount that `owner_uid` made.

    It is looked for wherever that user's sockets may be: root asks those of others, and an own
    mount may have been made with another XDG_RUNTIME_DIR. A folder that somebody else owns is not
    believed. Where there is none, that of `socket_path`.
    """
    own = socket_path(mountpoint)
    folders = [Path(f"/run/user/{owner_uid}/bucketfs"), Path(f"/tmp/bucketfs-{owner_uid}")]
    if owner_uid == 0:
        folders.append(Path("/run/bucketfs"))
    if owner_uid == os.geteuid():
        folders.insert(0, own.parent)
    for folder in folders:
        try:
            if folder.lstat().st_uid == owner_uid and (folder / own.name).is_socket():
                return folder / own.name
        except OSError as exc:
            log.debug("%s cannot be looked into: %s", folder, exc)
    return own


def cache_folder_of(mountpoint: Path) -> Path | None:
    """Return the cache folder of the mount that is, or died, at `mountpoint`; None: not known.

    A mount that ended with everything in the bucket leaves no trace.
    """
    return _noted(mountpoint, "cache_folder")


def log_file_of(mountpoint: Path) -> Path | None:
    """Return the file that a mount that is, or died, at `mountpoint` logs to; None: not known."""
    return _noted(mountpoint, "log")


def _noted(mountpoint: Path, name: str) -> Path | None:
    try:
        return Path(json.loads(note_path(mountpoint).read_text("utf-8"))[name])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        log.debug("the note of %s cannot be read: %s", mountpoint, exc)
        return None


def note_path(mountpoint: Path) -> Path:
    """Return where the note is that says where the mount's cache folder is."""
    return runtime_folder() / f"{_digest(mountpoint)}.json"


def _digest(mountpoint: Path) -> str:
    return hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]
