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

FOLDERS = ("/run/user/{uid}/bucketfs", "/tmp/bucketfs-{uid}", "/run/bucketfs")
"""Where the control folder of a user may be; the last one is root's."""


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


def find(mountpoint: Path, suffix: str, owner_uid: int | None = None) -> Path:
    """Return the file of a mount that its process made; where it would be, if there is none.

    The process may have had another environment than this one: a service knows no XDG_RUNTIME_DIR,
    a login has one. `owner_uid` is who mounted (default: you); root may ask for those of others. A
    folder of somebody else, or one that others can write to, is not believed.
    """
    name = f"{_digest(mountpoint)}{suffix}"
    own, uid = runtime_folder(), os.geteuid() if owner_uid is None else owner_uid
    for folder in (*([own] if uid == os.geteuid() else []), *_other_folders(uid)):
        try:
            (folder / name).lstat()
        except OSError:
            continue
        return folder / name
    return own / name


def forget(mountpoint: Path) -> None:
    """Remove what earlier mounts there left, in whatever environment they were."""
    for folder in (runtime_folder(), *_other_folders(os.geteuid())):
        for suffix in (".sock", ".json"):
            (folder / f"{_digest(mountpoint)}{suffix}").unlink(missing_ok=True)


def _other_folders(uid: int) -> list[Path]:
    folders = [Path(folder.format(uid=uid)) for folder in FOLDERS]
    return [folder for folder in folders if _is_private(folder, uid)]


def _is_private(folder: Path, uid: int) -> bool:
    try:
        state = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == uid and not state.st_mode & 0o022


def cache_folder_of(mountpoint: Path, owner_uid: int | None = None) -> Path | None:
    """Return the cache folder of the mount that is, or died, at `mountpoint`; None: not known.

    A mount that ended with everything in the bucket leaves no trace. `owner_uid`: who mounted.
    """
    return _noted(mountpoint, "cache_folder", owner_uid)


def log_file_of(mountpoint: Path, owner_uid: int | None = None) -> Path | None:
    """Return the file that a mount that is, or died, at `mountpoint` logs to; None: not known."""
    return _noted(mountpoint, "log", owner_uid)


def _noted(mountpoint: Path, name: str, owner_uid: int | None) -> Path | None:
    try:
        return Path(json.loads(find(mountpoint, ".json", owner_uid).read_text("utf-8"))[name])
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
