"""Operations: one short method per request of the kernel: decode, call, encode.

No rule lives here: names are the tree's, bytes are the handles', errnos are the boundary's.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence

import pyfuse3
import trio

from bucketfs.errors import InvalidOperation, IsADirectory, NotADirectory, NotPermitted
from bucketfs.fuse import replies
from bucketfs.fuse.boundary import InFlightTable, request
from bucketfs.fuse.describing import Describer
from bucketfs.fuse.door import Door
from bucketfs.fuse.handles import Handles
from bucketfs.namespace.nodes import Caller, Changes, Inode, Node
from bucketfs.namespace.tree import Tree
from bucketfs.namespace.xattrs import TOLD

log = logging.getLogger(__name__)


class Operations(pyfuse3.Operations):
    """The handlers that pyfuse3 calls. Each raises nothing but FUSEError (see `boundary.request`).

    Permissions are checked by the kernel (`default_permissions`) against the attributes told here.
    """

    supports_dot_lookup = False
    # With it the kernel would never believe our sizes again, see docs/decisions/0002.
    enable_writeback_cache = False

    def __init__(
        self,
        tree: Tree,
        handles: Handles,
        in_flight: InFlightTable,
        describer: Describer | None = None,
        *,
        ttl_s: float,
        has_acl: bool = False,
        door: Door | None = None,
    ) -> None:
        super().__init__()
        self._door = door or Door()
        self._describer = describer
        self.enable_acl = has_acl
        self.in_flight = in_flight
        self.initialised = trio.Event()
        self._tree = tree
        self._handles = handles
        self._ttl_s = ttl_s

    def init(self) -> None:
        """Note that the kernel has begun to talk."""
        self.initialised.set()

    def stacktrace(self) -> None:
        """Do nothing: a mount's user must not make it write stacks."""

    # names

    @request
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return the entry of a name."""
        return self._entry(await self._tree.lookup(self._node(parent_inode), name))

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Take lookups back. Raises nothing: there is nobody to answer."""
        try:
            self._handles.forget(inode_list)
        except Exception:
            log.exception("forget met a bug")

    @request
    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file and open it."""
        self._door.check()
        self._check_crawler(ctx, is_writer=True)
        node = await self._tree.create(self._node(parent_inode), name, mode, _caller(ctx))
        number = self._handles.opened(node, flags)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(number)), self._entry(node)

    @request
    async def mkdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        self._door.check()
        parent = self._node(parent_inode)
        return self._entry(await self._tree.make_directory(parent, name, mode, _caller(ctx)))

    @request
    async def mknod(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make a special file, or a regular one without opening it."""
        self._door.check()
        parent = self._node(parent_inode)
        return self._entry(await self._tree.make_node(parent, name, mode, rdev, _caller(ctx)))

    @request
    async def symlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        target: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        self._door.check()
        parent = self._node(parent_inode)
        return self._entry(await self._tree.make_symlink(parent, name, target, _caller(ctx)))

    @request
    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """Return a symbolic link's target."""
        return pyfuse3.FileNameT(await self._tree.read_symlink(self._node(inode)))

    @request
    async def link(
        self,
        inode: pyfuse3.InodeT,
        new_parent_inode: pyfuse3.InodeT,
        new_name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Refuse: an object has one key."""
        raise NotPermitted("a bucket has no hard links")

    @request
    async def unlink(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        """Remove a name that is no directory."""
        self._door.check()
        await self._tree.unlink(self._node(parent_inode), name)

    @request
    async def rmdir(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        """Remove an empty directory."""
        self._door.check()
        await self._tree.remove_directory(self._node(parent_inode), name)

    @request
    async def rename(
        self,
        parent_inode_old: pyfuse3.InodeT,
        name_old: pyfuse3.FileNameT,
        parent_inode_new: pyfuse3.InodeT,
        name_new: pyfuse3.FileNameT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Give an entry another name."""
        self._door.check()
        old, new = self._node(parent_inode_old), self._node(parent_inode_new)
        await self._tree.rename(old, name_old, new, name_new, flags)

    # attributes

    @request
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return attributes, asking the bucket again where they are too old."""
        node = self._node(inode)
        await self._tree.refresh(node)
        return self._entry(node)

    @request
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Change size, mode, owner or times."""
        node = self._node(inode)
        self._door.check(node)
        if fields.update_size:
            _check_has_bytes(node)
            await self._handles.truncate(node, attr.st_size, fh)
        changes = _changes(attr, fields)
        if changes != Changes():
            await self._tree.change(node, changes, _caller(ctx))
        return self._entry(node)

    @request
    async def access(
        self, inode: pyfuse3.InodeT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext
    ) -> bool:
        """Allow: the kernel has checked (`default_permissions`)."""
        return True

    @request
    async def getxattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> bytes:
        """Return the value of an extended attribute."""
        node = self._node(inode)
        if self._describer is not None and name.startswith(TOLD):
            return await self._describer.attribute(node, name)
        return await self._tree.xattrs.get(node, name)

    @request
    async def setxattr(
        self,
        inode: pyfuse3.InodeT,
        name: pyfuse3.XAttrNameT,
        value: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Set an extended attribute; pyfuse3 has checked XATTR_CREATE and XATTR_REPLACE."""
        node = self._node(inode)
        self._door.check(node)
        await self._tree.xattrs.set(node, name, value)

    @request
    async def listxattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        """Return the names of the extended attributes."""
        names = await self._tree.xattrs.list(self._node(inode))
        return [pyfuse3.XAttrNameT(name) for name in names]

    @request
    async def removexattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        """Remove an extended attribute."""
        node = self._node(inode)
        self._door.check(node)
        await self._tree.xattrs.remove(node, name)

    @request
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the (invented) size of the bucket."""
        return replies.file_system()

    # bytes

    @request
    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open a file. The kernel's pages stay: another version would be another inode."""
        node = self._node(inode)
        _check_has_bytes(node)
        is_writer = bool(flags & (os.O_ACCMODE | os.O_TRUNC))
        self._check_crawler(ctx, is_writer=is_writer)
        if is_writer:
            self._door.check()
        number = await self._handles.open(node, flags)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(number), keep_cache=True)

    @request
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Return bytes of an open file; a memoryview will do, the C side takes any buffer."""
        return await self._handles.read(fh, off, size)  # type: ignore[return-value]

    @request
    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Write to an open file."""
        return await self._handles.write(fh, off, buf)

    @request
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Answer close(2): 0 means that everything is in the bucket."""
        await self._handles.flush(fh)

    @request
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Answer fsync(2) and fdatasync(2): 0 means that everything is in the bucket."""
        await self._handles.sync(fh)

    @request
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Forget an open file."""
        await self._handles.close(fh)

    # directories

    @request
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Open a directory."""
        self._check_crawler(ctx)
        node = self._node(inode)
        if not node.is_directory:
            raise NotADirectory(f"inode {inode} is no directory")
        return pyfuse3.FileHandleT(self._handles.open_directory(node))

    @request
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """List an open directory from a position on."""
        await self._handles.directory(fh).reply(start_id, token)

    @request
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Have a directory's own attributes in the bucket."""
        await self._handles.sync_directory(fh)

    @request
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Forget an open directory."""
        await self._handles.close_directory(fh)

    def pid_of(self, handle: int) -> int:
        """Return the process that opened a handle (see `boundary.request`)."""
        return self._handles.pids.get(handle, 0)

    def _check_crawler(self, ctx: pyfuse3.RequestContext, *, is_writer: bool = False) -> None:
        admission = self.in_flight.admission
        if admission is not None:
            admission.check_open(ctx.pid, is_writer=is_writer)

    def _node(self, inode: int) -> Node:
        return self._tree.node(Inode(inode))

    def _entry(self, node: Node) -> pyfuse3.EntryAttributes:
        return replies.entry_attributes(node, self._ttl_s)


def _caller(ctx: pyfuse3.RequestContext) -> Caller:
    """Return who asks; the kernel, which knows the other groups, has applied their rules."""
    return Caller(ctx.uid, ctx.gid, ctx.umask, ctx.pid)


def _changes(attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Changes:
    """Return what a setattr asks for, its size aside."""
    return Changes(
        mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        atime_ns=attr.st_atime_ns if fields.update_atime else None,
        mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
    )


def _check_has_bytes(node: Node) -> None:
    """Raise unless `node` is a regular file: the only kind whose bytes are an object's."""
    if node.is_directory:
        raise IsADirectory(f"inode {node.inode} is a directory")
    if not stat.S_ISREG(node.attributes.mode):
        raise InvalidOperation(f"inode {node.inode} is no regular file")
