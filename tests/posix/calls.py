"""Run one system call as some user, in a child process, and say what came of it.

The child keeps this process's root rights untouched: `seteuid` in a threaded test runner would
change them for every test that runs beside.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

OK = "ok"
FILE_TYPES = ("regular", "directory", "fifo", "symlink", "socket", "block", "character")
TYPE_BITS = {
    "regular": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "fifo": stat.S_IFIFO,
    "symlink": stat.S_IFLNK,
    "socket": stat.S_IFSOCK,
    "block": stat.S_IFBLK,
    "character": stat.S_IFCHR,
}


def outcome(
    function: Callable[..., object],
    *args: object,
    uid: int | None = None,
    gid: int | None = None,
    groups: tuple[int, ...] = (),
    umask: int = 0,
    **kwargs: object,
) -> str:
    """Return `OK`, or the name of the errno with which `function(*args)` failed as that user."""
    child = os.fork()
    if child == 0:
        os._exit(_run_in_child(function, args, kwargs, uid, gid, groups, umask))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert 0 <= code < 255, f"the child of {function} ended with {code}"
    return OK if code == 0 else errno.errorcode[code].replace("EOPNOTSUPP", "ENOTSUP")


def _run_in_child(
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    uid: int | None,
    gid: int | None,
    groups: tuple[int, ...],
    umask: int,
) -> int:
    try:
        os.umask(umask)
        if uid is not None:
            group = uid if gid is None else gid
            os.setgroups(groups)
            os.setresgid(group, group, group)
            os.setresuid(uid, uid, uid)
        function(*args, **kwargs)
    except OSError as error:
        return error.errno or 254
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        return 255
    return 0


def make(path: Path, kind: str, mode: int = 0o644) -> Path:
    """Make a file of one of `FILE_TYPES` at `path` with exactly `mode` (symlinks have none)."""
    if kind == "regular":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    elif kind == "directory":
        os.mkdir(path, mode)
    elif kind == "symlink":
        os.symlink("target", path)
        return path
    else:
        device = os.makedev(1, 7) if kind in ("block", "character") else 0
        os.mknod(path, TYPE_BITS[kind] | mode, device)
    os.chmod(path, mode)
    return path


def open_file(path: Path | str, flags: int, mode: int = 0o644) -> None:
    """Open and close."""
    os.close(os.open(path, flags, mode))


def remove(path: Path) -> None:
    """Remove what `make` made."""
    if path.is_dir() and not path.is_symlink():
        os.rmdir(path)
    else:
        os.unlink(path)


def mode_of(path: Path) -> int:
    """Return the permission bits, without following links."""
    return stat.S_IMODE(os.lstat(path).st_mode)
