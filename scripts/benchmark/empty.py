"""An empty file system on pyfuse3: what the kernel and the library leave to anybody who uses them.

    python -m scripts.benchmark.empty MOUNTPOINT SIZE_BYTES

It has one file, `zeros`, read from memory, and takes new files whose bytes it throws away. No
requests, no copies, no bookkeeping: no file system on pyfuse3 reads or writes faster.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio

FILE_INODE = pyfuse3.InodeT(2)
READ_AHEAD_KIB = 4096
_BLOCK = bytes(1 << 20)


class EmptyOperations(pyfuse3.Operations):
    """Answers at once, whatever it is asked."""

    enable_writeback_cache = False

    def __init__(self, size: int) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {int(FILE_INODE): size}
        self._names: dict[bytes, int] = {b"zeros": int(FILE_INODE)}

    def _entry(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        is_root = inode == pyfuse3.ROOT_INODE
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = pyfuse3.ModeT((stat.S_IFDIR | 0o755) if is_root else (stat.S_IFREG | 0o644))
        entry.st_size = self._sizes.get(inode, 0)
        entry.attr_timeout = entry.entry_timeout = 60
        return entry

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return what an inode is."""
        return self._entry(inode)

    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Change nothing."""
        return self._entry(inode)

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return the inode of a name."""
        if name not in self._names:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._entry(self._names[name])

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open anything."""
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file."""
        inode = len(self._names) + int(FILE_INODE)
        self._names[bytes(name)] = inode
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode)), self._entry(inode)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return zeros."""
        return _BLOCK[: min(size, self._sizes[fh] - off)]

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Throw the bytes away."""
        self._sizes[fh] = max(self._sizes.get(fh, 0), off + len(buf))
        return len(buf)

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Do nothing."""

    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing."""

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Do nothing."""


async def _serve(mountpoint: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tune, mountpoint)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _tune(mountpoint: Path) -> None:
    """Let the kernel read ahead as far as bucketfs does; a mount without it is only slower."""
    await trio.sleep(0.1)
    device = (await trio.to_thread.run_sync(os.stat, mountpoint)).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    path = Path("/sys/class/bdi") / name / "read_ahead_kb"
    if os.access(path, os.W_OK):
        path.write_text(str(READ_AHEAD_KIB))


def main() -> None:
    """Serve until the unmount."""
    mountpoint, size = Path(sys.argv[1]), int(sys.argv[2])
    pyfuse3.init(EmptyOperations(size), str(mountpoint), {"fsname=empty", "default_permissions"})
    try:
        trio.run(_serve, mountpoint)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
